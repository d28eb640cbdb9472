//! Momentum iterative FGSM (MIM, MI-FGSM; Dong et al., 1710.06081, algorithm 1): the step follows the accumulated direction
//! of the gradients instead of the last one, which makes adversarial images that transfer.
//!
//! `v = mu v + g / mean|g|` per sample, then the step of projected gradient descent along v: its sign in Linf, its direction
//! in L2. Draws of a randomised model are averaged before they are normalised. The paper divides by the sum of absolute
//! values, torchattacks by the mean: v differs by a factor that neither step sees.

use engine::{Result, Role, Store, Tape, Tensor, Value, Var};
use kernels::momentum::momentum;
use kernels::random_start::{Origin, Start, random_start};

use super::{AttackConfig, Start as From};
use crate::eps::Eps;
use crate::inputs::Inputs;

impl AttackConfig {
    /// MIM: mu 1, from the image itself. torchattacks takes 10 steps of 2/255, the paper 10 of eps / 10.
    pub fn mim(eps: Eps, alpha: Eps, steps: u32) -> Self {
        Self { eps, alpha, steps, start: From::Zero, momentum: Some(1.0), ..Self::default() }
    }
}

/// What accumulates, on the device.
#[derive(Clone, Copy)]
pub(super) struct Velocity {
    /// v, [b, c, h, w].
    velocity: Var,
    /// mu, `[1]`.
    decay: Var,
}

impl Velocity {
    /// Variables for a decay of `mu`.
    pub(super) fn new(store: &mut Store, inputs: &Inputs, mu: f64) -> Result<Self> {
        let velocity = store.single("attack.velocity", Role::Data, store.spec(inputs.delta)?)?;
        let decay = store.constant("attack.momentum", Role::Data, &Tensor::new(&[1], &[mu])?.cast::<f32>()?)?;
        Ok(Self { velocity, decay })
    }

    /// Records that v starts at 0.
    pub(super) fn clear(self, tape: &mut Tape, store: &Store, origin: Origin) -> Result<()> {
        random_start(tape, store, self.velocity, origin, Start::Zero, "attack.velocity")
    }

    /// Records the accumulation of `gradient`: v.
    pub(super) fn accumulate(self, tape: &mut Tape, store: &Store, gradient: Value) -> Result<Value> {
        let decay = tape.var(store, self.decay)?;
        momentum(tape, store, self.velocity, gradient, decay)?;
        tape.var(store, self.velocity)
    }
}
