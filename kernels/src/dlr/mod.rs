//! Difference of logits ratio (Croce and Hein, 2003.01690, eq. 6), per sample, as a quantity to be ascended.
//!
//! `DLR = -(z_y - max_{i != y} z_i) / (z_1 - z_3 + 1e-12)`, where z_1 >= z_2 >= z_3 are the largest logits. Unlike
//! cross-entropy it does not vanish when the logits are scaled up. The gradient goes through the selected entries:
//! with n the numerator and r the denominator, `1/r` to the runner-up, `-1/r` to y, `-n/r^2` to z_1, `n/r^2` to z_3
//! (entries that coincide add up; of equals the first counts as larger).

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Backward, Cost, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, real};

use crate::common::specs::{logits_and_labels, streaming_cost};

const NAME: &str = "dlr";
/// Keeps the ratio finite where the three largest logits are equal.
const TINY: f64 = 1e-12;

#[derive(Debug)]
struct Dlr;

/// Records the difference of logits ratio of `logits` [b, k >= 3] for `labels` i32 `[b]`: `[b]`.
///
/// # Errors
/// Shapes do not fit, or fewer than three classes; at replay, a label that names no class.
pub fn dlr(tape: &mut Tape, logits: Value, labels: Value) -> Result<Value> {
    tape.record(Dlr, &[logits, labels])
}

impl Op for Dlr {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        logits_and_labels(NAME, inputs, 3)
    }

    fn differentiable(&self, _inputs: &[Spec]) -> Inputs {
        Inputs::of(&[0])
    }

    fn keeps(&self, _inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        Ok(Keeps { inputs: Inputs::of(&[0, 1]), ..Keeps::default() })
    }

    fn scratch(&self, _inputs: &[Spec], _wanted: Inputs, _target: Target) -> Scratch {
        Scratch::default()
    }

    fn cost(&self, inputs: &[Spec], wanted: Inputs) -> Cost {
        streaming_cost(inputs, wanted, 3, 3)
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
