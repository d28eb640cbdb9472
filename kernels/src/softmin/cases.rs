//! Cases of softmin.

use engine::{Real, Result, Tensor};

use super::{NAME, reference, softmin};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of softmin.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![case(1, 1.0), case(7, 3.0), case(65, 0.1), case(197, 30.0), special()],
        random: |draw: &mut Draw| case(draw.range(1, 99), draw.pick(&[0.1, 1.0, 10.0])),
        bench: vec![case(64, 1.0)],
    }
}

fn case(b: usize, scale: f32) -> Case {
    let inputs = vec![Input::new(&[b], Fill::Normal(scale)), Input::new(&[b], Fill::Normal(scale))];
    of(format!("{NAME} b{b} scale {scale}"), inputs)
}

/// Equal losses, and ones so far apart that the larger does not count.
fn special() -> Case {
    let pairs = [vec![1.5, 0.0, 100.0, -200.0], vec![1.5, 0.0, 1.0, 300.0]];
    of(format!("{NAME} equal and far apart"), pairs.map(|values| Input::new(&[4], Fill::Exactly(values))).into())
}

fn of(label: String, inputs: Vec<Input>) -> Case {
    Case::op(label, inputs, &[0, 1], |tape, x| softmin(tape, x[0], x[1]), naive::<f32>, naive::<f64>)
}

fn naive<T: Real>(inputs: &[Tensor], dy: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let (dims, a, b) = (inputs[0].dims(), inputs[0].values::<T>()?, inputs[1].values::<T>()?);
    let mut results = vec![Tensor::new(dims, &reference::forward(a, b))?];
    if let Some(dy) = dy {
        results.push(Tensor::new(dims, &reference::backward(a, b, dy.values()?))?);
        results.push(Tensor::new(dims, &reference::backward(b, a, dy.values()?))?);
    }
    Ok(results)
}
