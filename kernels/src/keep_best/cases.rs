//! Cases of keep_best.

use engine::{Real, Result, Tensor};

use super::{NAME, keep_best, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of keep_best.
pub fn cases() -> OpCases {
    let normal = |b| [Fill::Normal(1.0), Fill::Normal(1.0)].map(|fill| Input::new(&[b], fill));
    let (low, nan) = (f32::NEG_INFINITY, f32::NAN);
    let special = [vec![low, low, 1.0, 1.0, 2.0], vec![-5.0, nan, nan, 1.0, f32::INFINITY]]
        .map(|scores| Input::new(&[5], Fill::Exactly(scores)));
    OpCases {
        name: NAME,
        cases: vec![
            case(&[1, 1], normal(1)),
            case(&[7, 13], normal(7)),
            case(&[65, 3, 11, 5], normal(65)),
            case(&[5], normal(5)),
            case(&[5, 3], special),
        ],
        random: |draw: &mut Draw| {
            let b = draw.range(1, 20);
            case(&[b, draw.range(1, 30)], [1.0, 1.0].map(|scale| Input::new(&[b], Fill::Normal(scale))))
        },
        bench: Vec::new(),
    }
}

fn case(dims: &[usize], [best_score, score]: [Input; 2]) -> Case {
    let sample = Input::new(dims, Fill::Normal(1.0));
    Case::update(
        format!("{NAME} {dims:?} {}", if matches!(score.fill, Fill::Exactly(_)) { "special scores" } else { "" }),
        vec![sample.clone(), best_score, sample, score],
        2,
        |tape, store, states, x| keep_best(tape, store, states[0], states[1], x[0], x[1]),
        |inputs, _| naive::<f32>(inputs),
        |inputs, _| naive::<f64>(inputs),
    )
}

fn naive<T: Real>(inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let (mut best, mut best_score) = (inputs[0].values::<T>()?.to_vec(), inputs[1].values::<T>()?.to_vec());
    reference::step(&mut best, &mut best_score, inputs[2].values()?, inputs[3].values()?);
    Ok(vec![Tensor::new(inputs[0].dims(), &best)?, Tensor::new(inputs[1].dims(), &best_score)?])
}
