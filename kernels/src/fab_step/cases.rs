//! Cases of fab_step.

use engine::{Real, Result, Tensor};

use super::{COLUMNS, NAME, Origin, fab_step, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};
use crate::common::progress::Ball;

/// The cases of fab_step.
pub fn cases() -> OpCases {
    let of = |ball, dims: &[usize], far| case(&mut Draw::new(7), ball, dims, far);
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
            zero_gradient(Ball::Linf),
            zero_gradient(Ball::L2),
        ],
        random: |draw: &mut Draw| {
            let dims = [draw.range(1, 6), draw.range(1, 3), draw.range(1, 9), draw.range(1, 9)];
            let (ball, far) = (draw.pick(&[Ball::Linf, Ball::L2]), draw.pick(&[0.1, 1.0, 10.0, 1e3]));
            case(draw, ball, &dims, far)
        },
        bench: vec![of(Ball::Linf, &[64, 3, 32, 32], 10.0), of(Ball::L2, &[8, 3, 224, 224], 100.0)],
    }
}

/// Some samples are under way; `far` is how far the boundary is, in units of the gradient's entries.
fn case(draw: &mut Draw, ball: Ball, dims: &[usize], far: f32) -> Case {
    let status = (0..dims[0]).map(|_| draw.pick(&[0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 3.0])).collect();
    of(format!("{NAME} {ball:?} {dims:?} far {far}"), ball, dims, status, Fill::Normal(1.0), far)
}

/// The plane is nowhere: nothing moves, nothing becomes NaN.
fn zero_gradient(ball: Ball) -> Case {
    let label = format!("{NAME} {ball:?} gradient 0");
    of(label, ball, &[1, 5], vec![1.0], Fill::Exactly(vec![0.0; 5]), 1.0)
}

fn of(label: String, ball: Ball, dims: &[usize], status: Vec<f32>, gradient: Fill, far: f32) -> Case {
    let b = dims[0];
    let rows = status.into_iter().flat_map(|status| [0.03, status, 5.0, 0.05]).collect();
    let inputs = vec![
        Input::new(dims, Fill::Uniform(-0.02, 0.02)),
        Input::new(dims, gradient),
        Input::new(&[b], Fill::Normal(far)),
        // Room for delta on both sides, as it is in an attack.
        Input::new(dims, Fill::Uniform(0.02, 0.98)),
        Input::new(&[b, COLUMNS], Fill::Exactly(rows)),
    ];
    Case::update(
        label,
        inputs,
        1,
        move |tape, store, s, x| {
            let origin = Origin { gradient: x[0], difference: x[1], images: x[2], progress: x[3] };
            fab_step(tape, store, ball, s[0], origin)
        },
        move |inputs, _| naive::<f32>(ball, inputs),
        move |inputs, _| naive::<f64>(ball, inputs),
    )
}

fn naive<T: Real>(ball: Ball, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let values = |at: usize| inputs[at].values::<T>();
    let mut delta = values(0)?.to_vec();
    let width = delta.len() / values(2)?.len();
    for (i, row) in values(4)?.chunks_exact(COLUMNS).enumerate() {
        let at = i * width..(i + 1) * width;
        if row[1] == T::ONE {
            reference::step(ball, &mut delta[at.clone()], &values(1)?[at.clone()], &values(3)?[at], values(2)?[i]);
        }
    }
    Ok(vec![Tensor::new(inputs[0].dims(), &delta)?])
}
