//! Checks of inputs that many ops share.

use engine::rng::STATE_WORDS;
use engine::{DType, Error, Result, Spec};

/// The `N` inputs of op `op`.
///
/// # Errors
/// There are not `N`.
pub fn take<const N: usize>(op: &str, inputs: &[Spec]) -> Result<[Spec; N]> {
    <[Spec; N]>::try_from(inputs)
        .map_err(|_| Error::new(op, format!("takes {N} inputs")).with("inputs", format!("{inputs:?}")))
}

/// Checks that input `what` is of a float type that CPUs compute in and holds at least one element.
///
/// # Errors
/// It isn't, or doesn't.
pub fn float(op: &str, what: &str, spec: Spec) -> Result<()> {
    if spec.dtype.is_real() && spec.elements() > 0 {
        return Ok(());
    }
    Err(Error::new(op, format!("{what} must be f32 or f64 and not empty")).with(what, spec))
}

/// Checks that an input is the random state of [`engine::rng`].
///
/// # Errors
/// It isn't.
pub fn random_state(op: &str, spec: Spec) -> Result<()> {
    if spec == Spec::new(DType::U32, &[STATE_WORDS])? {
        return Ok(());
    }
    Err(Error::new(op, "the random state must be u32[4]: seed, seed, step, 0").with("state", spec))
}

/// Checks that an input holds one sample id for each of `b` samples.
///
/// # Errors
/// It doesn't.
pub fn sample_ids(op: &str, spec: Spec, b: usize) -> Result<()> {
    if spec == Spec::new(DType::U32, &[b])? {
        return Ok(());
    }
    Err(Error::new(op, "there must be one u32 sample id per sample").with("ids", spec).with("samples", b))
}

/// Elements and bytes of input `position`; zeros where there is none.
pub fn size(inputs: &[Spec], position: usize) -> (usize, usize) {
    inputs.get(position).map_or((0, 0), |spec| (spec.elements(), spec.bytes()))
}
