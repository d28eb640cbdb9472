//! Cases of fab_choose.

use engine::{Real, Result, Tensor};

use super::{NAME, Nearest, fab_choose, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};
use crate::common::progress::Ball;

/// The cases of fab_choose.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            case(Ball::Linf, 0, &[1, 1]),
            case(Ball::Linf, 0, &[19, 3, 5, 7]),
            case(Ball::Linf, 2, &[67, 13]),
            case(Ball::L2, 0, &[19, 3, 5, 7]),
            case(Ball::L2, 1, &[67, 3, 11, 13]),
            flat(Ball::Linf),
            flat(Ball::L2),
        ],
        random: |draw: &mut Draw| {
            let class = u32::try_from(draw.range(0, 3)).unwrap_or(0);
            let dims = [draw.range(1, 20), draw.range(1, 300)];
            case(draw.pick(&[Ball::Linf, Ball::L2]), class, &dims)
        },
        bench: vec![case(Ball::Linf, 1, &[64, 3, 32, 32])],
    }
}

fn case(ball: Ball, class: u32, dims: &[usize]) -> Case {
    #[expect(clippy::cast_precision_loss, reason = "sizes of cases")]
    let size = dims[1..].iter().product::<usize>() as f32;
    // About as far as the boundaries that are looked at: some are nearer.
    let far = if ball == Ball::Linf { 1.0 / size } else { 1.0 / size.sqrt() };
    let fills = [Fill::Uniform(0.0, 2.0 * far), Fill::Normal(1.0), Fill::Normal(1.0), Fill::Labels(3)];
    of(format!("{NAME} {ball:?} class {class} {dims:?}"), ball, class, dims, fills)
}

/// Without a gradient the boundary is far, but not farther than any; as near as the one before it, it is not kept.
fn flat(ball: Ball) -> Case {
    let exactly = |values: &[f32]| Fill::Exactly(values.to_vec());
    let gradients = exactly(&[0.0, 0.0, 0.5, -0.5]);
    let fills = [exactly(&[1e20, 0.0]), gradients, exactly(&[0.5, 0.0]), Fill::Labels(1)];
    of(format!("{NAME} {ball:?} flat"), ball, 1, &[2, 2], fills)
}

/// Distances so far, gradients, differences and labels; what else is kept is any.
fn of(label: String, ball: Ball, class: u32, dims: &[usize], fills: [Fill; 4]) -> Case {
    let b = dims[0];
    let [distance, gradient, difference, labels] = fills;
    let inputs = vec![
        Input::new(dims, Fill::Normal(1.0)),
        Input::new(&[b], Fill::Normal(1.0)),
        Input::new(&[b], distance),
        Input::new(dims, gradient),
        Input::new(&[b], difference),
        Input::new(&[b], labels),
    ];
    let number = i32::try_from(class).unwrap_or(0);
    Case::update(
        label,
        inputs,
        3,
        move |tape, store, s, x| {
            let nearest = Nearest { gradient: s[0], difference: s[1], distance: s[2] };
            fab_choose(tape, store, ball, class, nearest, [x[0], x[1], x[2]])
        },
        move |inputs, _| naive::<f32>(ball, number, inputs),
        move |inputs, _| naive::<f64>(ball, number, inputs),
    )
}

fn naive<T: Real>(ball: Ball, class: i32, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let values = |at: usize| inputs[at].values::<T>();
    let (gradient, difference, distance) = (values(0)?.to_vec(), values(1)?.to_vec(), values(2)?.to_vec());
    let mut states = reference::States { gradient, difference, distance };
    reference::choose(ball, class, &mut states, values(3)?, values(4)?, inputs[5].values::<i32>()?);
    Ok(vec![
        Tensor::new(inputs[0].dims(), &states.gradient)?,
        Tensor::new(inputs[1].dims(), &states.difference)?,
        Tensor::new(inputs[2].dims(), &states.distance)?,
    ])
}
