//! The inner kernel: a tile of C in registers, k multiply-adds deep.
//!
//! A [`Panel`] call walks down the rows of one block of A against one packed panel of B. The panel (at most 48 columns
//! by 192 in f32) stays in the first-level cache, A streams past it. A needs no packing as long as its elements are
//! where the strides say: one broadcast load per row and step feeds up to three multiply-adds.

use engine::Real;

use super::finish::Finish;
use super::lanes::{Lanes, Portable};
use crate::common::math::Float;
use crate::common::simd::{self, Level};

/// Rows of the tallest tile.
const MAX_ROWS: usize = 8;
/// Elements across the widest tile.
const MAX_WIDTH: usize = 48;

/// A block of rows of A times a packed panel of B.
pub struct Panel<'a, T> {
    /// Rows of A and C.
    pub(super) rows: usize,
    /// Depth.
    pub(super) k: usize,
    /// First element of A.
    pub(super) a: *const T,
    /// Elements between rows of A within a tile.
    pub(super) a_row: usize,
    /// Elements between columns of A.
    pub(super) a_col: usize,
    /// Elements from one tile of A to the next.
    pub(super) a_tile: usize,
    /// The panel: k rows of `vectors` registers, zeros beyond `cols`.
    pub(super) b: *const T,
    /// Registers across the panel.
    pub(super) vectors: usize,
    /// Columns of C.
    pub(super) cols: usize,
    /// First element of C.
    pub(super) c: *mut T,
    /// Elements between rows of C.
    pub(super) c_row: usize,
    /// Factor of the product.
    pub(super) alpha: T,
    /// Whether the product is added to what C holds, before `finish`.
    pub(super) read: bool,
    /// What happens before C is written, and the position of this block in C for it.
    pub(super) finish: Option<&'a Finish<'a, T>>,
    /// Row and column of the block's first element in C.
    pub(super) at: (usize, usize),
}

/// The compiled kernels of one instruction set.
pub struct Kernel<T> {
    /// Elements of a register.
    pub(super) lanes: usize,
    /// Rows of a full tile.
    pub(super) rows: usize,
    /// Registers across a full tile.
    pub(super) vectors: usize,
    /// Multiplies; the panel's pointers must be valid for what its sizes say.
    pub(super) multiply: unsafe fn(&Panel<'_, T>),
    /// Transposes a `lanes` x `lanes` block: (from, from_row, to, to_row).
    pub(super) transpose: unsafe fn(*const T, usize, *mut T, usize),
}

/// Element types that have product kernels: f32 and f64.
pub trait Tiles: Sized {
    /// The kernels for an instruction set, which the machine must have to run them.
    #[doc(hidden)]
    fn kernel_at(level: Level) -> Kernel<Self>;

