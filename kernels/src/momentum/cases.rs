//! Cases of momentum.

use engine::{Real, Result, Tensor};

use super::{NAME, momentum, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of momentum.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            case(&[1, 1], 1.0, 1.0),
            case(&[3, 1, 7, 5], 1.0, 1.0),
            case(&[5, 3, 13, 11], 0.5, 1e-3),
            case(&[2, 3, 41, 37], 0.0, 1.0),
            case(&[2, 65], 0.9, 1e-30), // squares and reciprocals of such gradients are no floats
            no_direction(),
        ],
        random: |draw: &mut Draw| {
            let dims = [draw.range(1, 4), draw.range(1, 3), draw.range(1, 9), draw.range(1, 9)];
            case(&dims, draw.pick(&[0.0, 0.7, 1.0]), draw.pick(&[1.0, 1e-6]))
        },
        bench: vec![case(&[64, 3, 32, 32], 1.0, 1.0), case(&[8, 3, 224, 224], 1.0, 1.0)],
    }
}

fn case(dims: &[usize], decay: f32, scale: f32) -> Case {
    of(format!("{NAME} {dims:?} decay {decay} gradients {scale}"), dims, Fill::Normal(scale), decay)
}

/// Gradients without a direction: zero, NaN and infinite ones; and one that has it.
fn no_direction() -> Case {
    let g = Fill::Exactly(vec![0.0, -0.0, f32::NAN, 1.0, f32::INFINITY, 1.0, 3.0, -4.0]);
    of(format!("{NAME} no direction"), &[4, 2], g, 0.5)
}

fn of(label: String, dims: &[usize], gradient: Fill, decay: f32) -> Case {
    let inputs = vec![
        Input::new(dims, Fill::Normal(1.0)),
        Input::new(dims, gradient),
        Input::new(&[1], Fill::Exactly(vec![decay])),
    ];
    Case::update(
        label,
        inputs,
        1,
        |tape, store, states, x| momentum(tape, store, states[0], x[0], x[1]),
        |inputs, _| naive::<f32>(inputs),
        |inputs, _| naive::<f64>(inputs),
    )
}

fn naive<T: Real>(inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let mut velocity = inputs[0].values::<T>()?.to_vec();
    reference::step(&mut velocity, inputs[1].values()?, inputs[2].values::<T>()?[0], inputs[0].dims()[0]);
    Ok(vec![Tensor::new(inputs[0].dims(), &velocity)?])
}
