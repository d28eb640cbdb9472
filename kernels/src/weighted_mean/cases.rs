//! Cases of weighted_mean.

use engine::{Real, Result, Tensor};

use super::{NAME, Reduction, reference, weighted_mean};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of weighted_mean.
pub fn cases() -> OpCases {
    let both = |b| [case(b, b, Reduction::Mean), case(b, b.div_ceil(2), Reduction::Sum)];
    OpCases {
        name: NAME,
        cases: [1, 2, 7, 64, 131, 600].into_iter().flat_map(both).chain([case(64, 17, Reduction::Mean)]).collect(),
        random: |draw: &mut Draw| {
            let b = draw.range(1, 200);
            case(b, draw.range(1, b), draw.pick(&[Reduction::Mean, Reduction::Sum]))
        },
        bench: vec![case(512, 512, Reduction::Mean)],
    }
}

/// `real` samples and padding of weight 0 up to `b`.
fn case(b: usize, real: usize, reduction: Reduction) -> Case {
    let weights = (0..b).map(|i| if i < real { if i % 3 == 2 { 0.5 } else { 1.0 } } else { 0.0 }).collect();
    let divide = reduction == Reduction::Mean;
    Case::op(
        format!("{NAME} b{b} real {real} {reduction:?}"),
        // Positive, as losses are: where a single result cancels, the naive error happens to be 0 now and then.
        vec![Input::new(&[b], Fill::Uniform(0.0, 3.0)), Input::new(&[b], Fill::Exactly(weights))],
        &[0],
        move |tape, inputs| weighted_mean(tape, inputs[0], inputs[1], reduction),
        move |inputs, dy| naive::<f32>(divide, inputs, dy),
        move |inputs, dy| naive::<f64>(divide, inputs, dy),
    )
}

fn naive<T: Real>(divide: bool, inputs: &[Tensor], dy: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let (values, weights) = (inputs[0].values::<T>()?, inputs[1].values::<T>()?);
    let mut results = vec![Tensor::new(&[1], &[reference::forward(values, weights, divide)])?];
    if let Some(dy) = dy {
        results.push(Tensor::new(inputs[0].dims(), &reference::backward(weights, divide, dy.values::<T>()?[0]))?);
    }
    Ok(results)
}
