//! Cases of attention.

use engine::{Real, Result, Tensor};

use super::{Attention, NAME, attention, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of attention.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            case(1, 1, 1, 1, 1.0),
            case(2, 5, 3, 7, 1.0),
            case(1, 65, 2, 16, 1.0),
            case(1, 197, 1, 64, 1.0),
            case(2, 17, 1, 33, 4.0),
            case(1, 131, 1, 8, 1.0),
            case(1, 73, 1, 70, 1.0),
            // Every kernel on tensor cores: numbers of tokens around those that one of them takes, and every width.
            case(1, 1, 2, 64, 1.0),
            case(1, 16, 3, 80, 1.0),
            case(2, 17, 2, 32, 4.0),
            case(1, 50, 2, 64, 1.0),
            case(1, 64, 2, 96, 1.0),
            case(1, 65, 2, 64, 1.0),
            case(1, 80, 2, 48, 1.0),
            case(1, 66, 2, 96, 1.0),
            case(1, 145, 2, 64, 1.0),
            case(1, 90, 5, 64, 1.0),
            case(1, 150, 2, 80, 1.0),
            case(1, 98, 2, 16, 1.0),
            case(1, 197, 2, 64, 1.0),
            case(1, 208, 2, 32, 1.0),
            case(1, 177, 1, 96, 1.0),
            case(1, 225, 2, 64, 1.0),
            case(1, 257, 1, 32, 1.0),
            case(1, 273, 1, 64, 1.0),
            case(1, 280, 1, 48, 1.0),
            case(1, 577, 1, 16, 1.0),
            // Backward reads the stored output: its rounding times such scores alone exceeds the bound.
            case(2, 2, 16, 1, 12.0).not_in_bf16(),
        ],
        random: |draw: &mut Draw| case(draw.range(1, 3), draw.range(1, 20), draw.range(1, 3), draw.range(1, 20), 1.0),
        bench: vec![case(64, 65, 3, 64, 1.0), case(8, 197, 3, 64, 1.0)],
    }
}

fn case(batch: usize, tokens: usize, heads: usize, head_width: usize, scale: f32) -> Case {
    Case::op(
        format!("{NAME} b{batch} n{tokens} h{heads} d{head_width} scale {scale}"),
        vec![Input::new(&[batch, tokens, 3 * heads * head_width], Fill::Normal(scale))],
        &[0],
        move |tape, inputs| attention(tape, inputs[0], heads),
        move |inputs, d_out| naive::<f32>(inputs, d_out, heads),
        move |inputs, d_out| naive::<f64>(inputs, d_out, heads),
    )
}

fn naive<T: Real>(inputs: &[Tensor], cotangent: Option<&Tensor>, heads: usize) -> Result<Vec<Tensor>> {
    let sizes = Attention { heads }.sizes(&[inputs[0].spec()]);
    let qkv = inputs[0].values::<T>()?;
    let out = reference::forward(sizes, qkv);
    let mut results = vec![Tensor::new(&[sizes.b, sizes.n, heads * sizes.d], &out)?];
    if let Some(d_out) = cotangent {
        results.push(Tensor::new(inputs[0].dims(), &reference::backward(sizes, qkv, d_out.values::<T>()?))?);
    }
    Ok(results)
}
