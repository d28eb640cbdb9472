//! Cases of targeted.

use engine::{Real, Result, Tensor};

use super::{NAME, Scale, reference, targeted};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of targeted.
pub fn cases() -> OpCases {
    let mut cases = vec![case(Scale::None, 1, 2), case(Scale::Dlr, 1, 4), ties(), flat()];
    for scale in [Scale::None, Scale::Dlr] {
        cases.extend([case(scale, 3, 10), case(scale, 65, 17), case(scale, 2, 1000)]);
    }
    OpCases {
        name: NAME,
        cases,
        random: |draw: &mut Draw| {
            let scale = draw.pick(&[Scale::None, Scale::Dlr]);
            case(scale, draw.range(1, 9), draw.range(4, 40))
        },
        bench: vec![case(Scale::Dlr, 64, 10), case(Scale::Dlr, 64, 1000)],
    }
}

fn case(scale: Scale, b: usize, k: usize) -> Case {
    let classes = u32::try_from(k).unwrap_or(2);
    let inputs = vec![
        Input::new(&[b, k], Fill::Separated(0.5)),
        Input::new(&[b], Fill::Labels(classes)),
        Input::new(&[b], Fill::Labels(classes)),
    ];
    of(format!("{NAME} {scale:?} b{b} k{k}"), scale, inputs)
}

/// Equal logits: the first counts as the larger.
fn ties() -> Case {
    let first = [-3.0, -1.0, -2.0, -2.0, -2.0];
    let logits =
        [first, [-4.0, -2.0, -1.0, -2.0, -2.0], first, [-5.0, -2.0, -2.0, -1.0, -2.0], [-3.0, 1.0, 1.0, 0.0, 0.0]];
    equal(format!("{NAME} ties"), &logits)
}

/// The ratio's denominator is next to nothing: beside such gradients all others would pass.
fn flat() -> Case {
    equal(format!("{NAME} flat"), &[[-5.0, -5.0, -7.0, -5.0, -5.0]])
}

fn equal(label: String, logits: &[[f32; 5]]) -> Case {
    let inputs = vec![
        Input::new(&[logits.len(), 5], Fill::Exactly(logits.concat())),
        Input::new(&[logits.len()], Fill::Labels(1)),
        Input::new(&[logits.len()], Fill::Labels(5)),
    ];
    of(label, Scale::Dlr, inputs).not_differentiable() // a tie is a kink
}

fn of(label: String, scale: Scale, inputs: Vec<Input>) -> Case {
    Case::op(
        label,
        inputs,
        &[0],
        move |tape, x| targeted(tape, x[0], x[1], x[2], scale),
        move |inputs, d| naive::<f32>(scale, inputs, d),
        move |inputs, d| naive::<f64>(scale, inputs, d),
    )
}

fn naive<T: Real>(scale: Scale, inputs: &[Tensor], d: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let labels = [inputs[1].values::<i32>()?, inputs[2].values::<i32>()?];
    let zeros = vec![T::ZERO; labels[0].len()];
    let d_loss = d.map(|d| d.values::<T>()).transpose()?.unwrap_or(&zeros);
    let classes = inputs[0].spec().shape.last();
    let (loss, dz) = reference::both(scale == Scale::Dlr, inputs[0].values::<T>()?, labels, classes, d_loss);
    let mut results = vec![Tensor::new(&[loss.len()], &loss)?];
    if d.is_some() {
        results.push(Tensor::new(inputs[0].dims(), &dz)?);
    }
    Ok(results)
}
