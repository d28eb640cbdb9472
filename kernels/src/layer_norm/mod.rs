//! Layer normalisation over the last dimension: `y = xhat * weight + bias`, `xhat = (x - mean) * rstd`,
//! `rstd = 1 / sqrt(var + eps)`, var the mean square of `x - mean`.
//!
//! Gradients, with `g = dy * weight` and means over the row: `dx = rstd * (g - mean(g) - xhat * mean(g * xhat))`,
//! `dweight = sum over rows of dy * xhat`, `dbias = sum over rows of dy`.
//! Ba, Kiros, Hinton, "Layer Normalization" (1607.06450).
//!
//! Kept for backward: x, weight, and mean and rstd of each row. Rows are summed in blocks whose size depends on the number
//! of rows alone, and blocks in their order.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{
    Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, Work, real,
};

use crate::common::specs;

const NAME: &str = "layer_norm";

#[derive(Debug)]
struct LayerNorm {
    eps: f32,
}

/// Records the layer normalisation of `x` `[.., d]` with `weight` and `bias` `[d]`.
///
/// # Errors
/// The shapes or dtypes do not fit, or `eps` is not positive and finite.
pub fn layer_norm(tape: &mut Tape, x: Value, weight: Value, bias: Value, eps: f32) -> Result<Value> {
    tape.record(LayerNorm { eps }, &[x, weight, bias])
}

/// Rows that one partial sum of the gradients of weight and bias covers: at most 64 sums, however many the rows.
fn rows_per_sum(rows: usize) -> usize {
    rows.div_ceil(64).max(16)
}

impl Op for LayerNorm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        let [x, weight, bias] = specs::take(NAME, inputs)?;
        specs::float(NAME, "x", x)?;
        let row = Spec::new(x.dtype, &[x.shape.last()])?;
        if weight != row || bias != row {
            return Err(Error::new(NAME, "the shapes do not fit")
                .with("x", x)
                .with("weight", weight)
                .with("bias", bias)
                .help("weight and bias have the length of x's last dimension"));
        }
        if self.eps > 0.0 && self.eps.is_finite() {
            return Ok(x);
        }
        Err(Error::new(NAME, "eps must be positive and finite").with("eps", self.eps))
    }

    fn differentiable(&self, inputs: &[Spec]) -> Inputs {
        Inputs::first(inputs.len())
    }

    fn keeps(&self, inputs: &[Spec], wanted: Inputs) -> Result<Keeps> {
        let normalised = wanted.has(0) || wanted.has(1);
        let statistics = match inputs.first() {
            // Rounding a row's statistics to bf16 would be one error in all of the row's gradients.
            Some(x) if normalised => vec![Spec::new(x.dtype.wide(), &[x.shape.rows()])?; 2],
            _ => Vec::new(),
        };
        let inputs = Inputs::NONE.and_if(normalised, 0).and_if(wanted.has(0), 1);
        Ok(Keeps { inputs, extras: statistics, ..Keeps::default() })
    }

    fn scratch(&self, inputs: &[Spec], wanted: Inputs, target: Target) -> Scratch {
        let Some(x) = inputs.first() else { return Scratch::default() };
        let summed = wanted.has(1) || wanted.has(2);
        let backward = match target {
            Target::Cpu { workers } => {
                let rows = x.shape.rows();
                let sums = if summed { rows.div_ceil(rows_per_sum(rows)) } else { 0 };
                (sums + workers) * 2 * x.shape.last() * x.dtype.size()
            }
            Target::Cuda(caps) if summed => cuda::scratch(*x, caps),
            Target::Cuda(_) => 0,
            Target::Wgpu(caps) if summed => wgpu::scratch(*x, caps),
            Target::Wgpu(_) => 0,
        };
        Scratch { forward: 0, backward }
    }

    fn cost(&self, inputs: &[Spec], wanted: Inputs) -> Cost {
        let (count, bytes) = specs::size(inputs, 0);
        let flops = 9 * usize::from(wanted.has(0)) + 4 * usize::from(wanted.has(1)) + usize::from(wanted.has(2));
        Cost {
            forward: Work::new(7 * count, 2 * bytes),
            backward: Work::new(flops * count, (2 + usize::from(wanted.has(0))) * bytes),
        }
    }

    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.output.spec().dtype, NAME, T => cpu::forward::<T>(self.eps, io)),
            Exec::Cuda(exec) => cuda::forward(self.eps, exec, &io),
            Exec::Wgpu(exec) => wgpu::forward(self.eps, exec, &io),
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
