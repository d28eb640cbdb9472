//! Losses of attacks toward a class t, per sample, as quantities to be ascended.
//!
//! Plain, `z_t - z_y`: what FAB-T linearises (Croce and Hein, 1907.02044). As a ratio (Croce and Hein, 2003.01690, eq. 7),
//! `DLR-T = (z_t - z_y) / (z_1 - (z_3 + z_4) / 2 + 1e-12)`, where z_1 >= z_2 >= z_3 >= z_4 are the largest logits.
//!
//! The gradient goes through the selected entries: with n the numerator and r the denominator, `1/r` to t, `-1/r` to y,
//! `-n/r^2` to z_1, `n/(2 r^2)` to z_3 and to z_4 (entries that coincide add up; of equals the first counts as larger).

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{
    Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, real,
};

use crate::common::specs::{logits_and_labels, misfit, streaming_cost};

const NAME: &str = "targeted";
/// Keeps the ratio finite where the largest logits are equal.
const TINY: f64 = 1e-12;

/// Which of the two losses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// The difference of two logits.
    None,
    /// Divided as DLR-T says: needs four classes.
    Dlr,
}

#[derive(Debug)]
struct Targeted {
    scale: Scale,
}

/// Records the loss of `logits` [b, k] toward the classes `targets` and away from `labels`, both i32 `[b]`: `[b]`.
///
/// # Errors
/// Shapes do not fit, or fewer than two classes (four for the ratio); at replay, a label or target that names no class.
pub fn targeted(tape: &mut Tape, logits: Value, labels: Value, targets: Value, scale: Scale) -> Result<Value> {
    tape.record(Targeted { scale }, &[logits, labels, targets])
}

impl Op for Targeted {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        let [logits, labels, targets] = inputs else {
            return Err(Error::new(NAME, "needs logits, labels and targets"));
        };
        if labels != targets {
            let specs = [*logits, *labels, *targets];
            return Err(misfit(NAME, &["logits", "labels", "targets"], &specs, "labels and targets are i32 [b]"));
        }
        let classes = match self.scale {
            Scale::None => 2,
            Scale::Dlr => 4,
        };
        logits_and_labels(NAME, &[*logits, *labels], classes)
    }

    fn differentiable(&self, _inputs: &[Spec]) -> Inputs {
        Inputs::of(&[0])
    }

    fn keeps(&self, _inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        Ok(Keeps { inputs: Inputs::of(&[0, 1, 2]), ..Keeps::default() })
    }

    fn scratch(&self, _inputs: &[Spec], _wanted: Inputs, _target: Target) -> Scratch {
        Scratch::default()
    }

    fn cost(&self, inputs: &[Spec], wanted: Inputs) -> Cost {
        streaming_cost(inputs, wanted, 4, 4)
    }

    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.output.spec().dtype, NAME, T => cpu::forward::<T>(self.scale, io)),
            Exec::Cuda(exec) => cuda::forward(self.scale, exec, &io),
            Exec::Wgpu(exec) => wgpu::forward(self.scale, exec, &io),
        }
    }

    fn backward(&self, exec: &mut Exec, io: Backward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.d_output.spec().dtype, NAME, T => cpu::backward::<T>(self.scale, io)),
            Exec::Cuda(exec) => cuda::backward(self.scale, exec, &io),
            Exec::Wgpu(exec) => wgpu::backward(self.scale, exec, &io),
        }
    }
}
