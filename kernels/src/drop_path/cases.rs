//! Cases of drop_path.

use engine::rng::{Philox, STATE_WORDS, Stream};
use engine::{Error, Real, Result, Tensor};

use super::{NAME, drop_path, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

const STREAM: &str = "blocks.3.drop_path1";

/// The cases of drop_path.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            case(&[1, 1], 0.0, 0),
            case(&[7], 0.5, 1),
            case(&[16, 5, 7], 0.1, 2),
            case(&[5, 65, 48], 0.5, 3),
            case(&[3, 197, 31], 0.9, 4),
        ],
        random: |draw: &mut Draw| {
            let dims = [draw.range(1, 9), draw.range(1, 9), draw.range(1, 20)];
            case(&dims, draw.pick(&[0.0, 0.1, 0.5, 0.8]), u32::try_from(draw.range(0, 1000)).unwrap_or(0))
        },
        bench: vec![case(&[64, 65, 192], 0.1, 0)],
    }
}

fn case(dims: &[usize], rate: f32, step: u32) -> Case {
    Case::op(
        format!("{NAME} {dims:?} rate {rate} step {step}"),
        vec![
            Input::new(dims, Fill::Normal(1.0)),
            Input::new(&[STATE_WORDS], Fill::RandomState(step)),
            Input::new(&dims[..1], Fill::Ids),
        ],
        &[0],
        move |tape, inputs| drop_path(tape, inputs[0], inputs[1], inputs[2], rate, STREAM),
        move |inputs, dy| naive::<f32>(rate, inputs, dy),
        move |inputs, dy| naive::<f64>(rate, inputs, dy),
    )
}

fn naive<T: Real>(rate: f32, inputs: &[Tensor], dy: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let state = <[u32; STATE_WORDS]>::try_from(inputs[1].values::<u32>()?)
        .map_err(|_| Error::new(NAME, "the random state must have four words"))?;
    let philox = Philox::from_state(state, Stream::named(STREAM));
    let masked = |x: &Tensor| {
        Tensor::new(inputs[0].dims(), &reference::masked::<T>(&philox, inputs[2].values()?, rate, x.values()?))
    };
    [Some(&inputs[0]), dy].into_iter().flatten().map(masked).collect()
}
