//! Cases of combine.

use engine::{Real, Result, Tensor};

use super::{NAME, combine, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of combine.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            case(&[1], vec![1.0]),
            case(&[1], vec![1.0, 6.0]),
            case(&[7, 10], vec![0.5, 0.5]),
            case(&[3, 5, 131], vec![-1.0, 0.0, 2.5]),
            case(&[17_001], vec![0.1, 1.0, -0.3, 4.0, 1.0, 0.7, -2.0, 0.9]),
        ],
        random: |draw: &mut Draw| {
            let coefficients = (0..draw.range(1, 8)).map(|_| draw.pick(&[0.5, 1.0, -2.0, 0.0, 0.3])).collect();
            case(&[draw.range(1, 5), draw.range(1, 40)], coefficients)
        },
        bench: vec![case(&[64, 1000], vec![0.5, 0.5])],
    }
}

fn case(dims: &[usize], coefficients: Vec<f32>) -> Case {
    let wanted: Vec<usize> = (0..coefficients.len()).collect();
    let (naive_coefficients, oracle_coefficients) = (coefficients.clone(), coefficients.clone());
    Case::op(
        format!("{NAME} {dims:?} {coefficients:?}"),
        coefficients.iter().map(|_| Input::new(dims, Fill::Normal(1.0))).collect(),
        &wanted,
        move |tape, inputs| {
            let terms: Vec<_> = coefficients.iter().copied().zip(inputs.iter().copied()).collect();
            combine(tape, &terms)
        },
        move |inputs, dy| naive::<f32>(&naive_coefficients, inputs, dy),
        move |inputs, dy| naive::<f64>(&oracle_coefficients, inputs, dy),
    )
}

fn naive<T: Real>(coefficients: &[f32], inputs: &[Tensor], dy: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let terms = inputs.iter().map(|input| input.values::<T>()).collect::<Result<Vec<_>>>()?;
    let dims = inputs[0].dims();
    let mut results = vec![Tensor::new(dims, &reference::forward(coefficients, &terms))?];
    if let Some(dy) = dy {
        for &coefficient in coefficients {
            results.push(Tensor::new(dims, &reference::backward::<T>(coefficient, dy.values()?))?);
        }
    }
    Ok(results)
}
