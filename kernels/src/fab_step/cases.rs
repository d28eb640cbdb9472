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
            of(Ball::Linf, &[33, 3, 5, 7], 0.03),
            of(Ball::L2, &[33, 3, 5, 7], 0.03),
            walls(Ball::Linf),
            walls(Ball::L2),
            zero_gradient(Ball::Linf, 1.0),
            zero_gradient(Ball::L2, 1.0),
            zero_gradient(Ball::Linf, 0.0),
            zero_gradient(Ball::L2, 0.0),
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
    of(format!("{NAME} {ball:?} {dims:?} far {far}"), ball, dims, status, fills(Fill::Normal(1.0), far))
}

/// Iterates near the plane or near walls, so that the clean image weighs less than it may at most: with some pixels of it that reach
/// their walls on the way; with the plane out of reach from both; from outside the box. One pixel has no gradient.
fn walls(ball: Ball) -> Case {
    let delta = [[0.08, -0.5, 0.2, -0.1], [0.48, -0.48, -0.3, 0.49], [0.2, -0.25, 0.1, 0.3]];
    let gradient = [[2.0, -1.0, 0.0, 0.5], [1.0, -1.0, 0.0, 2.0], [1.0, -0.5, 0.0, 0.25]];
    let images = [[0.9, 0.6, 0.5, 0.3], [0.5, 0.5, 0.95, 0.5], [0.9, 0.2, 0.5, 0.6]];
    let [delta, gradient, images] = [delta, gradient, images].map(|values| Fill::Exactly(values.concat()));
    let fills = [delta, gradient, Fill::Exactly(vec![0.05, -5.0, -0.02]), images];
    of(format!("{NAME} {ball:?} walls"), ball, &[3, 4], vec![1.0; 3], fills)
}

/// The plane is nowhere: nothing moves, nothing becomes NaN.
fn zero_gradient(ball: Ball, far: f32) -> Case {
    let label = format!("{NAME} {ball:?} gradient 0 far {far}");
    of(label, ball, &[1, 5], vec![1.0], fills(Fill::Exactly(vec![0.0; 5]), far))
}

/// Delta, gradient, difference and images, with room for delta on both sides, as it is in an attack.
fn fills(gradient: Fill, far: f32) -> [Fill; 4] {
    [Fill::Uniform(-0.02, 0.02), gradient, Fill::Normal(far), Fill::Uniform(0.02, 0.98)]
}

fn of(label: String, ball: Ball, dims: &[usize], status: Vec<f32>, fills: [Fill; 4]) -> Case {
    let b = dims[0];
    let rows = status.into_iter().flat_map(|status| [0.03, status, 5.0, 0.05]).collect();
    let [delta, gradient, difference, images] = fills;
    let inputs = vec![
        Input::new(dims, delta),
        Input::new(dims, gradient),
        Input::new(&[b], difference),
        Input::new(dims, images),
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
