//! Running cases: against the oracle, against differences, against themselves.

use engine::check::{self, max_error};
use engine::rng::{Philox, Stream, normal, uniform};
use engine::{DType, Device, Error, Plan, Result, Role, Store, Tape, Tensor, Value, Var};

use super::stored::{SUFFIX, narrowed};
use super::{Case, Fill, Input, Record};
use crate::cast::{cast, rounded};
use crate::residual::residual;

/// Distance from 1 to the next bf16.
const BF16_EPSILON: f64 = 1.0 / 128.0;

/// What the comparison of one case with its oracle found.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The case.
    pub label: String,
    /// Largest error over its bound, over all results: at most 1 passes.
    pub worst: f64,
    /// Which result that was: `output`, `d input 1`, `state 0`.
    pub at: String,
    /// Its largest absolute error against the f64 oracle.
    pub error: f64,
    /// The largest error of the naive f32 implementation there.
    pub naive_error: f64,
}

impl Verdict {
    /// Whether every result is within its bound.
    pub fn passes(&self) -> bool {
        self.worst <= 1.0
    }
}

/// The input tensors of a case, floats in f32.
///
/// # Errors
/// As [`Tensor::new`].
pub fn tensors(case: &Case) -> Result<Vec<Tensor>> {
    case.inputs.iter().enumerate().map(|(at, input)| tensor(drawn_for(case), at, input)).collect()
}

fn drawn_for(case: &Case) -> &str {
    case.label.strip_suffix(SUFFIX).unwrap_or(&case.label)
}

fn tensor(label: &str, at: usize, input: &Input) -> Result<Tensor> {
    let philox = Philox::new(1, u32::try_from(at).unwrap_or(0), Stream::named(label));
    let dims = &input.dims;
    match &input.fill {
        Fill::Normal(scale) => Tensor::from_fn(dims, |i| scale * normal(philox.bits(0, i))),
        Fill::Uniform(low, high) => Tensor::from_fn(dims, |i| low + (high - low) * uniform(philox.bits(0, i))),
        Fill::Exactly(values) => Tensor::new(dims, values),
        Fill::Labels(classes) => Tensor::from_fn(dims, |i| philox.below(0, i, *classes).cast_signed()),
        Fill::Ids => Tensor::from_fn(dims, |i| u32::try_from(3 * i + 5).unwrap_or(u32::MAX)),
        Fill::RandomState(step) => Tensor::new(dims, &Philox::state(7, *step)),
        Fill::Words(words) => Tensor::new(dims, words),
        Fill::Separated(gap) => separated(dims, *gap, philox),
        Fill::Probabilities => {
            let mut tensor = Tensor::from_fn(dims, |i| 0.05 + uniform(philox.bits(0, i)))?;
            let classes = tensor.spec().shape.last().max(1);
            for row in tensor.values_mut::<f32>()?.chunks_exact_mut(classes) {
                let sum: f32 = row.iter().sum();
                row.iter_mut().for_each(|p| *p /= sum);
            }
            Ok(tensor)
        }
    }
}

fn separated(dims: &[usize], gap: f32, philox: Philox) -> Result<Tensor> {
    let mut tensor = Tensor::zeros(engine::Spec::new(DType::F32, dims)?);
    let width = tensor.spec().shape.last().max(1);
    for (row, values) in tensor.values_mut::<f32>()?.chunks_mut(width).enumerate() {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by_key(|&column| philox.bits(0, row * width + column));
        for (rank, column) in (-1_i16..).zip(order) {
            values[column] = gap * (f32::from(rank) + 0.25 * philox.uniform(1, row * width + column));
        }
    }
    Ok(tensor)
}

fn widen(tensors: &[Tensor]) -> Result<Vec<Tensor>> {
    tensors
        .iter()
        .map(|tensor| if tensor.spec().dtype == DType::F32 { tensor.cast::<f64>() } else { Ok(tensor.clone()) })
        .collect()
}

