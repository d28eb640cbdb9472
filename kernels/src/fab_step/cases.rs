//! Cases of fab_step.

use engine::{Real, Result, Tensor};

use super::{COLUMNS, Limit, Look, NAME, fab_step, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};
use crate::common::progress::Ball;

/// The cases of fab_step.
pub fn cases() -> OpCases {
    let limit = Limit { steps: 100, stop: true };
    let of = |ball, dims: &[usize], far| case(&mut Draw::new(7), ball, dims, limit, far);
    OpCases {
        name: NAME,
        cases: vec![
            of(Ball::Linf, &[1, 1], 0.1),
            of(Ball::Linf, &[33, 3, 5, 7], 1.0),
            of(Ball::Linf, &[17, 3, 5, 7], 20.0),
            of(Ball::Linf, &[9, 3, 5, 7], 1e4),
            of(Ball::Linf, &[3, 3, 32, 32], 30.0),
            of(Ball::L2, &[1, 1], 0.1),
            of(Ball::L2, &[33, 3, 5, 7], 1.0),
            of(Ball::L2, &[17, 3, 5, 7], 20.0),
            of(Ball::L2, &[9, 3, 5, 7], 1e4),
            of(Ball::L2, &[3, 3, 32, 32], 30.0),
            case(&mut Draw::new(9), Ball::Linf, &[40, 6], Limit { steps: 2, stop: false }, 0.5),
            zero_gradient(Ball::Linf),
            zero_gradient(Ball::L2),
        ],
        random: |draw: &mut Draw| {
            let dims = [draw.range(1, 6), draw.range(1, 3), draw.range(1, 9), draw.range(1, 9)];
            let (ball, limit) =
                (draw.pick(&[Ball::Linf, Ball::L2]), Limit { steps: draw.pick(&[1, 9]), stop: draw.flag() });
            let far = draw.pick(&[0.1, 1.0, 10.0, 1e3]);
            case(draw, ball, &dims, limit, far)
        },
        bench: vec![of(Ball::Linf, &[64, 3, 32, 32], 10.0), of(Ball::L2, &[8, 3, 224, 224], 100.0)],
    }
}

/// Samples at all places of the attack; `far` is how far the boundary is, in units of the gradient's entries.
fn case(draw: &mut Draw, ball: Ball, dims: &[usize], limit: Limit, far: f32) -> Case {
    let b = dims[0];
    let steps = f32::from(u16::try_from(limit.steps).unwrap_or(1));
    let mut rows = Vec::with_capacity(b * COLUMNS);
    for _ in 0..b {
        let status = draw.pick(&[0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 3.0]);
        let taken = draw.pick(&[0.0, steps - 1.0]);
        rows.extend([0.03, status, taken, draw.pick(&[0.0, 0.0, 1.0]), draw.pick(&[1e10, 0.05, 0.01])]);
    }
    let margins: Vec<f32> = (0..b).map(|_| draw.pick(&[-1.0, -0.5, 0.0, 0.5])).collect();
    let label = format!("{NAME} {ball:?} {dims:?} steps {} stop {} far {far}", limit.steps, limit.stop);
    of(label, ball, dims, limit, [rows, margins], Fill::Normal(1.0), far)
}

/// The plane is nowhere: nothing moves, nothing becomes NaN.
fn zero_gradient(ball: Ball) -> Case {
    let limit = Limit { steps: 5, stop: true };
    let rows = vec![0.03, 1.0, 0.0, 1.0, 1e10];
    let label = format!("{NAME} {ball:?} gradient 0");
    of(label, ball, &[1, 5], limit, [rows, vec![-1.0]], Fill::Exactly(vec![0.0; 5]), 1.0)
}

fn of(
    label: String,
    ball: Ball,
    dims: &[usize],
    limit: Limit,
    [rows, margins]: [Vec<f32>; 2],
    gradient: Fill,
    far: f32,
) -> Case {
    let b = dims[0];
    let inputs = vec![
        Input::new(dims, Fill::Uniform(-0.02, 0.02)),
        Input::new(dims, Fill::Uniform(-0.1, 0.1)),
        Input::new(&[b, COLUMNS], Fill::Exactly(rows)),
        Input::new(dims, gradient),
        Input::new(&[b], Fill::Normal(far)),
        Input::new(&[b], Fill::Exactly(margins)),
        // Room for delta on both sides, as it is in an attack.
        Input::new(dims, Fill::Uniform(0.02, 0.98)),
    ];
    Case::update(
        label,
        inputs,
        3,
        move |tape, store, s, x| {
            let look = Look { gradient: x[0], difference: x[1], margin: x[2], images: x[3] };
            fab_step(tape, store, ball, limit, [s[0], s[1], s[2]], look)
        },
        move |inputs, _| naive::<f32>(ball, limit, inputs),
        move |inputs, _| naive::<f64>(ball, limit, inputs),
    )
}

fn naive<T: Real>(ball: Ball, limit: Limit, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let values = |at: usize| inputs[at].values::<T>();
    let (mut delta, mut nearest, mut rows) = (values(0)?.to_vec(), values(1)?.to_vec(), values(2)?.to_vec());
    let width = delta.len() / (rows.len() / COLUMNS);
    for (i, row) in rows.chunks_exact_mut(COLUMNS).enumerate() {
        let at = i * width..(i + 1) * width;
        let sample = reference::Sample {
            delta: &mut delta[at.clone()],
            nearest: &mut nearest[at.clone()],
            row,
            w: &values(3)?[at.clone()],
            x: &values(6)?[at],
            difference: values(4)?[i],
            margin: values(5)?[i],
        };
        reference::step(ball, limit, sample);
    }
    let dims = inputs[0].dims();
    Ok(vec![Tensor::new(dims, &delta)?, Tensor::new(dims, &nearest)?, Tensor::new(inputs[2].dims(), &rows)?])
}
