//! Cases of mark_key.

use engine::{Real, Result, Tensor};

use super::{NAME, mark_key, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of mark_key.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![case(1, 1, 1, 1), case(3, 5, 2, 7), case(2, 65, 3, 16), case(5, 17, 1, 4), case(2, 197, 2, 6)],
        random: |draw: &mut Draw| case(draw.range(1, 4), draw.range(1, 9), draw.range(1, 3), draw.range(1, 9)),
        bench: vec![case(64, 65, 3, 64), case(8, 197, 6, 64)],
    }
}

fn case(b: usize, n: usize, heads: usize, d: usize) -> Case {
    let tokens = u32::try_from(n).unwrap_or(1);
    let inputs = vec![Input::new(&[b, n, 3 * heads * d], Fill::Normal(1.0)), Input::new(&[b], Fill::Labels(tokens))];
    Case::op(
        format!("{NAME} b{b} n{n} h{heads} d{d}"),
        inputs,
        &[0],
        move |tape, x| mark_key(tape, x[0], x[1], heads),
        move |inputs, dy| naive::<f32>([n, heads, d], inputs, dy),
        move |inputs, dy| naive::<f64>([n, heads, d], inputs, dy),
    )
}

fn naive<T: Real>(dims: [usize; 3], inputs: &[Tensor], dy: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let shape = inputs[0].dims();
    let y = reference::forward::<T>(dims, inputs[0].values()?, inputs[1].values()?);
    let mut results = vec![Tensor::new(shape, &y)?];
    if let Some(dy) = dy {
        results.push(Tensor::new(shape, &reference::backward::<T>(dims, dy.values()?))?);
    }
    Ok(results)
}
