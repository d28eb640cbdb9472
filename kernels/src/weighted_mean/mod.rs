//! Per-sample values into one number: `y = sum(w * v) / sum(w)`, or `y = sum(w * v)`.
//!
//! Gradient: `dv[i] = dy * w[i] / sum(w)`, or `dy * w[i]`. Weights have none. A weight of 0 leaves a sample out: a short
//! last batch is padded and weighs its padding 0, whose values must still be finite. If all weights are 0 the mean is NaN.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{
    Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, Work, real,
};

use crate::common::specs;

const NAME: &str = "weighted_mean";

/// What becomes of weighted values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reduction {
    /// Their sum over the sum of the weights.
    Mean,
    /// Their sum.
    Sum,
}

/// Records the weighted mean or sum of `values` `[b]` with `weights` `[b]`; the result is `[1]`.
///
/// # Errors
/// Shapes or dtypes differ.
pub fn weighted_mean(tape: &mut Tape, values: Value, weights: Value, reduction: Reduction) -> Result<Value> {
    tape.record(reduction, &[values, weights])
}

impl Op for Reduction {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        let [values, weights] = specs::take(NAME, inputs)?;
        specs::float(NAME, "values", values)?;
        if values == weights && values.shape.rank() == 1 {
            return Spec::new(values.dtype, &[1]);
        }
        Err(Error::new(NAME, "values and weights must both be [b]").with("values", values).with("weights", weights))
    }

    fn differentiable(&self, _inputs: &[Spec]) -> Inputs {
        Inputs::of(&[0])
    }

    fn keeps(&self, _inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        Ok(Keeps { inputs: Inputs::of(&[1]), ..Keeps::default() })
    }

    fn scratch(&self, _inputs: &[Spec], _wanted: Inputs, _target: Target) -> Scratch {
        Scratch::default()
    }

    fn cost(&self, inputs: &[Spec], _wanted: Inputs) -> Cost {
        let (count, bytes) = specs::size(inputs, 0);
        Cost { forward: Work::new(3 * count, 2 * bytes), backward: Work::new(2 * count, 2 * bytes) }
    }

    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.output.spec().dtype, NAME, T => cpu::forward::<T>(*self, io)),
            Exec::Cuda(exec) => cuda::forward(*self, exec, &io),
            Exec::Wgpu(exec) => wgpu::forward(*self, exec, &io),
        }
    }

    fn backward(&self, exec: &mut Exec, io: Backward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.d_output.spec().dtype, NAME, T => cpu::backward::<T>(*self, io)),
            Exec::Cuda(exec) => cuda::backward(*self, exec, &io),
            Exec::Wgpu(exec) => wgpu::backward(*self, exec, &io),
        }
    }
}
