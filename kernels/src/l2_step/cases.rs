//! Cases of l2_step.

use engine::{Real, Result, Tensor};

use super::{NAME, l2_step, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};
use crate::common::attack::Step;

/// The cases of l2_step.
pub fn cases() -> OpCases {
    let (eps, alpha) = (0.5, 0.1);
    OpCases {
        name: NAME,
        cases: vec![
            case(&[1, 1], eps, alpha, None),
            case(&[3, 1, 7, 5], eps, alpha, None),
            case(&[5, 3, 13, 11], eps, alpha, Some(vec![1.0, 0.0, 1.0, 0.0, 1.0])),
            case(&[2, 3, 16, 16], 10.0, 3.0, None),
            case(&[2, 65], 0.0, alpha, None),
            case(&[3, 3, 41, 37], 5.0, 2.0, Some(vec![1.0, 0.0, 1.0])), // samples that several blocks share
            case(&[2, 65], eps, -alpha, None),
            no_direction(),
        ],
        random: |draw: &mut Draw| {
            let dims = [draw.range(1, 4), draw.range(1, 3), draw.range(1, 9), draw.range(1, 9)];
            case(&dims, draw.pick(&[0.5, 5.0]), draw.pick(&[0.1, 1.0]), None)
        },
        bench: vec![case(&[64, 3, 32, 32], eps, alpha, None), case(&[8, 3, 224, 224], eps, alpha, None)],
    }
}

fn case(dims: &[usize], eps: f32, alpha: f32, active: Option<Vec<f32>>) -> Case {
    let label =
        format!("{NAME} {dims:?} eps {eps} alpha {alpha}{}", if active.is_some() { " some active" } else { "" });
    of(label, dims, Fill::Normal(1.0), eps, alpha, active)
}

/// Gradients without a direction: zero, NaN, and one that is infinite.
fn no_direction() -> Case {
    let g = Fill::Exactly(vec![0.0, -0.0, f32::NAN, 1.0, f32::INFINITY, 1.0, 3.0, -4.0]);
    of(format!("{NAME} no direction"), &[4, 2], g, 0.1, 0.05, None)
}

fn of(label: String, dims: &[usize], gradient: Fill, eps: f32, alpha: f32, active: Option<Vec<f32>>) -> Case {
    let mut inputs = vec![
        Input::new(dims, Fill::Uniform(-eps, eps)),
        Input::new(dims, gradient),
        Input::new(dims, Fill::Uniform(0.0, 1.0)),
        Input::new(&[1], Fill::Exactly(vec![eps])),
        Input::new(&[1], Fill::Exactly(vec![alpha])),
    ];
    inputs.extend(active.map(|active| Input::new(&[active.len()], Fill::Exactly(active))));
    Case::update(
        label,
        inputs,
        1,
        |tape, store, states, x| {
            let active = x.get(4).copied();
            let (gradient, images, eps, alpha) = (x[0], x[1], x[2], x[3]);
            l2_step(tape, store, Step { delta: states[0], gradient, images, eps, alpha, active })
        },
        |inputs, _| naive::<f32>(inputs),
        |inputs, _| naive::<f64>(inputs),
    )
}

fn naive<T: Real>(inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let value = |at: usize| inputs[at].values::<T>();
    let all = vec![T::ONE; inputs[0].dims()[0]];
    let active = inputs.get(5).map_or(Ok(&all[..]), |active| active.values::<T>())?;
    let mut delta = value(0)?.to_vec();
    reference::step(&mut delta, value(1)?, value(2)?, value(3)?[0], value(4)?[0], active);
    Ok(vec![Tensor::new(inputs[0].dims(), &delta)?])
}