/// The gradient of the output that a case is checked with: random normal.
fn cotangent(case: &Case, device: &Device, inputs: &[Tensor]) -> Result<Option<Tensor>> {
    let Record::Op(record, _) = &case.record else { return Ok(None) };
    let output = check::evaluate(device, record.as_ref(), inputs, &[], None)?.output;
    Ok(Some(check::random::<f32>(output.dims(), 3, drawn_for(case))?))
}

/// Runs a case on a device: for an op its output and gradients, for an update its states after.
fn run(case: &Case, device: &Device, inputs: &[Tensor], cotangent: Option<&Tensor>) -> Result<Vec<Tensor>> {
    match &case.record {
        Record::Op(record, wanted) => {
            let outcome = check::evaluate(device, record.as_ref(), inputs, wanted, cotangent)?;
            Ok([outcome.output].into_iter().chain(outcome.gradients).collect())
        }
        Record::Update(..) => {
            let (mut store, plan, states) = prepare_update(case, device, inputs, true)?;
            plan.replay(&mut store)?;
            states.iter().map(|&var| store.read(var)).collect()
        }
    }
}

/// Plans an update on variables that hold `inputs`; the states are returned too.
fn prepare_update(case: &Case, device: &Device, inputs: &[Tensor], checks: bool) -> Result<(Store, Plan, Vec<Var>)> {
    let Record::Update(record, states) = &case.record else {
        return Err(Error::new(&case.label, "is an op, not an update"));
    };
    let mut store = Store::new(device.clone())?;
    let vars = (0..).zip(inputs).map(|(at, tensor)| store.constant(&format!("{at}"), Role::Data, tensor));
    let vars = vars.collect::<Result<Vec<_>>>()?;
    let (states, rest) = vars.split_at(*states);
    let mut tape = Tape::new();
    let values = rest.iter().map(|&var| tape.var(&store, var)).collect::<Result<Vec<_>>>()?;
    record(&mut tape, &store, states, &values)?;
    let plan = tape.plan_with(&mut store, &[], checks)?;
    Ok((store, plan, states.to_vec()))
}

/// Plans a case for timing: without canaries and poison, and with the gradients of all its wanted inputs where `gradients`
/// says so (an update has none). The plan's own [`Plan::work`] says what one replay does.
///
/// # Errors
/// Those of recording and of the device.
pub fn timed(case: &Case, device: &Device, gradients: bool) -> Result<(Store, Plan)> {
    let inputs = tensors(case)?;
    let Record::Op(record, wanted) = &case.record else {
        let (store, plan, _) = prepare_update(case, device, &inputs, false)?;
        return Ok((store, plan));
    };
    let (wanted, cotangent) =
        if gradients { (wanted.as_slice(), cotangent(case, device, &inputs)?) } else { (&[][..], None) };
    let prepared = check::prepare(device, record.as_ref(), &inputs, wanted, cotangent.as_ref(), false)?;
    Ok((prepared.store, prepared.plan))
}

