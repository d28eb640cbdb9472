//! Cases of square_keep.

use engine::{Real, Result, Tensor};

use super::{NAME, reference, square_keep};
use crate::cases::{Case, Draw, Fill, Input, OpCases};
use crate::square_try::COLUMNS;

/// The cases of square_keep.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            case(&mut Draw::new(1), &[1, 1], 5000),
            case(&mut Draw::new(2), &[67, 13], 5000),
            case(&mut Draw::new(3), &[130, 3, 3, 5], 2),
        ],
        random: |draw: &mut Draw| {
            let dims = [draw.range(1, 20), draw.range(1, 30)];
            let queries = draw.pick(&[1, 40]);
            case(draw, &dims, queries)
        },
        bench: vec![case(&mut Draw::new(4), &[64, 3, 32, 32], 5000)],
    }
}

fn case(draw: &mut Draw, dims: &[usize], queries: u32) -> Case {
    let most = f32::from(u16::try_from(queries).unwrap_or(1));
    let mut rows = Vec::new();
    for _ in 0..dims[0] {
        let status = draw.pick(&[0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 3.0]);
        rows.extend([0.03, status, draw.pick(&[0.0, 1.0, most]), draw.pick(&[-1.0, 0.0, 0.5, 1.0, 1.5])]);
    }
    let margins = (0..dims[0]).map(|_| draw.pick(&[-2.0, -1.0, -0.5, 0.0, 0.5, f32::NAN])).collect();
    let inputs = vec![
        Input::new(dims, Fill::Normal(1.0)),
        Input::new(&[dims[0], COLUMNS], Fill::Exactly(rows)),
        Input::new(dims, Fill::Normal(1.0)),
        Input::new(&[dims[0]], Fill::Exactly(margins)),
    ];
    Case::update(
        format!("{NAME} {dims:?} queries {queries}"),
        inputs,
        2,
        move |tape, store, states, x| square_keep(tape, store, queries, states[0], states[1], x[0], x[1]),
        move |inputs, _| naive::<f32>(queries, inputs),
        move |inputs, _| naive::<f64>(queries, inputs),
    )
}

fn naive<T: Real>(queries: u32, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let (mut best, mut rows) = (inputs[0].values::<T>()?.to_vec(), inputs[1].values::<T>()?.to_vec());
    let (trials, margins) = (inputs[2].values::<T>()?, inputs[3].values::<T>()?);
    let width = best.len() / margins.len();
    for (i, row) in rows.chunks_exact_mut(COLUMNS).enumerate() {
        let at = i * width..(i + 1) * width;
        reference::judge(&mut best[at.clone()], row, &trials[at], margins[i], queries);
    }
    Ok(vec![Tensor::new(inputs[0].dims(), &best)?, Tensor::new(inputs[1].dims(), &rows)?])
}
