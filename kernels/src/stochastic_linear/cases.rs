//! Cases of stochastic_linear.

use engine::rng::{Philox, STATE_WORDS, Stream};
use engine::{Error, Real, Result, Tensor};

use super::{Entries, Matrix, Mean, NAME, Sharing, reference, stochastic_linear};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

const STREAM: &str = "blocks.3.mlp.matrix";
const ENTRIES: [Entries; 3] = [Entries::Uniform, Entries::Normal, Entries::Sign];

/// The cases of stochastic_linear.
pub fn cases() -> OpCases {
    let zero = |width, sharing| Matrix { width, entries: Entries::Normal, mean: Mean::Zero, sigma: 1.0, sharing };
    let identity = |width, entries, sharing| Matrix { width, entries, mean: Mean::Identity, sigma: 0.3, sharing };
    OpCases {
        name: NAME,
        cases: vec![
            case([1, 1, 1], zero(1, Sharing::Batch)),
            case([3, 5, 7], zero(11, Sharing::Batch)),
            case([3, 5, 7], zero(2, Sharing::PerImage)),
            case([3, 5, 13], identity(13, Entries::Uniform, Sharing::PerImage)),
            case([2, 65, 48], identity(48, Entries::Sign, Sharing::Batch)),
            case([2, 7, 131], identity(131, Entries::Normal, Sharing::Batch)),
            case([2, 7, 131], identity(131, Entries::Normal, Sharing::PerImage)),
            // Whole vectors of 8: in bf16 drawn inside the product, and as a matrix where many rows meet one.
            case([3, 70, 40], identity(40, Entries::Normal, Sharing::PerImage)),
            case([3, 9, 24], zero(200, Sharing::PerImage)),
            case([2, 9, 72], zero(16, Sharing::Batch)),
            case([3, 65, 40], zero(24, Sharing::Batch)),
        ],
        random: |draw: &mut Draw| {
            let k = draw.range(1, 40);
            let mean = draw.pick(&[Mean::Identity, Mean::Zero]);
            let matrix = Matrix {
                width: if mean == Mean::Identity { k } else { draw.range(1, 40) },
                entries: draw.pick(&ENTRIES),
                mean,
                sigma: draw.pick(&[0.0, 0.1, 1.0]),
                sharing: draw.pick(&[Sharing::Batch, Sharing::PerImage]),
            };
            case([draw.range(1, 4), draw.range(1, 9), k], matrix)
        },
        bench: vec![
            case([64, 65, 768], identity(768, Entries::Uniform, Sharing::Batch)),
            case([8, 65, 768], identity(768, Entries::Uniform, Sharing::PerImage)),
        ],
    }
}

fn case(dims: [usize; 3], matrix: Matrix) -> Case {
    Case::op(
        format!("{NAME} {dims:?} {matrix:?}"),
        vec![
            Input::new(&dims, Fill::Normal(1.0)),
            Input::new(&[STATE_WORDS], Fill::RandomState(2)),
            Input::new(&dims[..1], Fill::Ids),
        ],
        &[0],
        move |tape, inputs| stochastic_linear(tape, inputs[0], inputs[1], inputs[2], matrix, STREAM),
        move |inputs, dy| naive::<f32>(matrix, inputs, dy),
        move |inputs, dy| naive::<f64>(matrix, inputs, dy),
    )
}

fn naive<T: Real>(matrix: Matrix, inputs: &[Tensor], dy: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let state = <[u32; STATE_WORDS]>::try_from(inputs[1].values::<u32>()?)
        .map_err(|_| Error::new(NAME, "the random state must have four words"))?;
    let [b, n, k] = inputs[0].spec().array(NAME, "x")?;
    let philox = Philox::from_state(state, Stream::named(STREAM));
    let matrices = reference::matrices::<T>(matrix, k, &philox, inputs[2].values()?);
    let m = matrix.width;
    let mut results = vec![Tensor::new(&[b, n, m], &reference::product(&matrices, b, m, false, inputs[0].values()?))?];
    if let Some(dy) = dy {
        results.push(Tensor::new(&[b, n, k], &reference::product(&matrices, b, m, true, dy.values()?))?);
    }
    Ok(results)
}
