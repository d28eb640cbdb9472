//! Cases of attack_watch.

use engine::{Real, Result, Tensor};

use super::{COLUMNS, Limit, NAME, attack_watch, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of attack_watch.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            case(&mut Draw::new(1), 1, Limit { steps: 20, stop: true }),
            case(&mut Draw::new(2), 67, Limit { steps: 20, stop: true }),
            case(&mut Draw::new(3), 129, Limit { steps: 1, stop: false }),
        ],
        random: |draw: &mut Draw| {
            let limit = Limit { steps: draw.pick(&[1, 7]), stop: draw.flag() };
            let b = draw.range(1, 40);
            case(draw, b, limit)
        },
        bench: vec![case(&mut Draw::new(4), 512, Limit { steps: 20, stop: true })],
    }
}

fn case(draw: &mut Draw, b: usize, limit: Limit) -> Case {
    let steps = f32::from(u16::try_from(limit.steps).unwrap_or(1));
    let mut rows = Vec::with_capacity(b * COLUMNS);
    for _ in 0..b {
        rows.extend([0.03, draw.pick(&[0.0, 1.0, 1.0, 1.0, 1.0, 2.0, 3.0]), draw.pick(&[0.0, steps - 1.0, steps])]);
    }
    let margins = (0..b).map(|_| draw.pick(&[-1.0, 0.0, 1.0, f32::NAN])).collect();
    let inputs = vec![
        Input::new(&[b, COLUMNS], Fill::Exactly(rows)),
        Input::new(&[b], Fill::Exactly(vec![1.0; b])),
        Input::new(&[b], Fill::Exactly(margins)),
    ];
    Case::update(
        format!("{NAME} b{b} steps {} stop {}", limit.steps, limit.stop),
        inputs,
        2,
        move |tape, store, states, x| attack_watch(tape, store, limit, states[0], states[1], x[0]),
        move |inputs, _| naive::<f32>(limit, inputs),
        move |inputs, _| naive::<f64>(limit, inputs),
    )
}

fn naive<T: Real>(limit: Limit, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let mut rows = inputs[0].values::<T>()?.to_vec();
    let mut active = Vec::new();
    for (row, &margin) in rows.chunks_exact_mut(COLUMNS).zip(inputs[2].values::<T>()?) {
        let follows = reference::look(row, limit.steps, limit.stop, margin);
        active.push(T::from_f64(f64::from(u8::from(follows))));
    }
    Ok(vec![Tensor::new(inputs[0].dims(), &rows)?, Tensor::new(inputs[1].dims(), &active)?])
}
