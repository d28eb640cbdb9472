//! Cases of advance.

use engine::{DType, Real, Result, Tensor};

use super::{NAME, advance, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of advance.
pub fn cases() -> OpCases {
    let state = |step| Input::new(&[4], Fill::RandomState(step));
    let count = |count| Input::new(&[1], Fill::Words(vec![count]));
    let float = Input::new(&[1], Fill::Exactly(vec![41.0]));
    OpCases {
        name: NAME,
        cases: vec![case("random state", vec![state(6)]), case("all kinds", vec![state(u32::MAX), count(0), float])],
        random: |draw: &mut Draw| {
            let step = u32::try_from(draw.range(0, 1000)).unwrap_or(0);
            case(&format!("step {step}"), vec![Input::new(&[4], Fill::RandomState(step))])
        },
        bench: Vec::new(),
    }
}

fn case(label: &str, inputs: Vec<Input>) -> Case {
    let states = inputs.len();
    Case::update(
        format!("{NAME} {label}"),
        inputs,
        states,
        |tape, store, states, _| advance(tape, store, states),
        |inputs, _| naive::<f32>(inputs),
        |inputs, _| naive::<f64>(inputs),
    )
}

fn naive<T: Real>(inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let step = |tensor: &Tensor| {
        if tensor.spec().dtype == DType::U32 {
            Tensor::new(tensor.dims(), &reference::step(tensor.values()?))
        } else {
            Tensor::new(&[1], &[tensor.values::<T>()?[0] + T::ONE])
        }
    };
    inputs.iter().map(step).collect()
}
