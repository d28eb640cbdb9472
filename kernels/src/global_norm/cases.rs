//! Cases of global_norm.

use engine::{Real, Result, Tensor};

use super::{NAME, global_norm, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of global_norm.
pub fn cases() -> OpCases {
    let infinity = f64::INFINITY;
    OpCases {
        name: NAME,
        cases: vec![
            case(&[1], 1.0),
            case(&[1000], 1.0),
            case(&[7, 40_961, 3], infinity),
            case(&[16_384, 32_769], 1e6),
            exactly(vec![0.0; 5], 1.0),
            exactly(vec![1e30, -1e30, 1e25, 0.0, 1e30], 1.0), // the squares exceed f32, the norm does not
            exactly(vec![1.0, f32::NAN], 1.0),
            exactly(vec![f32::INFINITY, 1.0], infinity),
        ],
        random: |draw: &mut Draw| {
            let sizes: Vec<usize> = (0..draw.range(1, 4)).map(|_| draw.range(1, 50)).collect();
            case(&sizes, draw.pick(&[0.5, 1e3, f64::INFINITY]))
        },
        bench: vec![case(&[5_717_416], 1.0), case(&[22_050_664], 1.0)],
    }
}

fn case(sizes: &[usize], max_norm: f64) -> Case {
    let inputs = sizes.iter().map(|&size| Input::new(&[size], Fill::Normal(1.0))).collect();
    of(format!("{NAME} {sizes:?} at most {max_norm}"), inputs, max_norm)
}

fn exactly(values: Vec<f32>, max_norm: f64) -> Case {
    let label = format!("{NAME} of {values:?} at most {max_norm}");
    of(label, vec![Input::new(&[values.len()], Fill::Exactly(values))], max_norm)
}

fn of(label: String, inputs: Vec<Input>, max_norm: f64) -> Case {
    Case::op(
        label,
        inputs,
        &[],
        move |tape, x| global_norm(tape, x, max_norm),
        move |inputs, _| naive::<f32>(inputs, max_norm),
        move |inputs, _| naive::<f64>(inputs, max_norm),
    )
    .not_differentiable() // it gives none
}

fn naive<T: Real>(inputs: &[Tensor], max_norm: f64) -> Result<Vec<Tensor>> {
    let gradients = inputs.iter().map(|tensor| tensor.values::<T>()).collect::<Result<Vec<_>>>()?;
    Ok(vec![Tensor::new(&[2], &reference::forward(&gradients, max_norm))?])
}
