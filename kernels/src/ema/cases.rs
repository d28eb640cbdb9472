//! Cases of ema.

use engine::{Real, Result, Tensor};

use super::{NAME, ema, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of ema.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![case(1, 0.9998), case(1009, 0.9), case(40_001, 0.0), case(16_385, 1.0)],
        random: |draw: &mut Draw| case(draw.range(1, 300), draw.pick(&[0.5, 0.999])),
        bench: vec![case(5_717_416, 0.9998), case(22_050_664, 0.9998)],
    }
}

fn case(n: usize, decay: f64) -> Case {
    Case::update(
        format!("{NAME} n{n} decay {decay}"),
        vec![Input::new(&[n], Fill::Normal(1.0)); 2],
        1,
        move |tape, store, states, x| ema(tape, store, states[0], x[0], decay),
        move |inputs, _| naive::<f32>(decay, inputs),
        move |inputs, _| naive::<f64>(decay, inputs),
    )
}

fn naive<T: Real>(decay: f64, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let average = reference::step::<T>(decay, inputs[0].values()?, inputs[1].values()?);
    Ok(vec![Tensor::new(inputs[0].dims(), &average)?])
}
