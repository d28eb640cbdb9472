//! Cases of random_start.

use engine::rng::{Philox, Stream};
use engine::{Error, Real, Result, Tensor};

use super::{NAME, Origin, Start, random_start, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

const STREAM: &str = "attack.start";

/// The cases of random_start.
pub fn cases() -> OpCases {
    let eps = 8.0 / 255.0;
    OpCases {
        name: NAME,
        cases: vec![
            case(&[1, 1], Start::Uniform, eps),
            case(&[5, 3, 13, 11], Start::Uniform, eps),
            case(&[2, 3, 16, 16], Start::Uniform, 0.7),
            case(&[3, 1, 7, 5], Start::Normal(0.001), eps),
            case(&[3, 65], Start::Normal(0.7), eps),
            case(&[5, 3, 13, 11], Start::L2, 0.5),
            case(&[1, 1], Start::L2, 0.5),
            case(&[2, 3, 41, 37], Start::L2, 0.5), // samples that several blocks share
            case(&[2, 3, 48, 32], Start::L2, 0.5),
            case(&[2, 3, 41, 37], Start::Uniform, eps),
            case(&[2, 3, 7, 7], Start::L2, 20.0),
            case(&[2, 65], Start::Zero, eps),
        ],
        random: |draw: &mut Draw| {
            let dims = [draw.range(1, 4), draw.range(1, 3), draw.range(1, 9), draw.range(1, 9)];
            case(&dims, draw.pick(&[Start::Uniform, Start::Normal(0.1), Start::L2]), draw.pick(&[0.1, 1.0]))
        },
        bench: vec![case(&[64, 3, 32, 32], Start::Uniform, eps), case(&[8, 3, 224, 224], Start::L2, 0.5)],
    }
}

fn case(dims: &[usize], start: Start, eps: f32) -> Case {
    let inputs = vec![
        Input::new(dims, Fill::Normal(1.0)),
        Input::new(dims, Fill::Uniform(0.0, 1.0)),
        Input::new(&[dims[0]], Fill::Ids),
        Input::new(&[1], Fill::Exactly(vec![eps])),
        Input::new(&[4], Fill::RandomState(3)),
    ];
    Case::update(
        format!("{NAME} {dims:?} {start:?} eps {eps}"),
        inputs,
        1,
        move |tape, store, states, x| {
            let origin = Origin { images: x[0], ids: x[1], eps: x[2], state: x[3] };
            random_start(tape, store, states[0], origin, start, STREAM)
        },
        move |inputs, _| naive::<f32>(start, inputs),
        move |inputs, _| naive::<f64>(start, inputs),
    )
}

fn naive<T: Real>(start: Start, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let words = inputs[4].values::<u32>()?.try_into().map_err(|_| Error::new(NAME, "no random state"))?;
    let philox = Philox::from_state(words, Stream::named(STREAM));
    let delta = reference::draw(start, philox, inputs[2].values()?, inputs[1].values()?, inputs[3].values::<T>()?[0]);
    Ok(vec![Tensor::new(inputs[0].dims(), &delta)?])
}
