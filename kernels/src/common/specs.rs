//! Checks of inputs that many ops share.

use engine::rng::STATE_WORDS;
use engine::{Cost, DType, Error, Inputs, Result, Spec, Work};

/// The `N` inputs of op `op`.
///
/// # Errors
/// There are not `N`.
pub fn take<const N: usize>(op: &str, inputs: &[Spec]) -> Result<[Spec; N]> {
    <[Spec; N]>::try_from(inputs)
        .map_err(|_| Error::new(op, format!("takes {N} inputs")).with("inputs", format!("{inputs:?}")))
}

/// Checks that input `what` is of a float type and holds at least one element.
///
/// # Errors
/// It isn't, or doesn't.
pub fn float(op: &str, what: &str, spec: Spec) -> Result<()> {
    if spec.dtype.is_float() && spec.elements() > 0 {
        return Ok(());
    }
    Err(Error::new(op, format!("{what} must be a float and not empty")).with(what, spec))
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

/// The error of an op whose inputs do not fit, with a row per input.
pub fn misfit(op: &str, names: &[&str], specs: &[Spec], help: &str) -> Error {
    let name = |at: usize| names.get(at).copied().unwrap_or("too many");
    let error = Error::new(op, "the inputs do not fit").with("inputs", format!("{} of {}", specs.len(), names.len()));
    specs.iter().enumerate().fold(error, |error, (at, spec)| error.with(name(at), spec)).help(help)
}

/// Whether `spec` is real, [samples, classes], and has at least `classes` of them.
pub fn is_logits(spec: &Spec, classes: usize) -> bool {
    spec.dtype.is_real() && spec.shape.rank() == 2 && spec.shape.last() >= classes
}

/// One value per sample, of the same dtype.
///
/// # Errors
/// As [`Spec::new`].
pub fn per_sample(spec: &Spec) -> Result<Spec> {
    Spec::new(spec.dtype, &[samples(spec)])
}

/// The outermost dimension, 1 for a scalar.
pub fn samples(spec: &Spec) -> usize {
    spec.dims().first().copied().unwrap_or(1)
}

/// Elements of one sample.
pub fn per_sample_elements(spec: &Spec) -> usize {
    spec.dims().iter().skip(1).product()
}

/// The output of an op that compares two logits [samples, classes]: one value per sample.
///
/// # Errors
/// The two are not alike, or no logits.
pub fn logits_pair(op: &str, names: &[&str; 2], inputs: &[Spec]) -> Result<Spec> {
    match inputs {
        [a, b] if is_logits(a, 1) && a == b => per_sample(a),
        _ => Err(misfit(op, names, inputs, "both are logits [b, k] of one float type")),
    }
}

/// The output of an op on logits [samples, classes] and i32 labels [samples]: one value per sample.
///
/// # Errors
/// They are not, or there are fewer than `classes` classes.
pub fn logits_and_labels(op: &str, inputs: &[Spec], classes: usize) -> Result<Spec> {
    match inputs {
        [logits, labels]
            if is_logits(logits, classes) && labels.dtype == DType::I32 && labels.dims() == [samples(logits)] =>
        {
            per_sample(logits)
        }
        _ => Err(misfit(
            op,
            &["logits", "labels"],
            inputs,
            &format!("logits are float [b, k] with k at least {classes}, labels i32 [b]"),
        )),
    }
}

/// Cost of an op that reads its inputs once per pass and writes the wanted gradients; `forward` and `backward` are FLOPs
/// per element of the first input.
pub fn streaming_cost(inputs: &[Spec], wanted: Inputs, forward: usize, backward: usize) -> Cost {
    let count = inputs.first().map_or(0, Spec::elements);
    let bytes: usize = inputs.iter().map(Spec::bytes).sum();
    let written: Vec<usize> =
        inputs.iter().enumerate().filter(|&(at, _)| wanted.has(at)).map(|(_, spec)| spec.bytes()).collect();
    let gradients = Work::new(written.len() * backward * count, bytes + written.iter().sum::<usize>());
    Cost {
        forward: Work::new(forward * count, bytes),
        backward: if written.is_empty() { Work::default() } else { gradients },
    }
}
