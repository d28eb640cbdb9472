//! Stochastic gradient descent with momentum (Sutskever et al., ICML 2013), as PyTorch's `SGD` computes it.
//!
//! `g' = c g + w p`, `u = mu u + g'`, `p = p - lr (g' + mu u)` with Nesterov's momentum, else `p = p - lr u`. c is the
//! clipping factor of [`global_norm`](crate::global_norm), w the weight decay. The first step needs no special case:
//! u starts at 0, so that it becomes g'. Where c is 0 or not finite nothing changes.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Error, Exec, Result, Spec, Store, Tape, Target, Update, UpdateIo, Value, Var, Work, real};

use crate::common::decay::Decay;
use crate::common::flat::is_vector;
use crate::common::specs::misfit;

const NAME: &str = "sgd";

/// What stays fixed during a run; the learning rate is an input.
#[derive(Clone, Debug)]
pub struct Sgd {
    /// mu, in 0..1.
    pub momentum: f64,
    /// Whether the step looks ahead.
    pub nesterov: bool,
    /// Weight decay, added to the gradient.
    pub decay: Decay,
}

/// Variables and values of an [`sgd`] step: vectors of n elements but for `lr` `[1]` and `clip` `[2]`, the result of
/// [`global_norm`](crate::global_norm::global_norm).
#[derive(Clone, Copy, Debug)]
pub struct SgdStep {
    /// Parameters.
    pub params: Var,
    /// u, zero at first; `None` exactly where the momentum is 0.
    pub momentum: Option<Var>,
    /// Their gradients.
    pub gradients: Value,
    /// Learning rate.
    pub lr: Value,
    /// (norm, factor) of the gradients.
    pub clip: Value,
}

/// Records one step of SGD.
///
/// # Errors
/// Shapes do not fit, or an option is out of range.
pub fn sgd(tape: &mut Tape, store: &Store, options: Sgd, step: SgdStep) -> Result<()> {
    let states: Vec<Var> = [step.params].into_iter().chain(step.momentum).collect();
    tape.update(store, options, &states, &[step.gradients, step.lr, step.clip])
}

impl Update for Sgd {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        self.decay.check().map_err(|error| error.within(NAME))?;
        if !(0.0..1.0).contains(&self.momentum) || (self.nesterov && self.momentum == 0.0) {
            return Err(Error::new(NAME, "the momentum is out of range")
                .with("momentum", self.momentum)
                .with("nesterov", self.nesterov)
                .help("give 0 to below 1, above 0 with Nesterov"));
        }
        let states = 1 + usize::from(self.momentum > 0.0);
        let fits = match (state, inputs) {
            ([params, ..], [gradients, lr, clip]) => {
                params.dtype.is_real()
                    && params.shape.rank() == 1
                    && state.len() == states
                    && state.iter().all(|state| state == params)
                    && gradients == params
                    && is_vector(lr, params, 1)
                    && is_vector(clip, params, 2)
            }
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let specs: Vec<Spec> = state.iter().chain(inputs).copied().collect();
        let names: &[&str] = if states == 2 {
            &["params", "momentum", "gradients", "lr", "clip"]
        } else {
            &["params", "gradients", "lr", "clip"]
        };
        Err(misfit(NAME, names, &specs, "vectors [n] of one float type, lr [1], clip [2]; momentum where it is not 0"))
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        0
    }

    fn cost(&self, state: &[Spec], _inputs: &[Spec]) -> Work {
        let (count, bytes) = state.first().map_or((0, 0), |params| (params.elements(), params.bytes()));
        Work::new(8 * count, (2 * state.len() + 1) * bytes)
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.inputs[0].spec().dtype, NAME, T => cpu::run::<T>(self, io)),
            Exec::Cuda(exec) => cuda::run(self, exec, &io),
            Exec::Wgpu(exec) => wgpu::run(self, exec, &io),
        }
    }
}
