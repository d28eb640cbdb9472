//! Cases of dlr.

use engine::{Real, Result, Tensor};

use super::{NAME, dlr, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of dlr.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![case(1, 3), case(3, 10), case(65, 17), case(2, 1000), ties()],
        random: |draw: &mut Draw| case(draw.range(1, 9), draw.range(3, 40)),
        bench: vec![case(64, 10), case(64, 1000)],
    }
}

fn case(b: usize, k: usize) -> Case {
    let label = format!("{NAME} b{b} k{k}");
    let classes = u32::try_from(k).unwrap_or(2);
    of(label, vec![Input::new(&[b, k], Fill::Separated(0.5)), Input::new(&[b], Fill::Labels(classes))])
}

/// Equal logits: the first counts as the larger.
fn ties() -> Case {
    let logits = vec![-3.0, -1.0, -2.0, -2.0, -5.0, -5.0, -7.0, -5.0];
    let inputs = vec![Input::new(&[2, 4], Fill::Exactly(logits)), Input::new(&[2], Fill::Labels(1))];
    of(format!("{NAME} ties"), inputs).not_differentiable() // a tie is a kink
}

fn of(label: String, inputs: Vec<Input>) -> Case {
    Case::op(label, inputs, &[0], |tape, x| dlr(tape, x[0], x[1]), naive::<f32>, naive::<f64>)
}

fn naive<T: Real>(inputs: &[Tensor], d: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let (z, labels) = (inputs[0].values::<T>()?, inputs[1].values::<i32>()?);
    let zeros = vec![T::ZERO; labels.len()];
    let d_loss = d.map(|d| d.values::<T>()).transpose()?.unwrap_or(&zeros);
    let (loss, dz) = reference::both(z, labels, inputs[0].spec().shape.last(), d_loss);
    let mut results = vec![Tensor::new(&[loss.len()], &loss)?];
    if d.is_some() {
        results.push(Tensor::new(inputs[0].dims(), &dz)?);
    }
    Ok(results)
}
