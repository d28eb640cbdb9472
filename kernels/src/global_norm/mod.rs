//! Norm of all gradients together, and the factor that clips it (Pascanu et al., 1211.5063, algorithm 1).
//!
//! `norm = sqrt(sum g^2)` over all elements of all inputs; `factor = min(1, max_norm / (norm + 1e-6))`, and 0 where the
//! norm is NaN or infinite: the optimizers leave such a step out, so that one bad loss never poisons the weights.
//! Sums are in f64, block by block, in a fixed order. No gradient.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{
    Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, Work, real,
};

use crate::common::flat::BLOCK;
use crate::common::specs::misfit;

const NAME: &str = "global_norm";
/// Keeps the factor finite where all gradients are 0.
const TINY: f64 = 1e-6;

#[derive(Debug)]
struct GlobalNorm {
    max_norm: f64,
}

/// Records (norm, factor) `[2]` of one to eight gradients of any shape. `max_norm` may be infinite: then nothing is clipped,
/// and the factor only tells whether the norm is finite.
///
/// # Errors
/// Dtypes differ, or `max_norm` is not positive.
pub fn global_norm(tape: &mut Tape, gradients: &[Value], max_norm: f64) -> Result<Value> {
    tape.record(GlobalNorm { max_norm }, gradients)
}

fn factor(norm: f64, max_norm: f64) -> f64 {
    if norm.is_finite() { (max_norm / (norm + TINY)).min(1.0) } else { 0.0 }
}

impl Op for GlobalNorm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        if self.max_norm.is_nan() || self.max_norm <= 0.0 {
            return Err(Error::new(NAME, "the largest norm must be positive").with("max_norm", self.max_norm));
        }
        match inputs {
            [first, rest @ ..] if first.dtype.is_real() && rest.iter().all(|spec| spec.dtype == first.dtype) => {
                Spec::new(first.dtype, &[2])
            }
            _ => Err(misfit(NAME, &["gradient"; 8], inputs, "give at least one gradient, all of one float type")),
        }
    }

    fn differentiable(&self, _inputs: &[Spec]) -> Inputs {
        Inputs::NONE
    }

    fn keeps(&self, _inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        Ok(Keeps::default())
    }

    fn scratch(&self, inputs: &[Spec], _wanted: Inputs, target: Target) -> Scratch {
        let forward = match target {
            Target::Cpu { .. } => {
                inputs.iter().map(|spec| spec.elements().div_ceil(BLOCK)).sum::<usize>() * size_of::<f64>()
            }
            Target::Cuda(_) => cuda::scratch(inputs),
            Target::Wgpu(caps) => wgpu::scratch(inputs, caps),
        };
        Scratch { forward, backward: 0 }
    }

    fn cost(&self, inputs: &[Spec], _wanted: Inputs) -> Cost {
        let count: usize = inputs.iter().map(Spec::elements).sum();
        let bytes: usize = inputs.iter().map(Spec::bytes).sum();
        Cost { forward: Work::new(2 * count, bytes), backward: Work::default() }
    }

    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.output.spec().dtype, NAME, T => cpu::forward::<T>(io, self.max_norm)),
            Exec::Cuda(exec) => cuda::forward(self.max_norm, exec, &io),
            Exec::Wgpu(exec) => wgpu::forward(self.max_norm, exec, &io),
        }
    }

    fn backward(&self, exec: &mut Exec, _io: Backward) -> Result<()> {
        match exec {
            Exec::Cpu(_) | Exec::Cuda(_) | Exec::Wgpu(_) => Err(Error::new(NAME, "has no gradient")),
        }
    }
}