/// Compares a case in f32 on a device with its f64 oracle.
///
/// The bound is twice the largest error of the naive f32 implementation, plus four units in the last place of the largest
/// reference value (one where tensors are stored in bf16), so that a naive result that happens to be exact does not demand
/// exactness.
///
/// # Errors
/// Those of recording, of the device and of the references.
pub fn check(case: &Case, device: &Device) -> Result<Verdict> {
    let inputs = tensors(case)?;
    let cotangent = cotangent(case, device, &inputs)?;
    let actual = run(case, device, &inputs, cotangent.as_ref())?;
    let naive = (case.naive)(&inputs, cotangent.as_ref())?;
    let wide = cotangent.as_ref().map(|tensor| tensor.cast::<f64>()).transpose()?;
    let expected = (case.oracle)(&widen(&inputs)?, wide.as_ref())?;
    if actual.len() != expected.len() || naive.len() != expected.len() {
        return Err(Error::new(&case.label, "the references give another number of results than the op")
            .with("op", actual.len())
            .with("naive", naive.len())
            .with("oracle", expected.len()));
    }
    let mut verdict =
        Verdict { label: case.label.clone(), worst: -1.0, at: String::new(), error: 0.0, naive_error: 0.0 };
    for (index, ((actual, naive), expected)) in actual.iter().zip(&naive).zip(&expected).enumerate() {
        let expected = expected.to_f64();
        let error = max_error(&actual.to_f64(), &expected);
        let naive_error = max_error(&naive.to_f64(), &expected);
        let largest =
            expected.iter().filter(|value| value.is_finite()).fold(0.0_f64, |most, value| most.max(value.abs()));
        let units = if case.storage == DType::Bf16 { BF16_EPSILON } else { 4.0 * f64::from(f32::EPSILON) };
        let bound = 2.0 * naive_error + units * largest;
        let ratio = if error == 0.0 { 0.0 } else { error / bound.max(f64::MIN_POSITIVE) };
        if ratio > verdict.worst || ratio.is_nan() {
            let at = result_name(case, index);
            verdict = Verdict {
                worst: if ratio.is_nan() { f64::INFINITY } else { ratio },
                at,
                error,
                naive_error,
                ..verdict
            };
        }
    }
    Ok(verdict)
}

/// Largest error of a case run in f64 against its f64 oracle, relative to the largest reference value of each result (or
/// 1, if that is smaller).
///
/// # Errors
/// Those of recording, of the device and of the oracle; another number of results.
pub fn wide_error(case: &Case, device: &Device) -> Result<f64> {
    let inputs = tensors(case)?;
    let cotangent = cotangent(case, device, &inputs)?.map(|tensor| tensor.cast::<f64>()).transpose()?;
    let wide = widen(&inputs)?;
    let actual = run(case, device, &wide, cotangent.as_ref())?;
    let expected = (case.oracle)(&wide, cotangent.as_ref())?;
    if actual.len() != expected.len() {
        return Err(Error::new(&case.label, "the oracle gives another number of results than the op"));
    }
    let errors = actual.iter().zip(&expected).map(|(actual, expected)| {
        let expected = expected.to_f64();
        let finite = expected.iter().filter(|value| value.is_finite());
        let largest = finite.fold(1.0_f64, |most, value| most.max(value.abs()));
        max_error(&actual.to_f64(), &expected) / largest
    });
    Ok(errors.fold(0.0, f64::max))
}

/// Error of gradients that are added to: the case recorded twice and summed, against twice the gradients of one; and, where the
/// output is like the first wanted input, its sum with that. In the widest float type of the device, relative to the largest
/// gradient (or 1, if that is smaller). An op's second contribution must add to the first.
///
/// # Errors
/// Those of recording and of the device.
pub fn adding_error(case: &Case, device: &Device) -> Result<f64> {
    let Record::Op(record, wanted) = &case.record else { return Ok(0.0) };
    let narrow = tensors(case)?;
    let mut seed = cotangent(case, device, &narrow)?;
    let mut inputs = narrow;
    if gradient_bound(device).0 == DType::F64 {
        seed = seed.map(|tensor| tensor.cast::<f64>()).transpose()?;
        inputs = widen(&inputs)?;
    }
    let cotangent = seed;
    // Tensors in bf16 are cast once, so that both contributions meet there.
    let narrow = case.storage == DType::Bf16 && case.narrows;
    let stored = |tape: &mut Tape, inputs: &[Value]| {
        if narrow { narrowed(tape, &case.inputs, inputs) } else { Ok(inputs.to_vec()) }
    };
    let twice = |tape: &mut Tape, inputs: &[Value]| {
        let inputs = stored(tape, inputs)?;
        let (first, second) = (record(tape, &inputs)?, record(tape, &inputs)?);
        residual(tape, first, second, None)
    };
    let once = check::evaluate(device, record.as_ref(), &inputs, wanted, cotangent.as_ref())?;
    let summed = check::evaluate(device, &twice, &inputs, wanted, cotangent.as_ref())?.gradients;
    let doubled = |once: &Tensor| once.to_f64().iter().map(|value| 2.0 * value).collect::<Vec<f64>>();
    let errors = once.gradients.iter().zip(&summed).map(|(once, summed)| relative_error(summed, &doubled(once)));
    let worst = errors.fold(0.0, f64::max);

    // A contribution of another kind, which is dense: where an op's own is zero, it must leave the other one alone.
    let (Some(&first), Some(seed), Some(gradient)) = (wanted.first(), &cotangent, once.gradients.first()) else {
        return Ok(worst);
    };
    if inputs[first].spec() != once.output.spec() {
        return Ok(worst);
    }
    let beside = |tape: &mut Tape, inputs: &[Value]| {
        let inputs = stored(tape, inputs)?;
        let output = record(tape, &inputs)?;
        if !narrow {
            return residual(tape, inputs[first], output, None);
        }
        let output = cast(tape, output, DType::Bf16)?;
        let sum = residual(tape, inputs[first], output, None)?;
        cast(tape, sum, DType::F32)
    };
    let summed = check::evaluate(device, &beside, &inputs, &[first], cotangent.as_ref())?.gradients;
    // The seed reaches both as it is stored.
    let seed = if narrow { rounded::<f32>(seed)? } else { seed.clone() };
    let expected: Vec<f64> = gradient.to_f64().iter().zip(seed.to_f64()).map(|(own, other)| own + other).collect();
    Ok(summed.iter().map(|summed| relative_error(summed, &expected)).fold(worst, f64::max))
}

