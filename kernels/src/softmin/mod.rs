//! Smooth minimum of two losses per sample: `y = -log(e^-a + e^-b)`, the loss of added likelihoods.
//!
//! Folded over the cross-entropies of n draws of a randomised model it is `-log(sum_i p_i)`, the loss of the averaged softmax
//! but for log n (definition B.9). Gradients: `da = dy / (1 + e^(a - b))`, `db = dy / (1 + e^(b - a))`.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Backward, Cost, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, real};

use crate::common::specs::{misfit, streaming_cost};

const NAME: &str = "softmin";

#[derive(Debug)]
struct Softmin;

/// Records the smooth minimum of `a` and `b`, of one spec.
///
/// # Errors
/// Shapes differ.
pub fn softmin(tape: &mut Tape, a: Value, b: Value) -> Result<Value> {
    tape.record(Softmin, &[a, b])
}

impl Op for Softmin {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        match inputs {
            [a, b] if a.dtype.is_real() && a == b => Ok(*a),
            _ => Err(misfit(NAME, &["a", "b"], inputs, "both have one shape and one float type")),
        }
    }

    fn differentiable(&self, _inputs: &[Spec]) -> Inputs {
        Inputs::of(&[0, 1])
    }

    fn keeps(&self, _inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        Ok(Keeps { inputs: Inputs::of(&[0, 1]), ..Keeps::default() })
    }

    fn scratch(&self, _inputs: &[Spec], _wanted: Inputs, _target: Target) -> Scratch {
        Scratch::default()
    }

    fn cost(&self, inputs: &[Spec], wanted: Inputs) -> Cost {
        streaming_cost(inputs, wanted, 4, 4)
    }

    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.output.spec().dtype, NAME, T => cpu::forward::<T>(io)),
            Exec::Cuda(exec) => cuda::forward(exec, &io),
            Exec::Wgpu(exec) => wgpu::forward(exec, &io),
        }
    }

    fn backward(&self, exec: &mut Exec, io: Backward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.d_output.spec().dtype, NAME, T => cpu::backward::<T>(io)),
            Exec::Cuda(exec) => cuda::backward(exec, &io),
            Exec::Wgpu(exec) => wgpu::backward(exec, &io),
        }
    }
}
