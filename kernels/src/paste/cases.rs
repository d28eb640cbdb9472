//! Cases of paste.

use engine::{Real, Result, Tensor};

use super::{NAME, paste, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of paste.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            case(&[1, 1], &[0]),
            case(&[1, 1], &[]),
            case(&[3, 1, 7, 5], &[0, 34, 35, 71, 104]),
            case(&[2, 3, 16, 16], &[1, 2, 3, 5, 700, 1023, 1024, 1025]),
            case(&[5, 13], &(0..65).collect::<Vec<_>>()),
        ],
        random: |draw: &mut Draw| {
            let dims = [draw.range(1, 4), draw.range(1, 3), draw.range(1, 9), draw.range(1, 9)];
            let count = dims.iter().product::<usize>();
            let inside: Vec<usize> = (0..count).filter(|_| draw.flag()).collect();
            case(&dims, &inside)
        },
        bench: vec![case(&[64, 3, 32, 32], &[5]), case(&[8, 3, 224, 224], &[5])],
    }
}

fn case(dims: &[usize], inside: &[usize]) -> Case {
    let mut mask = vec![0.0; dims.iter().product()];
    inside.iter().for_each(|&at| mask[at] = 1.0);
    let inputs = vec![
        Input::new(dims, Fill::Normal(1.0)),
        Input::new(dims, Fill::Normal(1.0)),
        Input::new(dims, Fill::Exactly(mask)),
    ];
    Case::op(
        format!("{NAME} {dims:?} {} inside", inside.len()),
        inputs,
        &[0, 1],
        |tape, x| paste(tape, x[0], x[1], x[2]),
        naive::<f32>,
        naive::<f64>,
    )
}

fn naive<T: Real>(inputs: &[Tensor], dy: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let (dims, mask) = (inputs[0].dims(), inputs[2].values::<T>()?);
    let mut results = vec![Tensor::new(dims, &reference::forward(inputs[0].values()?, inputs[1].values()?, mask))?];
    if let Some(dy) = dy {
        for d in reference::backward::<T>(mask, dy.values()?) {
            results.push(Tensor::new(dims, &d)?);
        }
    }
    Ok(results)
}
