//! Checks of gradients and errors, for tests and for `vitrum selftest`.

use crate::device::Device;
use crate::dtype::{DType, Real};
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::rng::{Philox, Stream};
use crate::store::{Role, Store, Var};
use crate::tape::{Tape, Value};
use crate::tensor::Tensor;

/// Records some ops on the given inputs and returns their result.
pub type Build<'a> = &'a dyn Fn(&mut Tape, &[Value]) -> Result<Value>;

/// What a computation gives: its output, and the gradients asked for under a given cotangent.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The output.
    pub output: Tensor,
    /// Gradients of the wanted inputs, in order.
    pub gradients: Vec<Tensor>,
}

/// A computation that is planned and may be replayed.
pub struct Prepared {
    /// Holds the inputs.
    pub store: Store,
    /// Computes and keeps the values below.
    pub plan: Plan,
    /// The output.
    pub output: Value,
    /// Gradients of the wanted inputs, in order.
    pub gradients: Vec<Value>,
}

/// Plans `build` on `inputs`, and its backward pass from `cotangent` (ones for `None`) to the inputs at the positions
/// `wanted`. `checks` as in [`Tape::plan_with`].
///
/// # Errors
/// Those of recording and of the device.
pub fn prepare(
    device: &Device,
    build: Build,
    inputs: &[Tensor],
    wanted: &[usize],
    cotangent: Option<&Tensor>,
    checks: bool,
) -> Result<Prepared> {
    let mut store = Store::new(device.clone())?;
    let mut tape = Tape::new();
    let vars = inputs
        .iter()
        .enumerate()
        .map(|(at, tensor)| store.constant(&format!("input{at}"), Role::Data, tensor))
        .collect::<Result<Vec<Var>>>()?;
    let values = vars.iter().map(|&var| tape.var(&store, var)).collect::<Result<Vec<Value>>>()?;
    let output = build(&mut tape, &values)?;
    let seed = match cotangent {
        Some(tensor) => {
            let var = store.constant("cotangent", Role::Data, tensor)?;
            Some(tape.var(&store, var)?)
        }
        None => None,
    };
    let leaves = wanted
        .iter()
        .map(|&at| values.get(at).copied().ok_or_else(|| Error::new("check", "no such input").with("position", at)))
        .collect::<Result<Vec<_>>>()?;
    let gradients = if leaves.is_empty() { Vec::new() } else { tape.backward(output, seed, &leaves, &[])?.values };
    let mut keep = vec![output];
    keep.extend(&gradients);
    let plan = tape.plan_with(&mut store, &keep, checks)?;
    Ok(Prepared { store, plan, output, gradients })
}

/// Runs `build` on `inputs`, and its backward pass from `cotangent` to the inputs at the positions `wanted`.
///
/// # Errors
/// Those of recording and of the device.
pub fn evaluate(
    device: &Device,
    build: Build,
    inputs: &[Tensor],
    wanted: &[usize],
    cotangent: Option<&Tensor>,
) -> Result<Outcome> {
    let Prepared { mut store, plan, output, gradients } = prepare(device, build, inputs, wanted, cotangent, true)?;
    plan.replay(&mut store)?;
    Ok(Outcome {
        output: plan.read(&store, output)?,
        gradients: gradients.iter().map(|&gradient| plan.read(&store, gradient)).collect::<Result<_>>()?,
    })
}

/// A tensor of independent normal values, a function of `seed` and `name`.
///
/// # Errors
/// As [`Tensor::new`].
pub fn random<T: Real>(dims: &[usize], seed: u64, name: &str) -> Result<Tensor> {
    let philox = Philox::new(seed, 0, Stream::named(name));
    Tensor::from_fn(dims, |element| T::from_f32(philox.normal(0, element)))
}

