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

/// Records the mean of the values `[b]` that `value` records for a draw, over `draws` draws whose stream names begin with
/// `name` and their number.
///
/// # Errors
/// Those of `value`; 0 draws.
pub(super) fn mean(
    tape: &mut Tape,
    draws: u32,
    name: &str,
    value: impl Fn(&mut Tape, &str) -> Result<Value>,
) -> Result<Value> {
    #[expect(clippy::cast_precision_loss, reason = "a number of draws")]
    let weight = 1.0 / draws.max(1) as f32;
    let mut sum: Option<Value> = None;
    for draw in 0..draws {
        let one = value(tape, &format!("{name}{draw}."))?;
        sum = Some(match sum {
            Some(sum) => combine(tape, &[(1.0, sum), (weight, one)])?,
            None => combine(tape, &[(weight, one)])?,
        });
    }
    sum.ok_or_else(|| Error::new("attack", "a mean of 0 draws"))
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

#[cfg(test)]
mod tests {
    use engine::{DType, Device, Role, Store, Tensor};
    use kernels::cross_entropy::cross_entropy_labels;

    use super::*;

    const FACTORS: [f32; 4] = [0.3, -1.0, 2.5, 0.7];

    /// The gradient to logits of two samples whose draws multiply them by the factors.
    fn drawn(kind: EotLoss) -> Vec<f64> {
        let mut store = Store::new(Device::cpu(Some(1)).unwrap()).unwrap();
        let z = Tensor::new(&[2, 3], &LOGITS.concat()).unwrap();
        let z = store.constant("z", Role::Data, &z).unwrap();
        let labels = store.data_var("labels", DType::I32, &[2]).unwrap();
        store.write_values(labels, &[0, 2]).unwrap();
        let mut tape = Tape::new();
        let (z, labels) = (tape.var(&store, z).unwrap(), tape.var(&store, labels).unwrap());
        let gradient = gradient(&mut tape, 4, kind, z, |tape, tag| {
            let draw: usize = tag.trim_start_matches("eot").trim_end_matches('.').parse().unwrap();
            let logits = combine(tape, &[(FACTORS[draw], z)])?;
            cross_entropy_labels(tape, logits, labels, 0.0)
        })
        .unwrap();
        let plan = tape.plan(&mut store, &[gradient]).unwrap();
        plan.replay(&mut store).unwrap();
        plan.read(&store, gradient).unwrap().to_f64()
    }

    const LOGITS: [[f32; 3]; 2] = [[0.5, 2.0, -1.0], [0.1, 0.2, 0.9]];

    fn softmax(z: [f32; 3], factor: f32) -> [f64; 3] {
        let powers = z.map(|z| (f64::from(z) * f64::from(factor)).exp());
        powers.map(|power| power / powers.iter().sum::<f64>())
    }

    #[test]
    fn gradients_are_those_of_the_mean_loss_and_of_the_averaged_probability() {
        let (losses, likelihoods) = (drawn(EotLoss::MeanLoss), drawn(EotLoss::MeanProbability));
        for (sample, label) in [(0, 0), (1, 2)] {
            let draws = FACTORS.map(|factor| softmax(LOGITS[sample], factor));
            let total: f64 = draws.iter().map(|p| p[label]).sum();
            for k in 0..3 {
                let slope = |p: [f64; 3]| p[k] - f64::from(u8::from(k == label));
                let each = FACTORS.iter().zip(draws);
                let mean: f64 = each.clone().map(|(&factor, p)| f64::from(factor) * slope(p)).sum();
                let shared: f64 = each.map(|(&factor, p)| f64::from(factor) * slope(p) * p[label] / total).sum();
                assert!((losses[3 * sample + k] - mean).abs() < 1e-5, "{losses:?} {mean}");
                assert!((likelihoods[3 * sample + k] - shared).abs() < 1e-5, "{likelihoods:?} {shared}");
            }
        }
    }
}
