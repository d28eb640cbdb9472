//! Cases of residual.

use engine::{Real, Result, Tensor};

use super::{NAME, reference, residual};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of residual.
pub fn cases() -> OpCases {
    let shapes: [(&[usize], bool); 5] =
        [(&[1, 1, 1], true), (&[3, 7], false), (&[2, 5, 13], true), (&[2, 65, 48], false), (&[1, 197, 30], true)];
    OpCases {
        name: NAME,
        cases: shapes.iter().map(|&(dims, scaled)| case(dims, scaled)).collect(),
        random: |draw: &mut Draw| {
            let dims = [draw.range(1, 4), draw.range(1, 9), draw.range(1, 40)];
            case(&dims, draw.flag())
        },
        bench: vec![case(&[64, 65, 192], false), case(&[8, 197, 192], true)],
    }
}

fn case(dims: &[usize], scaled: bool) -> Case {
    let width = dims.last().copied().unwrap_or(1);
    let mut inputs = vec![Input::new(dims, Fill::Normal(1.0)), Input::new(dims, Fill::Normal(1.0))];
    if scaled {
        inputs.push(Input::new(&[width], Fill::Normal(0.5)));
    }
    let wanted: Vec<usize> = (0..inputs.len()).collect();
    Case::op(
        format!("{NAME} {dims:?}{}", if scaled { " layer scale" } else { "" }),
        inputs,
        &wanted,
        |tape, inputs| residual(tape, inputs[0], inputs[1], inputs.get(2).copied()),
        naive::<f32>,
        naive::<f64>,
    )
}

fn naive<T: Real>(inputs: &[Tensor], cotangent: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let gamma = inputs.get(2).map(|gamma| gamma.values::<T>()).transpose()?;
    let mut y = Tensor::zeros(inputs[0].spec());
    reference::forward::<T>(inputs[0].values()?, inputs[1].values()?, gamma, y.values_mut()?);
    let mut results = vec![y];
    if let Some(dy) = cotangent {
        let (dx, d_branch, d_gamma) = reference::backward::<T>(inputs[1].values()?, gamma, dy.values()?);
        results.push(Tensor::new(inputs[0].dims(), &dx)?);
        results.push(Tensor::new(inputs[1].dims(), &d_branch)?);
        if let Some(gamma) = inputs.get(2) {
            results.push(Tensor::new(gamma.dims(), &d_gamma)?);
        }
    }
    Ok(results)
}
