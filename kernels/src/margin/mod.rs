//! Margin loss of Carlini and Wagner (1608.04644, eq. 6), per sample, as a quantity to be ascended.
//!
//! `m = max_{i != y} z_i - z_y`, positive where the sample is misclassified; with a cap kappa `min(m, kappa)`, which stops
//! the attack once it is that sure (Mo et al., 2210.07540, use 10). The true class is left out by selection: multiplying
//! its logit by 0 would make it the maximum of negative logits.
//!
//! Gradient: +1 for the runner-up (the first, of equals), -1 for y, and 0 beyond the cap.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{
    Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, real,
};

use crate::common::specs::{logits_and_labels, streaming_cost};

const NAME: &str = "margin";

#[derive(Debug)]
struct Margin {
    cap: Option<f64>,
}

/// Records the margin of `logits` [b, k >= 2] against `labels` i32 `[b]`: `[b]`. With a `cap`, at most that.
///
/// # Errors
/// Shapes do not fit, fewer than two classes, a cap that is no number; at replay, a label that names no class.
pub fn margin(tape: &mut Tape, logits: Value, labels: Value, cap: Option<f64>) -> Result<Value> {
    tape.record(Margin { cap }, &[logits, labels])
}

impl Op for Margin {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        if self.cap.is_some_and(f64::is_nan) {
            return Err(Error::new(NAME, "the cap is no number"));
        }
        logits_and_labels(NAME, inputs, 2)
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
        streaming_cost(inputs, wanted, 1, 1)
    }

    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.output.spec().dtype, NAME, T => cpu::forward::<T>(io, self.cap)),
            Exec::Cuda(exec) => cuda::forward(self.cap, exec, &io),
            Exec::Wgpu(exec) => wgpu::forward(self.cap, exec, &io),
        }
    }

    fn backward(&self, exec: &mut Exec, io: Backward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.d_output.spec().dtype, NAME, T => cpu::backward::<T>(io, self.cap)),
            Exec::Cuda(exec) => cuda::backward(self.cap, exec, &io),
            Exec::Wgpu(exec) => wgpu::backward(self.cap, exec, &io),
        }
    }
}
