//! Optimizer state in a store, and the update of a flat gradient on a tape: norm, clip, step, average.

use engine::{DType, Error, Group, Result, Role, Spec, Store, Tape, Tensor, Value, Var};
use kernels::adamw::{AdamW, AdamWStep, adamw};
use kernels::common::decay::Decay;
use kernels::ema::ema;
use kernels::global_norm::global_norm;
use kernels::sgd::{Sgd, SgdStep, sgd};

use crate::recipe::Optimizer;

/// Variables of an optimizer.
#[derive(Clone, Debug)]
pub struct State {
    kind: Optimizer,
    params: Group,
    /// Momentum, or first and second moments: laid out as the parameters.
    pub moments: Vec<Group>,
    /// Steps done, u32 `[1]` (AdamW).
    pub steps: Var,
    /// Learning rate, f32 `[1]`: written by the host before a replay.
    pub lr: Var,
    /// Average of the weights, where there is one.
    pub average: Option<(Group, f64)>,
    decay: Decay,
}

impl State {
    /// Zeroed state for a group of parameters; the average starts at the parameters themselves.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(store: &mut Store, params: Group, kind: Optimizer, ema: Option<f64>) -> Result<Self> {
        let names: &[&str] = match kind {
            Optimizer::Sgd { momentum: 0.0, .. } => &[],
            Optimizer::Sgd { .. } => &["momentum"],
            Optimizer::Adamw { .. } => &["moment1", "moment2"],
        };
        let moments =
            names.iter().map(|name| store.group_like(name, Role::Optimizer, params)).collect::<Result<Vec<_>>>()?;
        let steps = store.single("steps", Role::Optimizer, Spec::new(DType::U32, &[1])?)?;
        let lr = store.data_var("lr", DType::F32, &[1])?;
        let average = match ema {
            Some(decay) => {
                let average = store.group_like("average", Role::Parameter, params)?;
                store.copy_group(params, average)?;
                Some((average, decay))
            }
            None => None,
        };
        let decay = match kind {
            Optimizer::Sgd { weight_decay, .. } => Decay::uniform(weight_decay),
            Optimizer::Adamw { weight_decay, .. } => timm_decay(store, params, weight_decay)?,
        };
        Ok(Self { kind, params, moments, steps, lr, average, decay })
    }

    /// As if no step had been made: the average starts at the parameters as they are.
    ///
    /// # Errors
    /// The device failed.
    pub fn reset(&self, store: &mut Store) -> Result<()> {
        for var in self.moments.iter().map(|&group| store.flat(group)).chain([self.steps]).collect::<Vec<_>>() {
            let zeros = Tensor::zeros(store.spec(var)?);
            store.write(var, &zeros)?;
        }
        match self.average {
            Some((average, _)) => store.copy_group(self.params, average),
            None => Ok(()),
        }
    }

    /// Records global norm, clipping, the update and the average. Returns (norm, clip factor) `[2]`.
    ///
    /// Where the norm is not finite the factor is 0, and the update leaves every state as it was.
    ///
    /// # Errors
    /// The gradient does not have the parameters' layout.
    pub fn record(&self, tape: &mut Tape, store: &Store, gradient: Value, clip: Option<f64>) -> Result<Value> {
        let norm = global_norm(tape, &[gradient], clip.unwrap_or(f64::INFINITY))?;
        let lr = tape.var(store, self.lr)?;
        let params = store.flat(self.params);
        let missing = || Error::new("optimizer", "state is missing");
        let moment = |at: usize| self.moments.get(at).map(|&group| store.flat(group)).ok_or_else(missing);
        match self.kind {
            Optimizer::Sgd { momentum, nesterov, .. } => {
                let kept = if momentum == 0.0 { None } else { Some(moment(0)?) };
                let options = Sgd { momentum, nesterov, decay: self.decay.clone() };
                let step = SgdStep { params, momentum: kept, gradients: gradient, lr, clip: norm };
                sgd(tape, store, options, step)?;
            }
            Optimizer::Adamw { beta1, beta2, eps, .. } => {
                let options = AdamW { betas: (beta1, beta2), eps, decay: self.decay.clone() };
                let step = AdamWStep {
                    params,
                    first_moment: moment(0)?,
                    second_moment: moment(1)?,
                    steps: self.steps,
                    gradients: gradient,
                    lr,
                    clip: norm,
                };
                adamw(tape, store, options, step)?;
            }
        }
        if let Some((average, decay)) = self.average {
            // A variable is read when the launch runs: after the update, as the average wants.
            let params = tape.var(store, params)?;
            ema(tape, store, store.flat(average), params, decay)?;
        }
        Ok(norm)
    }
}

/// Weight decay as timm applies it: to neither vectors nor tokens nor the position embedding.
fn timm_decay(store: &Store, params: Group, decay: f64) -> Result<Decay> {
    const EXEMPT: [&str; 4] = ["pos_embed", "cls_token", "dist_token", "reg_token"];
    let elements = store.elements(params)?;
    let decayed = elements.iter().filter(|(name, _, spec)| spec.shape.rank() >= 2 && !EXEMPT.contains(name));
    Decay::ranges(decayed.map(|(_, start, spec)| (*start..*start + spec.elements(), decay)))
}
