//! Misclassification-aware loss of MART (Wang et al., ICLR 2020, "Improving Adversarial Robustness Requires Revisiting
//! Misclassified Examples"), per sample, with a gradient to both sides.
//!
//! With `p = softmax(a)` of the clean and `q = softmax(b)` of the attacked sample, and `k` the most probable class of q but the
//! label y: `loss = -log q_y - log(1.0001 - q_k + 1e-12) + beta K (1.0000001 - p_y)`,
//! `K = sum_j p_j (log p_j - log(q_j + 1e-12))`. The constants are those of the authors' code, which detaches nothing. Terms
//! with `p_j = 0` are 0; of equally probable wrong classes the first counts.
//!
//! With `W = 1.0000001 - p_y` and `s = q_k / (1.0001 - q_k + 1e-12)`:
//! `da_j = beta (W p_j (log p_j - log(q_j + 1e-12) - K) - K p_y ([j = y] - p_j))`,
//! `db_j = q_j - [j = y] + s ([j = k] - q_j) + beta W (q_j sum_i p_i f_i - p_j f_j)`, `f_i = q_i / (q_i + 1e-12)`.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{
    Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, real,
};

use crate::common::specs::{logits_and_labels, logits_pair, misfit, streaming_cost};

const NAME: &str = "mart";

/// Keeps log(1 - q_k) finite.
const CEILING: f64 = 1.0001 + FLOOR;
/// Keeps log q finite.
const FLOOR: f64 = 1e-12;
/// What the probability of the true class is taken from.
const WHOLE: f64 = 1.000_000_1;

#[derive(Debug)]
struct Mart {
    beta: f64,
}

/// Records the loss of `clean` and `attacked` logits [b, k >= 2] with `labels` i32 `[b]`: `[b]`, in nats. `beta` weighs the
/// divergence of the two; the authors take 5 or 6.
///
/// # Errors
/// Shapes do not fit, fewer than two classes, a `beta` that is negative or not finite; at replay, a label that names no class.
pub fn mart(tape: &mut Tape, clean: Value, attacked: Value, labels: Value, beta: f64) -> Result<Value> {
    tape.record(Mart { beta }, &[clean, attacked, labels])
}

impl Op for Mart {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        if !(self.beta.is_finite() && self.beta >= 0.0) {
            return Err(Error::new(NAME, "beta is negative or not finite").with("beta", self.beta).help("give 5 or 6"));
        }
        let &[clean, attacked, labels] = inputs else {
            return Err(misfit(NAME, &["clean", "attacked", "labels"], inputs, "logits [b, k] twice, labels i32 [b]"));
        };
        logits_pair(NAME, &["clean", "attacked"], &[clean, attacked])?;
        logits_and_labels(NAME, &[attacked, labels], 2)
    }

    fn differentiable(&self, _inputs: &[Spec]) -> Inputs {
        Inputs::of(&[0, 1])
    }

    fn keeps(&self, _inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        Ok(Keeps { inputs: Inputs::of(&[0, 1, 2]), ..Keeps::default() })
    }

    fn scratch(&self, _inputs: &[Spec], _wanted: Inputs, _target: Target) -> Scratch {
        Scratch::default()
    }

    fn cost(&self, inputs: &[Spec], wanted: Inputs) -> Cost {
        streaming_cost(inputs, wanted, 15, 20)
    }

    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.output.spec().dtype, NAME, T => cpu::forward::<T>(io, self.beta)),
            Exec::Cuda(exec) => cuda::forward(self.beta, exec, &io),
            Exec::Wgpu(exec) => wgpu::forward(self.beta, exec, &io),
        }
    }

    fn backward(&self, exec: &mut Exec, io: Backward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.d_output.spec().dtype, NAME, T => cpu::backward::<T>(io, self.beta)),
            Exec::Cuda(exec) => cuda::backward(self.beta, exec, &io),
            Exec::Wgpu(exec) => wgpu::backward(self.beta, exec, &io),
        }
    }
}
