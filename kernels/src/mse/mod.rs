//! Squared differences, per sample, with a gradient to both sides.
//!
//! `D = s sum_i (a_i - b_i)^2` over the elements of a sample, with s = 1 ([`squared_distance`]) or 1 / elements ([`mse`]);
//! `da = 2 s (a - b) dD`, `db = -da`.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Backward, Cost, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, real};

use crate::common::specs::{misfit, per_sample, streaming_cost};

const NAME: &str = "mse";

#[derive(Debug)]
struct SquaredError {
    mean: bool,
}

/// Records the mean over a sample's elements of `(a - b)^2`; `a` and `b` are [b, ...], the result is `[b]`.
///
/// # Errors
/// The two are not alike, or have no elements per sample.
pub fn mse(tape: &mut Tape, a: Value, b: Value) -> Result<Value> {
    tape.record(SquaredError { mean: true }, &[a, b])
}

/// Records the sum over a sample's elements of `(a - b)^2`; `a` and `b` are [b, ...], the result is `[b]`.
///
/// # Errors
/// As [`mse`].
pub fn squared_distance(tape: &mut Tape, a: Value, b: Value) -> Result<Value> {
    tape.record(SquaredError { mean: false }, &[a, b])
}

impl Op for SquaredError {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        match inputs {
            [a, b] if a == b && a.dtype.is_real() && a.shape.rank() > 0 && a.elements() > 0 => per_sample(a),
            _ => Err(misfit(NAME, &["a", "b"], inputs, "both are [b, ...] of one float type, and not empty")),
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
        streaming_cost(inputs, wanted, 3, 2)
    }

    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.output.spec().dtype, NAME, T => cpu::forward::<T>(io, self.mean)),
            Exec::Cuda(exec) => cuda::forward(self.mean, exec, &io),
            Exec::Wgpu(exec) => wgpu::forward(self.mean, exec, &io),
        }
    }

    fn backward(&self, exec: &mut Exec, io: Backward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.d_output.spec().dtype, NAME, T => cpu::backward::<T>(io, self.mean)),
            Exec::Cuda(exec) => cuda::backward(self.mean, exec, &io),
            Exec::Wgpu(exec) => wgpu::backward(self.mean, exec, &io),
        }
    }
}
