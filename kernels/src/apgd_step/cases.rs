//! Cases of apgd_step.

use engine::{Real, Result, Tensor};

use super::{Iterates, NAME, apgd_step, reference};
use crate::apgd_check::COLUMNS;
use crate::cases::{Case, Draw, Fill, Input, OpCases};
use crate::common::progress::Ball;

/// The cases of apgd_step.
pub fn cases() -> OpCases {
    let all: Vec<u32> = (0..16).collect();
    OpCases {
        name: NAME,
        cases: vec![
            case(Ball::Linf, &[1, 1], 0.03, &[5]),
            case(Ball::Linf, &[16, 3, 5, 7], 0.03, &all),
            case(Ball::Linf, &[2, 3, 32, 32], 0.3, &[4, 13]),
            case(Ball::L2, &[1, 1], 0.5, &[5]),
            case(Ball::L2, &[16, 3, 5, 7], 0.5, &all),
            case(Ball::L2, &[3, 3, 61, 47], 2.0, &[4, 13, 7]),
            nowhere(),
            gradients(Ball::Linf, vec![0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-45]),
            gradients(Ball::L2, vec![0.0; 6]),
            gradients(Ball::L2, vec![1.0, f32::NAN, 0.5, 0.25, -1.0, 2.0]),
        ],
        random: |draw: &mut Draw| {
            let dims = [draw.range(1, 6), draw.range(1, 3), draw.range(1, 9), draw.range(1, 9)];
            let actions: Vec<u32> = (0..dims[0]).map(|_| u32::try_from(draw.range(0, 15)).unwrap_or(0)).collect();
            case(draw.pick(&[Ball::Linf, Ball::L2]), &dims, draw.pick(&[0.03, 0.3]), &actions)
        },
        bench: vec![
            case(Ball::Linf, &[64, 3, 32, 32], 0.03, &[5; 64]),
            case(Ball::L2, &[8, 3, 224, 224], 3.0, &[5; 8]),
        ],
    }
}

fn case(ball: Ball, dims: &[usize], eps: f32, actions: &[u32]) -> Case {
    of(format!("{NAME} {ball:?} {dims:?} eps {eps}"), ball, dims, [eps; 2], actions, Fill::Normal(1.0))
}

/// Gradients that must not move a pixel, and some that must.
fn gradients(ball: Ball, gradient: Vec<f32>) -> Case {
    let label = format!("{NAME} {ball:?} gradient {gradient:?}");
    of(label, ball, &[1, gradient.len()], [0.1; 2], &[5], Fill::Exactly(gradient))
}

/// No iterate and no gradient has a length.
fn nowhere() -> Case {
    of(format!("{NAME} nowhere"), Ball::L2, &[1, 3], [0.1, 0.0], &[5], Fill::Exactly(vec![0.0; 3]))
}

/// Elements of the iterates are at most `most`.
fn of(label: String, ball: Ball, dims: &[usize], [eps, most]: [f32; 2], actions: &[u32], gradient: Fill) -> Case {
    let mut rows = Vec::with_capacity(actions.len() * COLUMNS);
    for (i, &action) in actions.iter().enumerate() {
        let mut row = [0.0_f32; COLUMNS];
        (row[0], row[1], row[2]) = (eps, 1.0, if i % 3 == 0 { 1.0 } else { 7.0 });
        row[3] = if i % 2 == 0 { 2.0 * eps } else { eps / 8.0 };
        row[11] = f32::from(u8::try_from(action).unwrap_or(0));
        rows.extend(row);
    }
    let inputs = vec![
        Input::new(dims, Fill::Uniform(-most, most)),
        Input::new(dims, Fill::Uniform(-most, most)),
        Input::new(dims, Fill::Uniform(-most, most)),
        Input::new(dims, Fill::Normal(1.0)),
        Input::new(dims, Fill::Uniform(-most, most)),
        Input::new(dims, gradient),
        Input::new(dims, Fill::Uniform(0.0, 1.0)),
        Input::new(&[actions.len(), COLUMNS], Fill::Exactly(rows)),
    ];
    Case::update(
        label,
        inputs,
        5,
        move |tape, store, s, x| {
            let iterates = Iterates { delta: s[0], before: s[1], best: s[2], best_gradient: s[3], fooling: s[4] };
            apgd_step(tape, store, ball, iterates, x[0], x[1], x[2])
        },
        move |inputs, _| naive::<f32>(ball, inputs),
        move |inputs, _| naive::<f64>(ball, inputs),
    )
}

fn naive<T: Real>(ball: Ball, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let mut states = inputs[..5].iter().map(|state| Ok(state.values::<T>()?.to_vec())).collect::<Result<Vec<_>>>()?;
    let rows = inputs[7].values::<T>()?;
    let width = states[0].len() / (rows.len() / COLUMNS);
    for (i, row) in rows.chunks_exact(COLUMNS).enumerate() {
        let at = i * width..(i + 1) * width;
        let [delta, before, best, best_gradient, fooling] = &mut states[..] else { continue };
        let sample = reference::Sample {
            delta: &mut delta[at.clone()],
            before: &mut before[at.clone()],
            best: &mut best[at.clone()],
            best_gradient: &mut best_gradient[at.clone()],
            fooling: &mut fooling[at.clone()],
        };
        reference::step(ball, sample, &inputs[5].values::<T>()?[at.clone()], &inputs[6].values::<T>()?[at], row);
    }
    states.iter().map(|state| Tensor::new(inputs[0].dims(), state)).collect()
}
