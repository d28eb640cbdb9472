//! What a training step minimises: one scalar over the batch in the inputs, for each method.
//!
//! | method | loss, `m` the mean over the batch |
//! |---|---|
//! | plain | `m CE(f(x), y)` |
//! | adversarial, `ce` | `m CE(f(x'), y)` (Madry et al., 1706.06083) |
//! | adversarial, `clean_and_attacked` | `m CE(f(x), y) + m CE(f(x'), y)` |
//! | adversarial, `trades` | `m CE(f(x), y) + beta m KL(f(x), f(x'))` (Zhang et al., 1901.08573) |
//! | adversarial, `mart` | `m mart(f(x), f(x'), y)`, see [`kernels::mart`] |
//! | nullspace | `m CE(f(x), y) + m CE(F(E(x) + v), y)` (2403.10476) |
//!
//! Nothing is detached: both branches of a loss have a gradient. There is one clean pass, where the authors of TRADES make two
//! that differ in nothing but the draws of stochastic parts.

use engine::{Result, Store, Tape, Value};
use kernels::combine::combine;
use kernels::cross_entropy::cross_entropy;
use kernels::kl_divergence::kl_divergence;
use kernels::mart::mart;
use kernels::weighted_mean::{Reduction, weighted_mean};
use models::Vit;
use models::vit::Run;

use crate::inputs::Inputs;
use crate::recipe::{Loss, Method};

/// Records TRADES from `clean` and `attacked` logits [b, k], soft `targets` [b, k] and sample `weights` `[b]`: the weighted mean
/// `[1]` of `CE(clean, targets) + beta KL(softmax(clean) || softmax(attacked))`.
///
/// # Errors
/// Shapes do not fit.
pub fn trades(
    tape: &mut Tape,
    clean: Value,
    attacked: Value,
    targets: Value,
    weights: Value,
    beta: f32,
) -> Result<Value> {
    let natural = cross_entropy(tape, clean, targets)?;
    let natural = weighted_mean(tape, natural, weights, Reduction::Mean)?;
    let divergence = kl_divergence(tape, clean, attacked)?;
    let divergence = weighted_mean(tape, divergence, weights, Reduction::Mean)?;
    combine(tape, &[(1.0, natural), (beta, divergence)])
}

/// A loss being recorded.
struct Recorder<'a> {
    tape: &'a mut Tape,
    store: &'a Store,
    model: &'a Vit,
    inputs: &'a Inputs,
}

/// Records the loss of `method` on the batch in `inputs`: `[1]`. `noise` [1, p, d] on the patch tokens is nullspace finetuning's.
///
/// # Errors
/// The variables belong to another store.
pub fn record(
    tape: &mut Tape,
    store: &Store,
    model: &Vit,
    inputs: &Inputs,
    method: &Method,
    noise: Option<Value>,
) -> Result<Value> {
    let mut recorder = Recorder { tape, store, model, inputs };
    match method {
        Method::Plain => {
            let clean = recorder.clean()?;
            recorder.cross_entropy(clean)
        }
        Method::Nullspace(_) => recorder.with_noise(noise),
        Method::Adversarial(adversarial) => recorder.adversarial(adversarial.loss),
    }
}

impl Recorder<'_> {
    fn adversarial(&mut self, loss: Loss) -> Result<Value> {
        match loss {
            Loss::Ce => {
                let attacked = self.attacked("")?;
                self.cross_entropy(attacked)
            }
            Loss::CleanAndAttacked => {
                let (clean, attacked) = self.both()?;
                let terms = [(1.0, self.cross_entropy(clean)?), (1.0, self.cross_entropy(attacked)?)];
                combine(self.tape, &terms)
            }
            Loss::Trades { beta } => {
                let (clean, attacked) = self.both()?;
                let targets = self.tape.var(self.store, self.inputs.targets)?;
                let weights = self.tape.var(self.store, self.inputs.weights)?;
                trades(self.tape, clean, attacked, targets, weights, beta)
            }
            Loss::Mart { beta } => {
                let (clean, attacked) = self.both()?;
                let labels = self.tape.var(self.store, self.inputs.labels)?;
                let losses = mart(self.tape, clean, attacked, labels, f64::from(beta))?;
                self.mean(losses)
            }
        }
    }

    fn with_noise(&mut self, noise: Option<Value>) -> Result<Value> {
        let images = self.tape.var(self.store, self.inputs.images)?;
        let patches = self.model.embed(self.tape, self.store, images)?;
        let clean = self.encode(patches, None, "")?;
        let clean = self.cross_entropy(clean)?;
        let noisy = self.encode(patches, noise, "noisy.")?;
        let noisy = self.cross_entropy(noisy)?;
        combine(self.tape, &[(1.0, clean), (1.0, noisy)])
    }

    /// Logits of clean and attacked images. The two passes draw independently.
    fn both(&mut self) -> Result<(Value, Value)> {
        let clean = self.clean()?;
        Ok((clean, self.attacked("attacked.")?))
    }

    fn clean(&mut self) -> Result<Value> {
        let images = self.tape.var(self.store, self.inputs.images)?;
        self.logits(images, "")
    }

    fn attacked(&mut self, tag: &str) -> Result<Value> {
        let images = self.tape.var(self.store, self.inputs.images)?;
        let delta = self.tape.var(self.store, self.inputs.delta)?;
        let attacked = combine(self.tape, &[(1.0, images), (1.0, delta)])?;
        self.logits(attacked, tag)
    }

    fn logits(&mut self, images: Value, tag: &str) -> Result<Value> {
        let patches = self.model.embed(self.tape, self.store, images)?;
        self.encode(patches, None, tag)
    }

    fn encode(&mut self, patches: Value, noise: Option<Value>, tag: &str) -> Result<Value> {
        let random = Some(self.inputs.draws(self.tape, self.store, self.inputs.random)?);
        let run = Run { random, drop_path: true, stochastic: true, gate: None, noise, tag };
        Ok(self.model.encode(self.tape, self.store, patches, &run)?.logits)
    }

    fn cross_entropy(&mut self, logits: Value) -> Result<Value> {
        let targets = self.tape.var(self.store, self.inputs.targets)?;
        let losses = cross_entropy(self.tape, logits, targets)?;
        self.mean(losses)
    }

    /// Mean over the samples that are not padding.
    fn mean(&mut self, losses: Value) -> Result<Value> {
        let weights = self.tape.var(self.store, self.inputs.weights)?;
        weighted_mean(self.tape, losses, weights, Reduction::Mean)
    }
}