/// Largest relative difference between <v, J u> by central differences and <J'v, u> by the backward pass, over the
/// wanted inputs and `directions` random directions u each.
///
/// Differences are taken on five points in the element type of the inputs: with step 1e-3 in f64, where their own error is of
/// order 1e-10 for smooth functions, and with step 5e-3 in f32, where rounding leaves an error of order 1e-4. Relative to the
/// larger of the two values and of 1e-2 times the norms' product, so that a direction that happens to be orthogonal does
/// not divide by nothing; in f32 also of what an output that is rounded lets differences see at all, so that a gradient of
/// nearly 0 is not held against noise.
///
/// # Errors
/// Those of recording and of the device; an input that is neither f32 nor f64.
pub fn gradient_error(
    device: &Device,
    build: Build,
    inputs: &[Tensor],
    wanted: &[usize],
    directions: u64,
    seed: u64,
) -> Result<f64> {
    let output = evaluate(device, build, inputs, &[], None)?.output;
    let cotangent = normal_like(&output, seed, "cotangent")?;
    let analytic = evaluate(device, build, inputs, wanted, Some(&cotangent))?.gradients;
    let cotangent = cotangent.to_f64();
    let narrow = output.spec().dtype == DType::F32;
    // Two roundings of the output, over the step, a hundred times: what an error of 1e-2 must exceed.
    let blind =
        if narrow { 2e2 * f64::from(f32::EPSILON) / 5e-3 * norm(&output.to_f64()) * norm(&cotangent) } else { 0.0 };
    let project = |inputs: &[Tensor]| -> Result<f64> {
        let output = evaluate(device, build, inputs, &[], None)?.output;
        Ok(dot(&output.to_f64(), &cotangent))
    };
    let mut worst = 0.0_f64;
    for (&at, gradient) in wanted.iter().zip(&analytic) {
        let base = inputs.get(at).ok_or_else(|| Error::new("check", "no such input").with("position", at))?;
        let gradient = gradient.to_f64();
        for direction in 0..directions {
            let u = normal_like(base, seed ^ (direction + 1), "direction")?.to_f64();
            let moved = |step: f64| -> Result<f64> {
                let mut inputs = inputs.to_vec();
                if let Some(slot) = inputs.get_mut(at) {
                    *slot = moved_by(base, step, &u)?;
                }
                project(&inputs)
            };
            let h = if base.spec().dtype == DType::F64 { 1e-3 } else { 5e-3 };
            let numeric = (8.0 * (moved(h)? - moved(-h)?) - (moved(2.0 * h)? - moved(-2.0 * h)?)) / (12.0 * h);
            let exact = dot(&gradient, &u);
            let norms = norm(&gradient) * norm(&u);
            let scale = numeric.abs().max(exact.abs()).max(1e-2 * norms).max(blind).max(1e-12);
            let error = (numeric - exact).abs() / scale;
            worst = if error.is_nan() { f64::INFINITY } else { worst.max(error) };
        }
    }
    Ok(worst)
}

/// Independent normal values of the shape and float type of `like`.
fn normal_like(like: &Tensor, seed: u64, name: &str) -> Result<Tensor> {
    match like.spec().dtype {
        DType::F64 => random::<f64>(like.dims(), seed, name),
        DType::F32 => random::<f32>(like.dims(), seed, name),
        _ => Err(Error::new("check", "gradients are checked in f32 or f64").with("tensor", like.spec())),
    }
}

/// `base + step u`, rounded to its type.
fn moved_by(base: &Tensor, step: f64, u: &[f64]) -> Result<Tensor> {
    let values: Vec<f64> = base.to_f64().iter().zip(u).map(|(x, u)| x + step * u).collect();
    let moved = Tensor::new(base.dims(), &values)?;
    if base.spec().dtype == DType::F64 { Ok(moved) } else { moved.cast::<f32>() }
}

/// Largest absolute difference; infinite where one side is NaN and the other is not, or the lengths differ.
pub fn max_error(actual: &[f64], expected: &[f64]) -> f64 {
    if actual.len() != expected.len() {
        return f64::INFINITY;
    }
    actual.iter().zip(expected).fold(0.0, |worst: f64, (&a, &e)| {
        let error = if a == e || (a.is_nan() && e.is_nan()) { 0.0 } else { (a - e).abs() };
        if error.is_nan() { f64::INFINITY } else { worst.max(error) }
    })
}

/// Squared error over squared norm of the reference: 0 is exact, 1 is as bad as answering zero.
pub fn nmse(actual: &[f64], expected: &[f64]) -> f64 {
    if actual.len() != expected.len() {
        return f64::INFINITY;
    }
    let error: f64 = actual.iter().zip(expected).map(|(&a, &e)| (a - e) * (a - e)).sum();
    let norm: f64 = expected.iter().map(|e| e * e).sum();
    if error == 0.0 {
        0.0
    } else if error.is_nan() {
        f64::INFINITY
    } else {
        error / norm.max(f64::MIN_POSITIVE)
    }
}

/// Distance in units of the last place between two f32 values; `u32::MAX` where exactly one is NaN.
pub fn ulp(a: f32, b: f32) -> u32 {
    if a.is_nan() || b.is_nan() {
        return if a.is_nan() && b.is_nan() { 0 } else { u32::MAX };
    }
    let ordered = |value: f32| {
        let bits = value.to_bits();
        if bits >> 31 == 1 { i64::from(0x8000_0000_u32) - i64::from(bits) } else { i64::from(bits) }
    };
    u32::try_from((ordered(a) - ordered(b)).abs()).unwrap_or(u32::MAX)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_fail_on_nan() {
        assert_eq!(max_error(&[f64::NAN], &[1.0]), f64::INFINITY);
        assert_eq!(nmse(&[f64::NAN], &[1.0]), f64::INFINITY);
        assert_eq!(max_error(&[1.0, 2.0], &[1.0, 2.5]), 0.5);
    }

    #[test]
    fn ulp_counts_across_zero() {
        assert_eq!(ulp(1.0, 1.0 + f32::EPSILON), 1);
        assert_eq!(ulp(0.0, -0.0), 0);
        assert_eq!(ulp(f32::from_bits(1), -f32::from_bits(1)), 2);
        assert_eq!(ulp(f32::NAN, 1.0), u32::MAX);
    }
}
