//! Cases of normalise.

use engine::{Real, Result, Tensor};

use super::{NAME, normalise, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// The cases of normalise.
pub fn cases() -> OpCases {
    let shapes: [[usize; 4]; 5] = [[1, 1, 1, 1], [2, 3, 5, 7], [3, 1, 28, 28], [2, 2, 32, 33], [1, 3, 131, 127]];
    OpCases {
        name: NAME,
        cases: shapes.iter().map(case).collect(),
        random: |draw: &mut Draw| case(&[draw.range(1, 4), draw.range(1, 3), draw.range(1, 12), draw.range(1, 12)]),
        bench: vec![case(&[64, 3, 32, 32]), case(&[8, 3, 224, 224])],
    }
}

fn case(dims: &[usize; 4]) -> Case {
    let channels = dims[1];
    Case::op(
        format!("{NAME} {dims:?}"),
        vec![Input::new(dims, Fill::Uniform(0.0, 1.0))],
        &[0],
        move |tape, inputs| normalise(tape, inputs[0], &MEAN[..channels], &STD[..channels]),
        naive::<f32>,
        naive::<f64>,
    )
}

fn naive<T: Real>(inputs: &[Tensor], cotangent: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let dims = inputs[0].dims();
    let (mean, std, plane) = (&MEAN[..dims[1]], &STD[..dims[1]], dims[2] * dims[3]);
    let mut results = vec![Tensor::new(dims, &reference::forward::<T>(inputs[0].values()?, mean, std, plane))?];
    if let Some(dy) = cotangent {
        results.push(Tensor::new(dims, &reference::backward::<T>(std, plane, dy.values()?))?);
    }
    Ok(results)
}
