//! Cases of cross_entropy.

use engine::{Real, Result, Tensor};

use super::{NAME, cross_entropy, cross_entropy_labels, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of cross_entropy.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            soft(1, 1, 1.0),
            soft(3, 10, 1.0),
            soft(65, 17, 4.0),
            soft(5, 1000, 2.0),
            soft(2, 3, 200.0),
            weighted(4, 7),
            switched_off(),
            labels(1, 1, 1.0, 0.0),
            labels(7, 10, 2.0, 0.1),
            labels(5, 1000, 1.0, 0.0),
            labels(67, 13, 30.0, 0.1),
        ],
        random: |draw: &mut Draw| {
            let (b, k, scale) = (draw.range(1, 9), draw.range(1, 40), draw.pick(&[0.3, 1.0, 5.0]));
            if draw.flag() { soft(b, k, scale) } else { labels(b, k, scale, draw.pick(&[0.0, 0.1, 0.5])) }
        },
        bench: vec![soft(64, 10, 1.0), soft(64, 1000, 1.0), labels(512, 1000, 1.0, 0.1)],
    }
}

fn soft(b: usize, k: usize, scale: f32) -> Case {
    let inputs = vec![Input::new(&[b, k], Fill::Normal(scale)), Input::new(&[b, k], Fill::Probabilities)];
    soft_of(format!("{NAME} soft b{b} k{k} scale {scale}"), inputs)
}

/// Targets that do not sum to 1.
fn weighted(b: usize, k: usize) -> Case {
    let inputs = vec![Input::new(&[b, k], Fill::Normal(1.0)), Input::new(&[b, k], Fill::Uniform(0.0, 1.0))];
    soft_of(format!("{NAME} soft b{b} k{k} targets of any sum"), inputs)
}

/// A class that nobody is asked for is switched off by a logit of -inf, as for ImageNet-A's 200 of 1000 classes.
fn switched_off() -> Case {
    let inputs = vec![
        Input::new(&[2, 3], Fill::Exactly(vec![1.0, f32::NEG_INFINITY, -0.5, 0.25, 2.0, f32::NEG_INFINITY])),
        Input::new(&[2, 3], Fill::Exactly(vec![0.75, 0.0, 0.25, 0.5, 0.5, 0.0])),
    ];
    // Differences of infinities say nothing.
    soft_of(format!("{NAME} soft, switched-off class"), inputs).not_differentiable()
}

fn soft_of(label: String, inputs: Vec<Input>) -> Case {
    Case::op(label, inputs, &[0], |tape, x| cross_entropy(tape, x[0], x[1]), naive::<f32>, naive::<f64>)
}

fn labels(b: usize, k: usize, scale: f32, smoothing: f64) -> Case {
    let classes = u32::try_from(k).unwrap_or(1);
    Case::op(
        format!("{NAME} labels b{b} k{k} scale {scale} smoothing {smoothing}"),
        vec![Input::new(&[b, k], Fill::Normal(scale)), Input::new(&[b], Fill::Labels(classes))],
        &[0],
        move |tape, x| cross_entropy_labels(tape, x[0], x[1], smoothing),
        move |inputs, d| naive_labels::<f32>(inputs, d, smoothing),
        move |inputs, d| naive_labels::<f64>(inputs, d, smoothing),
    )
}

fn naive_labels<T: Real>(inputs: &[Tensor], d_loss: Option<&Tensor>, smoothing: f64) -> Result<Vec<Tensor>> {
    let targets = reference::targets::<T>(inputs[1].values()?, inputs[0].spec().shape.last(), smoothing);
    naive::<T>(&[inputs[0].clone(), Tensor::new(inputs[0].dims(), &targets)?], d_loss)
}

fn naive<T: Real>(inputs: &[Tensor], d_loss: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let (z, t) = (inputs[0].values::<T>()?, inputs[1].values::<T>()?);
    let classes = inputs[0].spec().shape.last();
    let loss = reference::forward(z, t, classes);
    let mut results = vec![Tensor::new(&[loss.len()], &loss)?];
    if let Some(d_loss) = d_loss {
        results.push(Tensor::new(inputs[0].dims(), &reference::backward(z, t, classes, d_loss.values()?))?);
    }
    Ok(results)
}
