//! Squared distance of softmaxes, per sample, with a gradient to both sides.
//!
//! `D = sum_k (p_k - q_k)^2` with `p = softmax(a)`, `q = softmax(b)`;
//! `da_k = 2 p_k ((p_k - q_k) - sum_j p_j (p_j - q_j)) dD`, and `db_k` likewise with p and q exchanged.
//! Its mean over a batch is the stop test of nullspace noise synthesis (Liu et al., 2024: `m < eps`).

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Backward, Cost, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, real};

use crate::common::specs::{logits_pair, streaming_cost};

const NAME: &str = "softmax_distance";

#[derive(Debug)]
struct SoftmaxDistance;

/// Records `sum_k (softmax(a)_k - softmax(b)_k)^2` of logits `a` and `b` [b, k]: `[b]`, in 0..=2.
///
/// # Errors
/// The two are not alike.
pub fn softmax_distance(tape: &mut Tape, a: Value, b: Value) -> Result<Value> {
    tape.record(SoftmaxDistance, &[a, b])
}

impl Op for SoftmaxDistance {
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
