//! Cases of mart.

use engine::{Real, Result, Tensor};

use super::{NAME, mart, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of mart.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            case(1, 2, 1.0),
            case(3, 10, 6.0),
            case(65, 17, 5.0),
            case(2, 1000, 6.0),
            case(4, 10, 0.0),
            alike(),
            saturated(),
            ties(),
        ],
        random: |draw: &mut Draw| case(draw.range(1, 9), draw.range(2, 40), draw.pick(&[0.0, 1.0, 6.0])),
        bench: vec![case(64, 10, 6.0), case(64, 1000, 6.0)],
    }
}

fn case(b: usize, k: usize, beta: f64) -> Case {
    let classes = u32::try_from(k).unwrap_or(2);
    let logits = [Input::new(&[b, k], Fill::Normal(1.0)), Input::new(&[b, k], Fill::Separated(0.5))];
    let inputs = logits.into_iter().chain([Input::new(&[b], Fill::Labels(classes))]).collect();
    of(format!("{NAME} b{b} k{k} beta {beta}"), beta, inputs)
}

/// Rows of logits that differ by thousandths: the divergence is next to nothing.
fn alike() -> Case {
    let near = vec![1.0, -0.5, 0.25, 2.0, 0.5, -1.5];
    let clean = near.iter().zip([1.0, -2.0, 1.5, -1.0, 0.5, 2.0]).map(|(z, d)| z + 1e-3 * d).collect();
    let logits = [clean, near].map(|z| Input::new(&[2, 3], Fill::Exactly(z)));
    of(format!("{NAME} rows alike"), 6.0, logits.into_iter().chain([Input::new(&[2], Fill::Labels(3))]).collect())
}

/// Certain rows, right and wrong ones: probabilities below the floors, and a wrong class whose probability rounds to 1.
fn saturated() -> Case {
    let clean = vec![40.0, 0.0, -30.0, 35.0, 0.0, 1.0, -90.0, 3.0, 25.0, 5.0, -8.0, 25.5];
    let attacked = vec![-20.0, 30.0, 0.0, 28.0, -2.0, 1.5, 95.0, -100.0, 24.0, -60.0, 20.0, 55.0];
    let labels = Input::new(&[4], Fill::Labels(3));
    let inputs = [clean, attacked].map(|z| Input::new(&[4, 3], Fill::Exactly(z))).into_iter().chain([labels]).collect();
    // The gradient drowns in the rounding of differences.
    of(format!("{NAME} saturated"), 6.0, inputs).not_differentiable()
}

/// Equally probable wrong classes: the first counts.
fn ties() -> Case {
    let attacked = vec![-3.0, -1.0, -2.0, -2.0, -5.0, -5.0, -7.0, -5.0];
    let inputs = vec![
        Input::new(&[2, 4], Fill::Normal(2.0)),
        Input::new(&[2, 4], Fill::Exactly(attacked)),
        Input::new(&[2], Fill::Labels(1)),
    ];
    of(format!("{NAME} ties"), 6.0, inputs).not_differentiable() // a tie is a kink
}

fn of(label: String, beta: f64, inputs: Vec<Input>) -> Case {
    Case::op(
        label,
        inputs,
        &[0, 1],
        move |tape, x| mart(tape, x[0], x[1], x[2], beta),
        move |inputs, d| naive::<f32>(inputs, d, beta),
        move |inputs, d| naive::<f64>(inputs, d, beta),
    )
}

fn naive<T: Real>(inputs: &[Tensor], d: Option<&Tensor>, beta: f64) -> Result<Vec<Tensor>> {
    let (a, b, labels) = (inputs[0].values::<T>()?, inputs[1].values::<T>()?, inputs[2].values::<i32>()?);
    let zeros = vec![T::ZERO; labels.len()];
    let d_loss = d.map(|d| d.values::<T>()).transpose()?.unwrap_or(&zeros);
    let (loss, da, db) = reference::all(a, b, labels, inputs[0].spec().shape.last(), T::from_f64(beta), d_loss);
    let mut results = vec![Tensor::new(&[loss.len()], &loss)?];
    if d.is_some() {
        results.extend([Tensor::new(inputs[0].dims(), &da)?, Tensor::new(inputs[1].dims(), &db)?]);
    }
    Ok(results)
}
