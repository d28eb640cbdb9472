//! Cases of correct.

use engine::{Real, Result, Tensor};

use super::{NAME, correct, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of correct.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![case(1, 1), case(3, 2), case(65, 3), case(197, 10), case(2, 1000), ties(), special()],
        random: |draw: &mut Draw| case(draw.range(1, 30), draw.range(1, 9)),
        bench: vec![case(64, 1000)],
    }
}

fn case(b: usize, k: usize) -> Case {
    let classes = u32::try_from(k).unwrap_or(1);
    of(
        format!("{NAME} b{b} k{k}"),
        vec![Input::new(&[b, k], Fill::Normal(1.0)), Input::new(&[b], Fill::Labels(classes))],
    )
}

/// Equal logits everywhere: only class 0 is predicted, whatever the labels.
fn ties() -> Case {
    let inputs = vec![Input::new(&[9, 3], Fill::Exactly(vec![0.5; 27])), Input::new(&[9], Fill::Labels(3))];
    of(format!("{NAME} ties"), inputs)
}

/// Label 0 against: a tie that it wins, one that class 1 would win, NaN elsewhere, NaN at the label, a clear win.
fn special() -> Case {
    let nan = f32::NAN;
    let logits = vec![1.0, 1.0, 0.0, 0.0, 2.0, 2.0, 5.0, nan, 1.0, nan, 0.0, 1.0, 3.0, f32::NEG_INFINITY, 2.0];
    let inputs = vec![Input::new(&[5, 3], Fill::Exactly(logits)), Input::new(&[5], Fill::Labels(1))];
    of(format!("{NAME} ties and NaN"), inputs)
}

fn of(label: String, inputs: Vec<Input>) -> Case {
    Case::op(label, inputs, &[], |tape, x| correct(tape, x[0], x[1]), naive::<f32>, naive::<f64>).not_differentiable() // a step function
}

fn naive<T: Real>(inputs: &[Tensor], _d: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let right = reference::forward::<T>(inputs[0].values()?, inputs[1].values()?, inputs[0].spec().shape.last());
    Ok(vec![Tensor::new(&[right.len()], &right)?])
}
