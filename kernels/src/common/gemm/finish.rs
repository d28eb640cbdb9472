//! What happens to a tile between the registers and C, while it is in the first-level cache.

use crate::activation::Activation;
use crate::common::math::{self, Float};

/// Elements that are finished together; loops over so many become vector instructions.
const WIDTH: usize = 16;

/// An [`Epilogue`](super::Epilogue) that threads share: rows are disjoint, so each may write its part of `derivative`.
pub(super) struct Finish<'a, T> {
    pub(super) bias: Option<&'a [T]>,
    pub(super) activation: Option<Activation>,
    pub(super) derivative: Option<(*mut T, usize)>,
    pub(super) col_factor: Option<&'a [T]>,
    pub(super) factor: Option<(&'a [T], usize)>,
    pub(super) residual: Option<(&'a [T], usize)>,
}

// SAFETY: `derivative` is written only for the rows of C that a call owns.
unsafe impl<T: Sync> Sync for Finish<'_, T> {}

/// Finishes one row of a tile, `z`, which starts at element `at` of C, and writes it to `c`. Adds C first if `read`.
///
/// # Safety
/// `z.len()` elements from `c` on are valid and nobody else's, as is row `at.0` of `derivative`; the slices of `finish`
/// have C's shape.
#[inline(always)]
pub(super) unsafe fn row<T: Float>(
    finish: Option<&Finish<'_, T>>,
    z: &mut [T],
    c: *mut T,
    read: bool,
    at: (usize, usize),
) {
    let cols = z.len();
    let mut j = 0;
    while j + WIDTH <= cols {
        // SAFETY: the caller's.
        unsafe { chunk(finish, &z[j..], c.add(j), read, (at.0, at.1 + j), WIDTH) };
        j += WIDTH;
    }
    if j < cols {
        // SAFETY: the caller's.
        unsafe { chunk(finish, &z[j..], c.add(j), read, (at.0, at.1 + j), cols - j) };
    }
}

/// # Safety
/// As [`row`], for `width` elements.
#[inline(always)]
unsafe fn chunk<T: Float>(
    finish: Option<&Finish<'_, T>>,
    from: &[T],
    c: *mut T,
    read: bool,
    at: (usize, usize),
    width: usize,
) {
    // SAFETY: the caller vouches for `c`.
    let old = unsafe { std::slice::from_raw_parts_mut(c, width) };
    let mut z = load(from, 0, width);
    if read {
        let old = load(old, 0, width);
        each(&mut z, &old, |z, c| z + c);
    }
    if let Some(finish) = finish {
        // SAFETY: the caller's.
        unsafe { finish.apply(&mut z, at, width) };
    }
    store(old, &z, width);
}

impl<T: Float> Finish<'_, T> {
    /// # Safety
    /// As [`row`].
    #[inline(always)]
    unsafe fn apply(&self, z: &mut [T; WIDTH], at: (usize, usize), width: usize) {
        if let Some(bias) = self.bias {
            each(z, &load(bias, at.1, width), |z, b| z + b);
        }
        if let Some(activation) = self.activation {
            let mut slope = [T::ZERO; WIDTH];
            match activation {
                Activation::Gelu => {
                    for (z, slope) in z.iter_mut().zip(&mut slope) {
                        (*z, *slope) = math::gelu_both(*z);
                    }
                }
                Activation::Relu => {
                    for (z, slope) in z.iter_mut().zip(&mut slope) {
                        *slope = if *z > T::ZERO { T::ONE } else { T::ZERO };
                        *z = if *z < T::ZERO { T::ZERO } else { *z };
                    }
                }
            }
            if let Some((derivative, stride)) = self.derivative {
                // SAFETY: the caller owns row at.0, and the elements lie in it.
                let to = unsafe { std::slice::from_raw_parts_mut(derivative.add(at.0 * stride + at.1), width) };
                store(to, &slope, width);
            }
        }
        if let Some(factor) = self.col_factor {
            each(z, &load(factor, at.1, width), |z, f| z * f);
        }
        if let Some((factor, stride)) = self.factor {
            each(z, &load(factor, at.0 * stride + at.1, width), |z, f| z * f);
        }
        if let Some((residual, stride)) = self.residual {
            each(z, &load(residual, at.0 * stride + at.1, width), |z, r| z + r);
        }
    }
}

#[inline(always)]
fn each<T: Float>(z: &mut [T; WIDTH], by: &[T; WIDTH], f: impl Fn(T, T) -> T) {
    for (z, &by) in z.iter_mut().zip(by) {
        *z = f(*z, by);
    }
}

#[inline(always)]
fn load<T: Float>(from: &[T], start: usize, width: usize) -> [T; WIDTH] {
    let mut to = [T::ZERO; WIDTH];
    if width == WIDTH {
        to.copy_from_slice(&from[start..start + WIDTH]);
    } else {
        to[..width].copy_from_slice(&from[start..start + width]);
    }
    to
}

#[inline(always)]
fn store<T: Float>(to: &mut [T], from: &[T; WIDTH], width: usize) {
    if width == WIDTH {
        to[..WIDTH].copy_from_slice(from);
    } else {
        to[..width].copy_from_slice(&from[..width]);
    }
}
