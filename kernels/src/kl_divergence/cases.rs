//! Cases of kl_divergence.

use engine::{Real, Result, Tensor};

use super::{NAME, kl_divergence, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of kl_divergence.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            case(1, 1, 1.0),
            case(3, 10, 1.0),
            case(65, 17, 4.0),
            case(2, 1000, 2.0),
            // Saturated: the gradient drowns in the rounding of differences.
            case(5, 3, 40.0).not_differentiable(),
            same_input(4, 10),
            switched_off(),
        ],
        random: |draw: &mut Draw| case(draw.range(1, 9), draw.range(1, 40), draw.pick(&[0.3, 1.0, 5.0])),
        bench: vec![case(64, 10, 1.0), case(64, 1000, 1.0)],
    }
}

fn case(b: usize, k: usize, scale: f32) -> Case {
    of(format!("{NAME} b{b} k{k} scale {scale}"), vec![Input::new(&[b, k], Fill::Normal(scale)); 2])
}

/// A class that is switched off on both sides by a logit of -inf has no part in the divergence.
fn switched_off() -> Case {
    let row = |x: [f32; 3]| Input::new(&[1, 4], Fill::Exactly(vec![x[0], f32::NEG_INFINITY, x[1], x[2]]));
    // Differences of infinities say nothing.
    of(format!("{NAME} switched-off class"), vec![row([1.0, -0.5, 2.0]), row([0.25, 1.5, -1.0])]).not_differentiable()
}

fn of(label: String, inputs: Vec<Input>) -> Case {
    Case::op(label, inputs, &[0, 1], |tape, x| kl_divergence(tape, x[0], x[1]), naive::<f32>, naive::<f64>)
}

/// One value on both sides: the divergence and its gradient vanish.
fn same_input(b: usize, k: usize) -> Case {
    Case::op(
        format!("{NAME} b{b} k{k} of a value with itself"),
        vec![Input::new(&[b, k], Fill::Normal(1.0))],
        &[0],
        |tape, x| kl_divergence(tape, x[0], x[0]),
        zeros::<f32>,
        zeros::<f64>,
    )
    .not_differentiable() // differences of a minimum are rounding alone
}

fn zeros<T: Real>(inputs: &[Tensor], d: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let output = Tensor::new(&[inputs[0].dims()[0]], &vec![T::ZERO; inputs[0].dims()[0]])?;
    Ok([output].into_iter().chain(d.map(|_| Tensor::zeros(inputs[0].spec()))).collect())
}

fn naive<T: Real>(inputs: &[Tensor], d: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let (a, b) = (inputs[0].values::<T>()?, inputs[1].values::<T>()?);
    let classes = inputs[0].spec().shape.last();
    let kl = reference::forward(a, b, classes);
    let mut results = vec![Tensor::new(&[kl.len()], &kl)?];
    if let Some(d) = d {
        let (da, db) = reference::backward(a, b, classes, d.values()?);
        results.extend([Tensor::new(inputs[0].dims(), &da)?, Tensor::new(inputs[0].dims(), &db)?]);
    }
    Ok(results)
}
