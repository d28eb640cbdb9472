//! Whether a prediction is right, per sample: 1 where the label's logit is the largest, else 0. No gradient.
//!
//! Of equal logits the first class is the prediction. A row that holds NaN predicts nothing and is never right.
//! As a mask it stops attacks early: only samples that are still right are stepped.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{
    Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, real,
};

use crate::common::specs::{logits_and_labels, streaming_cost};

const NAME: &str = "correct";

#[derive(Debug)]
struct Correct;

/// Records 1 or 0 per sample, of the logits' type: whether `logits` [b, k] are largest at `labels` i32 `[b]`.
///
/// # Errors
/// Shapes do not fit; at replay, a label that names no class.
pub fn correct(tape: &mut Tape, logits: Value, labels: Value) -> Result<Value> {
    tape.record(Correct, &[logits, labels])
}

impl Op for Correct {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        logits_and_labels(NAME, inputs, 1)
    }

    fn differentiable(&self, _inputs: &[Spec]) -> Inputs {
        Inputs::NONE
    }

    fn keeps(&self, _inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        Ok(Keeps::default())
    }

    fn scratch(&self, _inputs: &[Spec], _wanted: Inputs, _target: Target) -> Scratch {
        Scratch::default()
    }

    fn cost(&self, inputs: &[Spec], wanted: Inputs) -> Cost {
        streaming_cost(inputs, wanted, 1, 0)
    }

    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.output.spec().dtype, NAME, T => cpu::forward::<T>(io)),
            Exec::Cuda(exec) => cuda::forward(exec, &io),
            Exec::Wgpu(exec) => wgpu::forward(exec, &io),
        }
    }

    fn backward(&self, exec: &mut Exec, _io: Backward) -> Result<()> {
        match exec {
            Exec::Cpu(_) | Exec::Cuda(_) | Exec::Wgpu(_) => Err(Error::new(NAME, "has no gradient")),
        }
    }
}
