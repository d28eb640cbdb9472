//! Expectation over transformation (Athalye et al., 1707.07397): gradients of a randomised model, over several draws.

use engine::{Error, Result, Tape, Value};
use kernels::combine::combine;
use kernels::softmin::softmin;
use serde::{Deserialize, Serialize};

/// What is averaged over the draws of a randomised model (definition B.9).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EotLoss {
    /// The loss: the gradient is the mean of the draws' gradients, taken before any sign.
    #[default]
    MeanLoss,
    /// The probability of the label: the loss of the averaged softmax, `-log((1/n) sum p_i)`. Draws that are sure already do
    /// not outweigh the others. For cross-entropy with hard labels.
    MeanProbability,
}

/// Records the gradient to `wanted` of the losses `[b]` that `loss` records for a draw whose stream names begin with the
/// given tag, over `draws` draws: up to a positive factor per sample, which no attack's step sees.
///
/// # Errors
/// Those of `loss`; 0 draws.
pub(super) fn gradient(
    tape: &mut Tape,
    draws: u32,
    kind: EotLoss,
    wanted: Value,
    loss: impl Fn(&mut Tape, &str) -> Result<Value>,
) -> Result<Value> {
    let tags: Vec<String> =
        (0..draws).map(|draw| if draws > 1 { format!("eot{draw}.") } else { String::new() }).collect();
    let record = |tape: &mut Tape, name: &str, tag: &str| {
        tape.scope(format!("{name}{}", tag.trim_end_matches('.')), |tape| loss(tape, tag))
    };
    // Draws are computed twice: to know their shares, and again, one at a time, for their gradients. So memory does not grow
    // with their number.
    let shares = match kind {
        EotLoss::MeanProbability if draws > 1 => {
            let losses: Vec<Value> = tags.iter().map(|tag| record(tape, "share", tag)).collect::<Result<_>>()?;
            shares(tape, &losses)?.into_iter().map(Some).collect()
        }
        _ => vec![None; tags.len()],
    };
    let mut sum: Option<Value> = None;
    for (tag, share) in tags.iter().zip(shares) {
        let losses = record(tape, "attack", tag)?;
        // The gradient of the sum over samples: each sample's own, whatever the batch.
        let one = tape.backward(losses, share, &[wanted], &[])?.values;
        let one = *one.first().ok_or_else(|| Error::new("attack", "no gradient"))?;
        sum = Some(match sum {
            Some(sum) => combine(tape, &[(1.0, sum), (1.0, one)])?,
            None => one,
        });
    }
    sum.ok_or_else(|| Error::new("attack", "eot is 0"))
}

/// The share of each draw's likelihood in their sum, `p_i / sum_j p_j` with `p = e^-loss`: the gradient of the smooth minimum of
/// the losses to each of them.
fn shares(tape: &mut Tape, losses: &[Value]) -> Result<Vec<Value>> {
    let mut all: Option<Value> = None;
    for &loss in losses {
        all = Some(match all {
            Some(all) => softmin(tape, all, loss)?,
            None => loss,
        });
    }
    let all = all.ok_or_else(|| Error::new("attack", "eot is 0"))?;
    tape.gradients(all, losses)
}