/// The largest error, relative to the largest finite expected value, or 1 if that is smaller.
fn relative_error(actual: &Tensor, expected: &[f64]) -> f64 {
    let finite = expected.iter().filter(|value| value.is_finite());
    let largest = finite.fold(1.0_f64, |most, value| most.max(value.abs()));
    max_error(&actual.to_f64(), expected) / largest
}

fn result_name(case: &Case, index: usize) -> String {
    match &case.record {
        Record::Op(..) if index == 0 => "output".to_owned(),
        Record::Op(_, wanted) => format!("d input {}", wanted.get(index - 1).copied().unwrap_or(usize::MAX)),
        Record::Update(..) => format!("state {index}"),
    }
}

/// The widest float type in which a device computes, and the largest relative error against central differences that a
/// right gradient may have in it.
///
/// In f32 the differences round: 1e-2 leaves room for that, while a wrong term or sign errs by more. How exact the
/// gradient is, [`check()`] tells, which compares it with the f64 oracle element by element.
pub fn gradient_bound(device: &Device) -> (DType, f64) {
    match device {
        Device::Cpu(_) => (DType::F64, 1e-6),
        Device::Cuda(_) | Device::Wgpu(_) => (DType::F32, 1e-2),
    }
}

/// Relative error of an op's analytic gradient against central differences (see [`check::gradient_error`]), in the widest
/// float type of the device; [`gradient_bound`] is its bound.
///
/// # Errors
/// Those of recording and of the device.
pub fn gradient_error(case: &Case, device: &Device) -> Result<f64> {
    match &case.record {
        Record::Op(record, wanted) if case.differentiable => {
            let narrow = tensors(case)?;
            let inputs = if gradient_bound(device).0 == DType::F64 { widen(&narrow)? } else { narrow };
            check::gradient_error(device, record.as_ref(), &inputs, wanted, 2, 11)
        }
        Record::Op(..) | Record::Update(..) => Ok(0.0),
    }
}

/// Whether a case gives the same bits on two devices (or twice on one).
///
/// # Errors
/// Those of recording and of the devices.
pub fn reproducible(case: &Case, one: &Device, other: &Device) -> Result<bool> {
    let inputs = tensors(case)?;
    let cotangent = cotangent(case, one, &inputs)?;
    Ok(run(case, one, &inputs, cotangent.as_ref())? == run(case, other, &inputs, cotangent.as_ref())?)
}
