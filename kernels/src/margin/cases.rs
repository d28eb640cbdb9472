//! Cases of margin.

use engine::{Real, Result, Tensor};

use super::{NAME, margin, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of margin.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            case(1, 2, None),
            case(3, 10, None),
            // Margins lie within 1/4 gap of multiples of the gap 0.5: the caps keep clear of them.
            case(65, 17, Some(0.75)),
            case(9, 10, Some(-0.25)),
            case(2, 1000, None),
            ties(),
        ],
        random: |draw: &mut Draw| {
            let (b, k) = (draw.range(1, 9), draw.range(2, 40));
            case(b, k, draw.pick(&[None, Some(0.75), Some(-1.25)]))
        },
        bench: vec![case(64, 10, None), case(64, 1000, Some(10.25))],
    }
}

fn case(b: usize, k: usize, cap: Option<f64>) -> Case {
    let label = format!("{NAME} b{b} k{k} cap {cap:?}");
    let classes = u32::try_from(k).unwrap_or(2);
    of(label, cap, vec![Input::new(&[b, k], Fill::Separated(0.5)), Input::new(&[b], Fill::Labels(classes))])
}

/// All logits negative (a masked true class must not win with 0), and equal runners-up.
fn ties() -> Case {
    let logits = vec![-3.0, -1.0, -2.0, -2.0, -5.0, -5.0, -7.0, -5.0];
    let inputs = vec![Input::new(&[2, 4], Fill::Exactly(logits)), Input::new(&[2], Fill::Labels(1))];
    of(format!("{NAME} ties"), None, inputs).not_differentiable() // a tie is a kink
}

fn of(label: String, cap: Option<f64>, inputs: Vec<Input>) -> Case {
    Case::op(
        label,
        inputs,
        &[0],
        move |tape, x| margin(tape, x[0], x[1], cap),
        move |inputs, d| naive::<f32>(inputs, d, cap),
        move |inputs, d| naive::<f64>(inputs, d, cap),
    )
}

fn naive<T: Real>(inputs: &[Tensor], d: Option<&Tensor>, cap: Option<f64>) -> Result<Vec<Tensor>> {
    let (z, labels) = (inputs[0].values::<T>()?, inputs[1].values::<i32>()?);
    let zeros = vec![T::ZERO; labels.len()];
    let d_loss = d.map(|d| d.values::<T>()).transpose()?.unwrap_or(&zeros);
    let (loss, dz) = reference::both(z, labels, inputs[0].spec().shape.last(), cap.map(T::from_f64), d_loss);
    let mut results = vec![Tensor::new(&[loss.len()], &loss)?];
    if d.is_some() {
        results.push(Tensor::new(inputs[0].dims(), &dz)?);
    }
    Ok(results)
}
