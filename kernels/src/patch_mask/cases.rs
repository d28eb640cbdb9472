//! Cases of patch_mask.

use engine::rng::{Philox, Stream};
use engine::{Error, Real, Result, Tensor};

use super::{NAME, masked, patch_mask, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

const STREAM: &str = "attack.mask";

/// The cases of patch_mask.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            case([1, 1, 1, 1], 1, 0.5),
            case([2, 3, 32, 32], 4, 0.3),
            case([3, 1, 28, 28], 7, 0.9),
            case([2, 2, 10, 15], 5, 0.5),
            case([2, 3, 8, 8], 4, 0.0),
            case([2, 3, 8, 8], 4, 1.0),
            case([1, 3, 14, 7], 1, 0.4),
            case([2, 1, 37, 31], 1, 0.5), // more patches than a block draws at a time
        ],
        random: |draw: &mut Draw| {
            let patch = draw.range(1, 4);
            let dims = [draw.range(1, 3), draw.range(1, 3), patch * draw.range(1, 5), patch * draw.range(1, 5)];
            case(dims, patch, draw.pick(&[0.0, 0.1, 0.4, 0.5, 0.75]))
        },
        bench: vec![case([64, 3, 32, 32], 4, 0.5), case([8, 3, 224, 224], 16, 0.5)],
    }
}

fn case(dims: [usize; 4], patch: usize, keep: f32) -> Case {
    let inputs = vec![
        Input::new(&dims, Fill::Normal(1.0)),
        Input::new(&[1], Fill::Exactly(vec![keep])),
        Input::new(&[4], Fill::RandomState(5)),
    ];
    Case::update(
        format!("{NAME} {dims:?} patch {patch} keep {keep}"),
        inputs,
        1,
        move |tape, store, states, x| patch_mask(tape, store, states[0], x[0], x[1], patch, STREAM),
        move |inputs, _| naive::<f32>(dims, patch, inputs),
        move |inputs, _| naive::<f64>(dims, patch, inputs),
    )
}

fn naive<T: Real>(dims: [usize; 4], patch: usize, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let words = inputs[2].values::<u32>()?.try_into().map_err(|_| Error::new(NAME, "no random state"))?;
    let philox = Philox::from_state(words, Stream::named(STREAM));
    let patches = dims[2] / patch * (dims[3] / patch);
    let mut delta = inputs[0].values::<T>()?.to_vec();
    let count = masked(patches, inputs[1].values::<T>()?[0].to_f64());
    reference::mask(&mut delta, dims, patch, philox, count);
    Ok(vec![Tensor::new(&dims, &delta)?])
}
