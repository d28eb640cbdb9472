//! Cases of stochastic_scale.

use engine::rng::{Philox, STATE_WORDS, Stream};
use engine::{Error, Real, Result, Tensor};

use super::{Distribution, NAME, Sharing, reference, stochastic_scale};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

const STREAM: &str = "blocks.3.mlp.scale";
const LAWS: [Distribution; 4] = [
    Distribution::Uniform { half_width: 0.5 },
    Distribution::Uniform { half_width: 1.0 },
    Distribution::Normal { std: 0.288_675_13 },
    Distribution::Bernoulli { variance: 1.0 / 12.0 },
];
const SHARINGS: [Sharing; 3] = [Sharing::Batch, Sharing::PerImage, Sharing::PerToken];

/// The cases of stochastic_scale.
pub fn cases() -> OpCases {
    let shapes = [[1, 1, 1], [3, 5, 7], [2, 65, 48], [1, 197, 131]];
    let every = shapes.into_iter().flat_map(|dims| SHARINGS.map(|sharing| (dims, sharing)));
    OpCases {
        name: NAME,
        cases: every.zip(LAWS.into_iter().cycle()).map(|((dims, sharing), law)| case(dims, law, sharing, 5)).collect(),
        random: |draw: &mut Draw| {
            let dims = [draw.range(1, 4), draw.range(1, 9), draw.range(1, 90)];
            let step = u32::try_from(draw.range(0, 1000)).unwrap_or(0);
            case(dims, draw.pick(&LAWS), draw.pick(&SHARINGS), step)
        },
        bench: SHARINGS.map(|sharing| case([64, 65, 768], LAWS[0], sharing, 0)).to_vec(),
    }
}

fn case(dims: [usize; 3], distribution: Distribution, sharing: Sharing, step: u32) -> Case {
    Case::op(
        format!("{NAME} {dims:?} {distribution:?} {sharing:?} step {step}"),
        vec![
            Input::new(&dims, Fill::Normal(1.0)),
            Input::new(&[STATE_WORDS], Fill::RandomState(step)),
            Input::new(&dims[..1], Fill::Ids),
        ],
        &[0],
        move |tape, inputs| stochastic_scale(tape, inputs[0], inputs[1], inputs[2], distribution, sharing, STREAM),
        move |inputs, dy| naive::<f32>(distribution, sharing, inputs, dy),
        move |inputs, dy| naive::<f64>(distribution, sharing, inputs, dy),
    )
}

fn naive<T: Real>(
    distribution: Distribution,
    sharing: Sharing,
    inputs: &[Tensor],
    dy: Option<&Tensor>,
) -> Result<Vec<Tensor>> {
    let state = <[u32; STATE_WORDS]>::try_from(inputs[1].values::<u32>()?)
        .map_err(|_| Error::new(NAME, "the random state must have four words"))?;
    let philox = Philox::from_state(state, Stream::named(STREAM));
    let h = inputs[0].spec().shape.last();
    let scaled = |x: &Tensor| {
        let values = reference::scaled::<T>(distribution, sharing, &philox, inputs[2].values()?, h, x.values()?);
        Tensor::new(x.dims(), &values)
    };
    [Some(&inputs[0]), dy].into_iter().flatten().map(scaled).collect()
}
