//! Flat vectors: whole networks in one launch.

use engine::{Buf, Error, Result, Spec};

use super::math::Float;
use super::simd::simd;

/// Elements that one job of a launch handles.
pub(crate) const BLOCK: usize = 16_384;

/// Block `i` of a vector.
pub(crate) fn block<T>(x: &[T], i: usize) -> &[T] {
    let start = (i * BLOCK).min(x.len());
    &x[start..(start + BLOCK).min(x.len())]
}

/// The factor that gradients are multiplied by, from the result (norm, factor) of `global_norm`; `None` where the step is
/// to be left out, because the norm was not finite.
pub(crate) fn clip_factor<T: Float>(clip: &Buf) -> Result<Option<T>> {
    let factor = scalar_at::<T>(clip, 1)?;
    Ok((factor.is_finite() && factor > T::ZERO).then_some(factor))
}

/// Element `at` of a small buffer.
pub(crate) fn scalar_at<T: Float>(buf: &Buf, at: usize) -> Result<T> {
    buf.host::<T>()?.get(at).copied().ok_or_else(|| Error::new("buffer", "too few elements").with("buffer", buf.spec()))
}

/// Whether `spec` is a vector of `count` elements of the type of `like`.
pub(crate) fn is_vector(spec: &Spec, like: &Spec, count: usize) -> bool {
    spec.dtype == like.dtype && spec.dims() == [count]
}

simd! {
    /// Sum of squares in f64, in a fixed order.
    pub(crate) fn sum_squares<T: Float>(x: &[T]) -> f64 {
        let mut lanes = [0.0_f64; 32];
        let mut parts = x.chunks_exact(lanes.len());
        for part in &mut parts {
            for (lane, &x) in lanes.iter_mut().zip(part) {
                let x = x.to_f64();
                *lane += x * x;
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(parts.remainder()) {
            let x = x.to_f64();
            *lane += x * x;
        }
        lanes.iter().sum()
    }
}
