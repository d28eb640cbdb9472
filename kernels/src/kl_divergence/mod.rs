//! Kullback-Leibler divergence of softmaxes, per sample, with a gradient to both sides.
//!
//! `KL = sum_k p_k (log p_k - log q_k)` with `p = softmax(a)`, `q = softmax(b)`;
//! `da_k = p_k (log p_k - log q_k - KL) dKL`, `db_k = (q_k - p_k) dKL`. Terms with `p_k = 0` are 0.
//!
//! TRADES (Zhang et al., 1901.08573) needs both: its official code does not detach the clean side.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Backward, Cost, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, real};

use crate::common::specs::{logits_pair, streaming_cost};

const NAME: &str = "kl_divergence";

#[derive(Debug)]
struct KlDivergence;

/// Records `KL(softmax(a) || softmax(b))` of logits `a` and `b` [b, k]: `[b]`, in nats.
///
/// # Errors
/// The two are not alike.
pub fn kl_divergence(tape: &mut Tape, a: Value, b: Value) -> Result<Value> {
    tape.record(KlDivergence, &[a, b])
}

impl Op for KlDivergence {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        logits_pair(NAME, &["a", "b"], inputs)
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
        streaming_cost(inputs, wanted, 12, 12)
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
