//! Cases of fab_look.

use engine::{Real, Result, Tensor};

use super::{COLUMNS, Limit, NAME, fab_look, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};
use crate::common::progress::Ball;

/// The cases of fab_look.
pub fn cases() -> OpCases {
    let short = |stop| Limit { steps: 3, stop };
    let of = |ball, dims: &[usize], stop| case(&mut Draw::new(7), ball, dims, short(stop));
    OpCases {
        name: NAME,
        cases: vec![
            of(Ball::Linf, &[1, 1], true),
            of(Ball::Linf, &[131, 3, 5, 7], true),
            of(Ball::Linf, &[67, 13], false),
            of(Ball::Linf, &[9, 3, 32, 32], true),
            of(Ball::L2, &[1, 1], false),
            of(Ball::L2, &[131, 3, 5, 7], false),
            of(Ball::L2, &[67, 13], true),
            of(Ball::L2, &[9, 3, 32, 32], false),
            first(Ball::Linf),
            first(Ball::L2),
            ties(),
        ],
        random: |draw: &mut Draw| {
            let dims = [draw.range(1, 20), draw.range(1, 3), draw.range(1, 9), draw.range(1, 9)];
            let (ball, limit) =
                (draw.pick(&[Ball::Linf, Ball::L2]), Limit { steps: draw.pick(&[1, 9]), stop: draw.flag() });
            case(draw, ball, &dims, limit)
        },
        bench: vec![of(Ball::Linf, &[64, 3, 32, 32], true), of(Ball::L2, &[8, 3, 224, 224], true)],
    }
}

/// Samples at all places of the attack. No number of a row is large: errors of the others would pass beside it.
fn case(draw: &mut Draw, ball: Ball, dims: &[usize], limit: Limit) -> Case {
    #[expect(clippy::cast_precision_loss, reason = "sizes of cases")]
    let size = dims[1..].iter().product::<usize>() as f32;
    // About the norm of an iterate, which is then well below or above what a row says.
    let norm = 0.02 * if ball == Ball::L2 { (size / 3.0).sqrt() } else { 1.0 };
    let steps = f32::from(u16::try_from(limit.steps).unwrap_or(1));
    let mut rows = Vec::with_capacity(dims[0] * COLUMNS);
    for _ in 0..dims[0] {
        let status = draw.pick(&[0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 3.0]);
        let taken = draw.pick(&[0.0, steps - 1.0, steps - 1.0]);
        rows.extend([norm * draw.pick(&[0.0, 2.0, 4.0]), status, taken, norm * draw.pick(&[0.0, 3.0])]);
    }
    let margins = (0..dims[0]).map(|_| draw.pick(&[-1.0, 0.0, 0.5, 0.5, f32::NAN])).collect();
    let label = format!("{NAME} {ball:?} {dims:?} steps {} stop {}", limit.steps, limit.stop);
    let iterates = [Fill::Uniform(-0.02, 0.02), Fill::Uniform(-0.1, 0.1)];
    of(label, ball, dims, limit, iterates, [rows, margins])
}

/// Whatever fools is nearer than nothing.
fn first(ball: Ball) -> Case {
    let rows = [super::start(0.01), super::start(10.0)].concat();
    #[expect(clippy::cast_possible_truncation, reason = "as on devices")]
    let rows = rows.iter().map(|&value| value as f32).collect();
    let iterates = [Fill::Uniform(-0.02, 0.02), Fill::Exactly(vec![0.0; 10])];
    let label = format!("{NAME} {ball:?} first");
    of(label, ball, &[2, 5], Limit { steps: 9, stop: true }, iterates, [rows, vec![0.5; 2]])
}

/// An iterate as near as the one before it is not kept; one on the surface of the ball lies within. Roots of squares round.
fn ties() -> Case {
    let label = format!("{NAME} ties");
    let iterates = [Fill::Exactly(vec![-0.625, 0.5]), Fill::Exactly(vec![0.125, 0.25])];
    let rows = [vec![0.625, 1.0, 0.0, 0.625], vec![0.5]];
    of(label, Ball::Linf, &[1, 2], Limit { steps: 9, stop: true }, iterates, rows)
}

fn of(
    label: String,
    ball: Ball,
    dims: &[usize],
    limit: Limit,
    [delta, nearest]: [Fill; 2],
    [rows, margins]: [Vec<f32>; 2],
) -> Case {
    let inputs = vec![
        Input::new(dims, delta),
        Input::new(dims, nearest),
        Input::new(&[dims[0], COLUMNS], Fill::Exactly(rows)),
        Input::new(&[dims[0]], Fill::Exactly(margins)),
    ];
    Case::update(
        label,
        inputs,
        3,
        move |tape, store, s, x| fab_look(tape, store, ball, limit, [s[0], s[1], s[2]], x[0]),
        move |inputs, _| naive::<f32>(ball, limit, inputs),
        move |inputs, _| naive::<f64>(ball, limit, inputs),
    )
}

fn naive<T: Real>(ball: Ball, limit: Limit, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let values = |at: usize| inputs[at].values::<T>();
    let (mut delta, mut nearest, mut rows) = (values(0)?.to_vec(), values(1)?.to_vec(), values(2)?.to_vec());
    let width = delta.len() / values(3)?.len();
    for (i, &margin) in values(3)?.iter().enumerate() {
        let at = i * width..(i + 1) * width;
        let row = &mut rows[i * COLUMNS..(i + 1) * COLUMNS];
        reference::look(ball, limit, [&mut delta[at.clone()], &mut nearest[at], row], margin);
    }
    let dims = inputs[0].dims();
    Ok(vec![Tensor::new(dims, &delta)?, Tensor::new(dims, &nearest)?, Tensor::new(inputs[2].dims(), &rows)?])
}
