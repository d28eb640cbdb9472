//! Cases of ops whose tensors are stored in bf16, made of those in f32.

use std::sync::Arc;

use engine::{DType, Real, Result, Tape, Tensor, Value};

use super::{Case, Input, Record, Reference};
use crate::cast::{cast, rounded};

/// What the label of such a case ends in. The numbers are drawn for the label without it: those of the f32 case.
pub(super) const SUFFIX: &str = " in bf16";

/// The ops that take bf16: everything between the images and the logits of a network. Losses, norms of gradients and updates are
/// f32 always.
pub const IN_BF16: [&str; 15] = [
    "activation",
    "attention",
    "combine",
    "drop_path",
    "grad_gate",
    "layer_norm",
    "linear",
    "mark_key",
    "patch_embed",
    "pool",
    "residual",
    "normalise",
    "stochastic_linear",
    "stochastic_scale",
    "tokens",
];

/// The same case with its float tensors stored in bf16: inputs and the gradient of the output are rounded before, results
/// after, and arithmetic is in f32. `None` for an update, and where the case says so.
///
/// It is exempt from the check by differences, which see the steps of rounding.
pub fn in_bf16(case: &Case) -> Option<Case> {
    let Record::Op(record, wanted) = &case.record else { return None };
    if !case.narrows {
        return None;
    }
    let record = Arc::clone(record);
    let narrow: Vec<bool> = case.inputs.iter().map(is_narrow).collect();
    let inputs = case.inputs.clone();
    let recorded = move |tape: &mut Tape, values: &[Value]| {
        let values = narrowed(tape, &inputs, values)?;
        let output = record(tape, &values)?;
        cast(tape, output, DType::F32)
    };
    Some(Case {
        label: format!("{}{SUFFIX}", case.label),
        record: Record::Op(Arc::new(recorded), wanted.clone()),
        naive: around::<f32>(&case.naive, narrow.clone()),
        oracle: around::<f64>(&case.oracle, narrow),
        differentiable: false,
        storage: DType::Bf16,
        ..case.clone()
    })
}

/// The inputs as an op in bf16 takes them: cast where they are not yet.
pub(super) fn narrowed(tape: &mut Tape, inputs: &[Input], values: &[Value]) -> Result<Vec<Value>> {
    let mut cast_one = |(input, &value): (&Input, &Value)| {
        let narrows = is_narrow(input) && tape.spec(value)?.dtype == DType::F32;
        if narrows { cast(tape, value, DType::Bf16) } else { Ok(value) }
    };
    inputs.iter().zip(values).map(&mut cast_one).collect()
}

fn is_narrow(input: &Input) -> bool {
    input.dtype() == DType::F32 && !input.wide
}

/// A reference that sees inputs rounded; the naive one rounds its results as well.
fn around<T: Real>(reference: &Reference, narrow: Vec<bool>) -> Reference {
    let reference = Arc::clone(reference);
    Arc::new(move |inputs: &[Tensor], dy: Option<&Tensor>| {
        let round_one =
            |(tensor, &narrow): (&Tensor, &bool)| if narrow { rounded::<T>(tensor) } else { Ok(tensor.clone()) };
        let inputs = inputs.iter().zip(&narrow).map(round_one).collect::<Result<Vec<_>>>()?;
        let dy = dy.map(rounded::<T>).transpose()?;
        let results = reference(&inputs, dy.as_ref())?;
        // The oracle is the truth for the rounded inputs: rounding its results too would hide an error of half a step.
        if T::DTYPE == DType::F64 { Ok(results) } else { results.iter().map(rounded::<T>).collect() }
    })
}
