//! Adam with decoupled weight decay (Loshchilov and Hutter, 1711.05101, algorithm 2), as PyTorch's `AdamW` computes it.
//!
//! With t counting from 1: `g' = c g`, `p = (1 - lr w) p`, `m = b1 m + (1 - b1) g'`, `v = b2 v + (1 - b2) g'^2`,
//! `p = p - lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps)`. c is the clipping factor of
//! [`global_norm`](crate::global_norm), w the weight decay. Where c is 0 or not finite nothing changes, t included.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{DType, Error, Exec, Result, Spec, Store, Tape, Target, Update, UpdateIo, Value, Var, Work, real};

use crate::common::decay::Decay;
use crate::common::flat::is_vector;
use crate::common::specs::misfit;

const NAME: &str = "adamw";

/// What stays fixed during a run; the learning rate is an input.
#[derive(Clone, Debug)]
pub struct AdamW {
    /// (b1, b2), each in 0..1.
    pub betas: (f64, f64),
    /// Keeps the division finite; positive.
    pub eps: f64,
    /// Weight decay, times the learning rate.
    pub decay: Decay,
}

impl Default for AdamW {
    /// PyTorch's: betas .9 and .999, eps 1e-8, weight decay .01 everywhere.
    fn default() -> Self {
        Self { betas: (0.9, 0.999), eps: 1e-8, decay: Decay::uniform(0.01) }
    }
}

/// Variables and values of an [`adamw`] step: vectors of n elements but for `steps` u32 `[1]`, `lr` `[1]` and `clip` `[2]`, the
/// result of [`global_norm`](crate::global_norm::global_norm).
#[derive(Clone, Copy, Debug)]
pub struct AdamWStep {
    /// Parameters.
    pub params: Var,
    /// m, zero at first.
    pub first_moment: Var,
    /// v, zero at first.
    pub second_moment: Var,
    /// Steps taken so far: t before this one.
    pub steps: Var,
    /// The parameters' gradients.
    pub gradients: Value,
    /// Learning rate.
    pub lr: Value,
    /// (norm, factor) of the gradients.
    pub clip: Value,
}

/// Records one step of AdamW.
///
/// # Errors
/// Shapes do not fit, or an option is out of range.
pub fn adamw(tape: &mut Tape, store: &Store, options: AdamW, step: AdamWStep) -> Result<()> {
    let states = [step.params, step.first_moment, step.second_moment, step.steps];
    tape.update(store, options, &states, &[step.gradients, step.lr, step.clip])
}

impl Update for AdamW {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        self.decay.check().map_err(|error| error.within(NAME))?;
        let (b1, b2) = self.betas;
        let sound = [b1, b2].iter().all(|beta| (0.0..1.0).contains(beta)) && self.eps.is_finite() && self.eps > 0.0;
        if !sound {
            return Err(Error::new(NAME, "an option is out of range")
                .with("betas", format!("{b1}, {b2}"))
                .with("eps", self.eps)
                .help("betas lie in 0..1, eps is positive"));
        }
        match (state, inputs) {
            ([params, first, second, steps], [gradients, lr, clip])
                if params.dtype.is_real()
                    && params.shape.rank() == 1
                    && [first, second, gradients].iter().all(|spec| *spec == params)
                    && steps.dtype == DType::U32
                    && steps.dims() == [1]
                    && is_vector(lr, params, 1)
                    && is_vector(clip, params, 2) =>
            {
                Ok(())
            }
            _ => {
                let names = ["params", "first moment", "second moment", "steps", "gradients", "lr", "clip"];
                let specs: Vec<Spec> = state.iter().chain(inputs).copied().collect();
                Err(misfit(NAME, &names, &specs, "vectors [n] of one float type, steps u32 [1], lr [1], clip [2]"))
            }
        }
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], target: Target) -> usize {
        match target {
            Target::Cpu { .. } => 0,
            Target::Cuda(_) => cuda::SCRATCH,
            Target::Wgpu(_) => wgpu::SCRATCH,
        }
    }

    fn cost(&self, state: &[Spec], _inputs: &[Spec]) -> Work {
        let (count, bytes) = state.first().map_or((0, 0), |params| (params.elements(), params.bytes()));
        Work::new(14 * count, 7 * bytes)
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.inputs[0].spec().dtype, NAME, T => cpu::run::<T>(self, io)),
            Exec::Cuda(exec) => cuda::run(self, exec, &io),
            Exec::Wgpu(exec) => wgpu::run(self, exec, &io),
        }
    }
}
