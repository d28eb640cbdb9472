//! Cases of apgd_check.

use engine::{Real, Result, Tensor};

use super::{COLUMNS, NAME, Schedule, apgd_check, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

/// The cases of apgd_check.
pub fn cases() -> OpCases {
    let of = |steps, stop| Schedule { steps, rho: 0.75, stop };
    OpCases {
        name: NAME,
        cases: vec![
            case(&mut Draw::new(1), 1, of(100, true)),
            case(&mut Draw::new(2), 67, of(100, true)),
            case(&mut Draw::new(3), 300, of(100, false)),
            case(&mut Draw::new(4), 129, of(3, false)),
            case(&mut Draw::new(5), 5, Schedule { steps: 40, rho: 0.0, stop: true }),
        ],
        random: |draw: &mut Draw| {
            let schedule = Schedule { steps: draw.pick(&[1, 9, 50, 100]), rho: 0.75, stop: draw.flag() };
            let b = draw.range(1, 40);
            case(draw, b, schedule)
        },
        bench: vec![case(&mut Draw::new(6), 512, of(100, true))],
    }
}

/// Rows at all places of an attack: before its start, within a period, at checkpoints, at its end, idle and done.
fn case(draw: &mut Draw, b: usize, schedule: Schedule) -> Case {
    let mut rows = Vec::with_capacity(b * COLUMNS);
    for _ in 0..b {
        rows.extend(row(draw, schedule));
    }
    let quarters = |draw: &mut Draw| -> Vec<f32> { (0..b).map(|_| quarter(draw)).collect() };
    let (losses, mut margins) = (quarters(draw), quarters(draw));
    if let (Some(first), true) = (margins.first_mut(), b > 2) {
        *first = f32::NAN;
    }
    let inputs = vec![
        Input::new(&[b, COLUMNS], Fill::Exactly(rows)),
        Input::new(&[b], Fill::Exactly(losses)),
        Input::new(&[b], Fill::Exactly(margins)),
    ];
    Case::update(
        format!("{NAME} b{b} steps {} rho {} stop {}", schedule.steps, schedule.rho, schedule.stop),
        inputs,
        1,
        move |tape, store, states, x| apgd_check(tape, store, schedule, states[0], x[0], x[1]),
        move |inputs, _| naive::<f32>(schedule, inputs),
        move |inputs, _| naive::<f64>(schedule, inputs),
    )
}

/// One of -2, -1.75, .. 2: equal ones meet often.
fn quarter(draw: &mut Draw) -> f32 {
    f32::from(u8::try_from(draw.range(0, 16)).unwrap_or(0)) / 4.0 - 2.0
}

fn row(draw: &mut Draw, schedule: Schedule) -> [f32; COLUMNS] {
    let small = |n: usize| f32::from(u16::try_from(n).unwrap_or(0));
    let [first, shorter, shortest] = schedule.periods();
    let period = first.saturating_sub(shorter * u32::try_from(draw.range(0, 3)).unwrap_or(0)).max(shortest);
    let period = usize::try_from(period).unwrap_or(1);
    let within = draw_below(draw, period);
    let since = draw.pick(&[period - 1, within]);
    let raised = draw_below(draw, since + 1);
    let steps = usize::try_from(schedule.steps).unwrap_or(1);
    let taken = draw.pick(&[0, 1, steps / 2, steps]);
    [
        0.03,
        small(draw.pick(&[0, 1, 1, 1, 1, 1, 2, 3])),
        small(taken),
        0.03,
        small(period),
        small(since),
        small(raised),
        small(draw.range(0, 1)),
        quarter(draw),
        quarter(draw),
        quarter(draw),
        15.0,
    ]
}

fn draw_below(draw: &mut Draw, bound: usize) -> usize {
    draw.range(0, bound.max(1) - 1)
}

fn naive<T: Real>(schedule: Schedule, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let mut rows = inputs[0].values::<T>()?.to_vec();
    let (losses, margins) = (inputs[1].values::<T>()?, inputs[2].values::<T>()?);
    for ((row, &loss), &margin) in rows.chunks_exact_mut(COLUMNS).zip(losses).zip(margins) {
        reference::check(row, schedule.steps, schedule.rho, schedule.stop, loss, margin);
    }
    Ok(vec![Tensor::new(inputs[0].dims(), &rows)?])
}
