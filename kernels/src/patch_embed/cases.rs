//! Cases of patch_embed.

use engine::{Real, Result, Tensor};

use super::{NAME, Sizes, patch_embed, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of patch_embed.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            case([1, 1, 1, 1], 1, 1, true),
            case([2, 3, 8, 8], 4, 10, true),
            case([3, 1, 28, 28], 4, 33, true),
            case([1, 3, 32, 16], 8, 96, false),
            case([2, 2, 15, 10], 5, 7, true),
            case([5, 3, 32, 48], 16, 72, true),
        ],
        random: |draw: &mut Draw| {
            let patch = draw.range(1, 5);
            let dims = [draw.range(1, 3), draw.range(1, 3), patch * draw.range(1, 3), patch * draw.range(1, 3)];
            case(dims, patch, draw.range(1, 20), draw.flag())
        },
        bench: vec![case([64, 3, 32, 32], 4, 192, true), case([8, 3, 224, 224], 16, 192, true)],
    }
}

fn case(dims: [usize; 4], patch: usize, embed: usize, bias: bool) -> Case {
    let mut inputs =
        vec![Input::new(&dims, Fill::Normal(1.0)), Input::new(&[embed, dims[1], patch, patch], Fill::Normal(0.2))];
    if bias {
        inputs.push(Input::new(&[embed], Fill::Normal(0.5)));
    }
    let wanted: Vec<usize> = (0..inputs.len()).collect();
    Case::op(
        format!("{NAME} {dims:?} patch {patch} width {embed}{}", if bias { " bias" } else { "" }),
        inputs,
        &wanted,
        |tape, inputs| patch_embed(tape, inputs[0], inputs[1], inputs.get(2).copied()),
        naive::<f32>,
        naive::<f64>,
    )
}

fn naive<T: Real>(inputs: &[Tensor], cotangent: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let specs: Vec<_> = inputs.iter().map(Tensor::spec).collect();
    let sizes = Sizes::of(&specs);
    let (x, weight) = (inputs[0].values::<T>()?, inputs[1].values::<T>()?);
    let bias = inputs.get(2).map(|bias| bias.values::<T>()).transpose()?;
    let y = reference::forward(sizes, x, weight, bias);
    let mut results = vec![Tensor::new(&[sizes.batch, sizes.patches(), sizes.embed], &y)?];
    if let Some(dy) = cotangent {
        let (dx, dw, db) = reference::backward(sizes, x, weight, dy.values::<T>()?);
        results.push(Tensor::new(inputs[0].dims(), &dx)?);
        results.push(Tensor::new(inputs[1].dims(), &dw)?);
        if bias.is_some() {
            results.push(Tensor::new(&[sizes.embed], &db)?);
        }
    }
    Ok(results)
}
