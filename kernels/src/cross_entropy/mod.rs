//! Cross-entropy of logits z, per sample, with soft or hard targets.
//!
//! Soft: `loss = -sum_k t_k log p_k`, `p = softmax(z)`, `dz_k = (p_k sum_j t_j - t_k) dloss`. Terms with `t_k = 0` are left
//! out, so that a class may be switched off by a logit of -inf.
//!
//! Hard, with label smoothing s over k classes (Szegedy et al., 1512.00567, section 7): the same with
//! `t = (1 - s) onehot(y) + s / k`. Both give one loss per sample; weighting and averaging is another op's work.

pub mod cases;
mod cpu;
mod cuda;
pub(crate) mod reference;
mod wgpu;

use engine::{Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Target};
use engine::{Tape, Value, real};

use crate::common::specs::{logits_and_labels, logits_pair, streaming_cost};

const NAME: &str = "cross_entropy";

#[derive(Debug)]
enum CrossEntropy {
    Soft,
    Labels { smoothing: f64 },
}

/// Records the cross-entropy of `logits` [b, k] with the soft targets `targets` [b, k]: `[b]`, in nats. Only the logits have a
/// gradient.
///
/// # Errors
/// The two are not alike.
pub fn cross_entropy(tape: &mut Tape, logits: Value, targets: Value) -> Result<Value> {
    tape.record(CrossEntropy::Soft, &[logits, targets])
}

/// Records the cross-entropy of `logits` [b, k] with `labels` i32 `[b]` and label smoothing in [0, 1): `[b]`, in nats.
///
/// # Errors
/// Shapes do not fit or `smoothing` is out of range; at replay, a label that names no class.
pub fn cross_entropy_labels(tape: &mut Tape, logits: Value, labels: Value, smoothing: f64) -> Result<Value> {
    tape.record(CrossEntropy::Labels { smoothing }, &[logits, labels])
}

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        let output = match self {
            Self::Soft => logits_pair(NAME, &["logits", "targets"], inputs)?,
            Self::Labels { .. } => logits_and_labels(NAME, inputs, 1)?,
        };
        match *self {
            Self::Labels { smoothing } if !(0.0..1.0).contains(&smoothing) => {
                Err(Error::new(NAME, "label smoothing out of range")
                    .with("smoothing", smoothing)
                    .help("give 0 to below 1"))
            }
            Self::Soft | Self::Labels { .. } => Ok(output),
        }
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
        streaming_cost(inputs, wanted, 5, 8)
    }

    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.output.spec().dtype, NAME, T => match *self {
                Self::Soft => cpu::forward_soft::<T>(io),
                Self::Labels { smoothing } => cpu::forward_labels::<T>(io, smoothing),
            }),
            Exec::Cuda(exec) => cuda::forward(self, exec, &io),
            Exec::Wgpu(exec) => wgpu::forward(self, exec, &io),
        }
    }

    fn backward(&self, exec: &mut Exec, io: Backward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.d_output.spec().dtype, NAME, T => match *self {
                Self::Soft => cpu::backward_soft::<T>(io),
                Self::Labels { smoothing } => cpu::backward_labels::<T>(io, smoothing),
            }),
            Exec::Cuda(exec) => cuda::backward(self, exec, &io),
            Exec::Wgpu(exec) => wgpu::backward(self, exec, &io),
        }
    }
}
