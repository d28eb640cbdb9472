//! Cases of pool.

use engine::{Real, Result, Tensor};

use super::{NAME, Pool, pool, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of pool.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            case([1, 1, 1], Pool::Token(0)),
            case([3, 5, 7], Pool::Token(0)),
            case([2, 65, 48], Pool::Token(1)),
            case([2, 5, 13], Pool::Token(4)),
            case([1, 1, 3], Pool::Mean { skip: 0 }),
            case([3, 5, 7], Pool::Mean { skip: 0 }),
            case([2, 197, 31], Pool::Mean { skip: 1 }),
            case([2, 9, 17], Pool::Mean { skip: 8 }),
        ],
        random: |draw: &mut Draw| {
            let n = draw.range(1, 9);
            let at = draw.range(0, n - 1);
            let how = if draw.flag() { Pool::Token(at) } else { Pool::Mean { skip: at } };
            case([draw.range(1, 4), n, draw.range(1, 40)], how)
        },
        bench: vec![case([64, 65, 192], Pool::Token(0)), case([64, 65, 192], Pool::Mean { skip: 1 })],
    }
}

fn case(dims: [usize; 3], how: Pool) -> Case {
    Case::op(
        format!("{NAME} {dims:?} {how:?}"),
        vec![Input::new(&dims, Fill::Normal(1.0))],
        &[0],
        move |tape, inputs| pool(tape, inputs[0], how),
        move |inputs, dy| naive::<f32>(dims, how, inputs, dy),
        move |inputs, dy| naive::<f64>(dims, how, inputs, dy),
    )
}

fn naive<T: Real>(dims: [usize; 3], how: Pool, inputs: &[Tensor], dy: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let tokens = match how {
        Pool::Token(token) => (token, 1),
        Pool::Mean { skip } => (skip, dims[1] - skip),
    };
    let [b, _, d] = dims;
    let mut results = vec![Tensor::new(&[b, d], &reference::forward::<T>(dims, tokens, inputs[0].values()?))?];
    if let Some(dy) = dy {
        results.push(Tensor::new(&dims, &reference::backward::<T>(dims, tokens, dy.values()?))?);
    }
    Ok(results)
}
