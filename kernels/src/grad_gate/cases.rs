//! Cases of grad_gate.

use engine::rng::{Philox, STATE_WORDS, Stream};
use engine::{Error, Real, Result, Tensor};

use super::{NAME, grad_gate, reference};
use crate::cases::{Case, Draw, Fill, Input, OpCases};

const STREAM: &str = "blocks.3.ard";

/// The cases of grad_gate.
pub fn cases() -> OpCases {
    OpCases {
        name: NAME,
        cases: vec![
            case(&[1], 1.0, 0),
            case(&[3, 5, 7], 0.0, 0),
            case(&[3, 5, 7], 0.5, 1),
            case(&[3, 5, 7], 0.5, 2),
            case(&[2, 65, 48], 0.5, 3),
            case(&[2, 197, 131], 1.0, 4),
        ],
        random: |draw: &mut Draw| {
            let dims = [draw.range(1, 4), draw.range(1, 9), draw.range(1, 20)];
            case(&dims, draw.pick(&[0.0, 0.3, 0.7, 1.0]), u32::try_from(draw.range(0, 1000)).unwrap_or(0))
        },
        bench: vec![case(&[64, 65, 192], 1.0, 0)],
    }
}

fn case(dims: &[usize], keep: f32, step: u32) -> Case {
    let case = Case::op(
        format!("{NAME} {dims:?} keep {keep} step {step}"),
        vec![
            Input::new(dims, Fill::Normal(1.0)),
            Input::new(&[STATE_WORDS], Fill::RandomState(step)),
            Input::new(&[1], Fill::Exactly(vec![keep])).always_f32(),
        ],
        &[0],
        |tape, inputs| grad_gate(tape, inputs[0], inputs[1], inputs[2], STREAM),
        naive::<f32>,
        naive::<f64>,
    );
    // A closed gate's gradient is not that of the identity: that is the method. An always open one is checked.
    if keep < 1.0 { case.not_differentiable() } else { case }
}

fn naive<T: Real>(inputs: &[Tensor], dy: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let state = <[u32; STATE_WORDS]>::try_from(inputs[1].values::<u32>()?)
        .map_err(|_| Error::new(NAME, "the random state must have four words"))?;
    let uniform = Philox::from_state(state, Stream::named(STREAM)).uniform(0, 0);
    let mut results = vec![inputs[0].clone()];
    if let Some(dy) = dy {
        results.push(Tensor::new(dy.dims(), &reference::backward(uniform, inputs[2].values::<T>()?[0], dy.values()?))?);
    }
    Ok(results)
}
