//! Cases of mse.

use engine::{Real, Result, Tensor};

use super::{NAME, mse, reference, squared_distance};
use crate::cases::{Case, Draw, Fill, Input, OpCases};
use crate::common::specs::per_sample_elements;

/// The cases of mse.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            case(&[1, 1], true),
            case(&[3], false),
            case(&[5, 7], true),
            case(&[3, 65, 48], false),
            case(&[2, 3, 17, 31], true),
            case(&[2, 197, 30], false),
        ],
        random: |draw: &mut Draw| case(&[draw.range(1, 5), draw.range(1, 9), draw.range(1, 40)], draw.flag()),
        bench: vec![case(&[64, 10], false), case(&[64, 3, 32, 32], true)],
    }
}

fn case(dims: &[usize], mean: bool) -> Case {
    Case::op(
        format!("{NAME} {dims:?} {}", if mean { "mean" } else { "sum" }),
        vec![Input::new(dims, Fill::Normal(1.0)); 2],
        &[0, 1],
        move |tape, x| if mean { mse(tape, x[0], x[1]) } else { squared_distance(tape, x[0], x[1]) },
        move |inputs, d| naive::<f32>(inputs, d, mean),
        move |inputs, d| naive::<f64>(inputs, d, mean),
    )
}

fn naive<T: Real>(inputs: &[Tensor], d: Option<&Tensor>, mean: bool) -> Result<Vec<Tensor>> {
    let (a, b) = (inputs[0].values::<T>()?, inputs[1].values::<T>()?);
    let width = per_sample_elements(&inputs[0].spec());
    let distance = reference::forward(a, b, width, mean);
    let mut results = vec![Tensor::new(&[distance.len()], &distance)?];
    if let Some(d) = d {
        let da = reference::backward(a, b, width, mean, d.values()?);
        let db: Vec<T> = da.iter().map(|&d| -d).collect();
        results.extend([Tensor::new(inputs[0].dims(), &da)?, Tensor::new(inputs[0].dims(), &db)?]);
    }
    Ok(results)
}