    /// The kernels for this machine.
    #[doc(hidden)]
    fn kernel() -> Kernel<Self> {
        Self::kernel_at(simd::level())
    }
}

/// `Tiles` for an element type from its AVX-512 and AVX2 registers.
macro_rules! tiles {
    ($t:ty, $avx512:ident, $avx2:ident) => {
        impl Tiles for $t {
            fn kernel_at(level: Level) -> Kernel<Self> {
                #[cfg(target_arch = "x86_64")]
                {
                    use super::lanes::x86::{$avx2, $avx512};

                    #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma")]
                    unsafe fn multiply_avx512(panel: &Panel<'_, $t>) {
                        // SAFETY: the caller's.
                        unsafe { multiply::<$avx512>(panel) }
                    }
                    #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma")]
                    unsafe fn transpose_avx512(from: *const $t, from_row: usize, to: *mut $t, to_row: usize) {
                        // SAFETY: the caller's.
                        unsafe { $avx512::transpose(from, from_row, to, to_row) }
                    }
                    #[target_feature(enable = "avx2,fma")]
                    unsafe fn multiply_avx2(panel: &Panel<'_, $t>) {
                        // SAFETY: the caller's.
                        unsafe { multiply::<$avx2>(panel) }
                    }
                    #[target_feature(enable = "avx2,fma")]
                    unsafe fn transpose_avx2(from: *const $t, from_row: usize, to: *mut $t, to_row: usize) {
                        // SAFETY: the caller's.
                        unsafe { $avx2::transpose(from, from_row, to, to_row) }
                    }

                    match level {
                        Level::Avx512 => return Kernel::of::<$avx512>(multiply_avx512, transpose_avx512),
                        Level::Avx2 => return Kernel::of::<$avx2>(multiply_avx2, transpose_avx2),
                        Level::Portable => {}
                    }
                }
                let _ = level;
                Kernel::of::<Portable<$t>>(multiply::<Portable<$t>>, Portable::<$t>::transpose)
            }
        }
    };
}
tiles!(f32, Avx512F32, Avx2F32);
tiles!(f64, Avx512F64, Avx2F64);

impl<T> Kernel<T> {
    fn of<L: Lanes<T = T>>(
        multiply: unsafe fn(&Panel<'_, T>),
        transpose: unsafe fn(*const T, usize, *mut T, usize),
    ) -> Self {
        Self { lanes: L::N, rows: L::ROWS, vectors: L::VECTORS, multiply, transpose }
    }
}

/// # Safety
/// The CPU has the instructions of `L`; the panel's pointers are valid for its sizes, C is written by nobody else.
#[inline(always)]
unsafe fn multiply<L: Lanes<T: Float>>(panel: &Panel<'_, L::T>) {
    // SAFETY: the caller's.
    unsafe {
        match panel.vectors {
            1 => walk::<L, 1>(panel),
            2 => walk::<L, 2>(panel),
            _ => walk::<L, 3>(panel),
        }
    }
}

/// Tile after tile down the rows.
///
/// # Safety
/// As [`multiply`]; `V` is the panel's number of vectors.
#[inline(always)]
unsafe fn walk<L: Lanes<T: Float>, const V: usize>(panel: &Panel<'_, L::T>) {
    let mut buffer = [L::T::ZERO; MAX_ROWS * MAX_WIDTH];
    let direct = panel.cols == V * L::N && panel.finish.is_none();
    let mut row = 0;
    let mut a = panel.a;
    while row < panel.rows {
        let rows = L::ROWS.min(panel.rows - row);
        // SAFETY: the row exists.
        let c = unsafe { panel.c.add(row * panel.c_row) };
        let (to, to_row, read) =
            if direct { (c, panel.c_row, panel.read) } else { (buffer.as_mut_ptr(), V * L::N, false) };
        // SAFETY: the caller's; the buffer holds the largest tile.
        unsafe {
            match rows {
                1 => tile::<L, 1, V>(panel, a, to, to_row, read),
                2 => tile::<L, 2, V>(panel, a, to, to_row, read),
                3 => tile::<L, 3, V>(panel, a, to, to_row, read),
                4 => tile::<L, 4, V>(panel, a, to, to_row, read),
                5 => tile::<L, 5, V>(panel, a, to, to_row, read),
                6 => tile::<L, 6, V>(panel, a, to, to_row, read),
                7 => tile::<L, 7, V>(panel, a, to, to_row, read),
                _ => tile::<L, 8, V>(panel, a, to, to_row, read),
            }
        }
        if !direct {
            let mut at = (panel.at.0 + row, panel.at.1);
            for z in buffer[..rows * V * L::N].chunks_exact_mut(V * L::N) {
                // SAFETY: row at.0 of C belongs to this call.
                unsafe {
                    let c = panel.c.add((at.0 - panel.at.0) * panel.c_row);
                    super::finish::row(panel.finish, &mut z[..panel.cols], c, panel.read, at);
                }
                at.0 += 1;
            }
        }
        row += rows;
        a = a.wrapping_add(panel.a_tile);
    }
}

/// One tile of `R` rows by `V` registers: to = alpha a b, plus what `to` holds if `read`.
///
/// # Safety
/// As [`multiply`]; `to` is valid for the tile.
#[inline(always)]
unsafe fn tile<L: Lanes<T: Float>, const R: usize, const V: usize>(
    panel: &Panel<'_, L::T>,
    a: *const L::T,
    to: *mut L::T,
    to_row: usize,
    read: bool,
) {
    // SAFETY: the caller's.
    unsafe {
        let (mut a, mut b) = (a, panel.b);
        let mut acc = [[L::zero(); V]; R];
        for _ in 0..panel.k {
            let mut bs = [L::zero(); V];
            for (v, bs) in bs.iter_mut().enumerate() {
                *bs = L::load(b.add(v * L::N));
            }
            for (r, acc) in acc.iter_mut().enumerate() {
                let s = L::splat(a.add(r * panel.a_row));
                for (acc, &b) in acc.iter_mut().zip(&bs) {
                    *acc = L::fma(s, b, *acc);
                }
            }
            a = a.wrapping_add(panel.a_col);
            b = b.add(V * L::N);
        }
        let alpha = L::splat(&raw const panel.alpha);
        for (r, acc) in acc.iter().enumerate() {
            for (v, &acc) in acc.iter().enumerate() {
                let to = to.add(r * to_row + v * L::N);
                let old = if read { L::load(to) } else { L::zero() };
                L::store(to, L::fma(acc, alpha, old));
            }
        }
    }
}
