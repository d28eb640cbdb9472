//! Attention random dropping: the identity forward; backward passes the gradient of the whole batch, or none of it.
//!
//! `y = x`; `dx = dy` if the gate is open, else zeros, by selection: a closed gate stops NaN and infinity too.
//! The gate is open iff the uniform value of (seed, stream, step, sample 0, element 0) is at most the probability q, an
//! input, so that a schedule moves it without a new plan. One draw per stream and step, shared by the batch; no rescaling.
//! Mo et al., "When Adversarial Training Meets Vision Transformers" (2210.07540), ARD.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::rng::Stream;
use engine::{
    Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, Work, real,
};

use crate::common::specs;

const NAME: &str = "grad_gate";

#[derive(Debug)]
struct GradGate {
    stream: Stream,
}

/// Records a gradient gate on `x`, the output of an attention branch. `state` is the random state (`u32[4]`, see
/// [`engine::rng`]), `keep` the probability `[1]` that the gate is open, `stream` the name of the draw, such as
/// `blocks.3.ard`.
///
/// # Errors
/// The inputs do not fit.
pub fn grad_gate(tape: &mut Tape, x: Value, state: Value, keep: Value, stream: &str) -> Result<Value> {
    tape.record(GradGate { stream: Stream::named(stream) }, &[x, state, keep])
}

impl Op for GradGate {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        let [x, state, keep] = specs::take(NAME, inputs)?;
        specs::float(NAME, "x", x)?;
        specs::random_state(NAME, state)?;
        if keep.dims() == [1] && keep.dtype.is_real() {
            return Ok(x);
        }
        Err(Error::new(NAME, "the keep probability must be one float, [1]").with("keep", keep))
    }

    fn differentiable(&self, _inputs: &[Spec]) -> Inputs {
        Inputs::of(&[0])
    }

    fn keeps(&self, _inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        Ok(Keeps { inputs: Inputs::of(&[1, 2]), ..Keeps::default() })
    }

    fn scratch(&self, _inputs: &[Spec], _wanted: Inputs, target: Target) -> Scratch {
        match target {
            Target::Cpu { .. } | Target::Cuda(_) => Scratch::default(),
            Target::Wgpu(_) => Scratch { forward: 0, backward: wgpu::SCRATCH },
        }
    }

    fn cost(&self, inputs: &[Spec], _wanted: Inputs) -> Cost {
        let (_, bytes) = specs::size(inputs, 0);
        Cost { forward: Work::new(0, 2 * bytes), backward: Work::new(0, 2 * bytes) }
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
            Exec::Cpu(_) => real!(io.d_output.spec().dtype, NAME, T => cpu::backward::<T>(self.stream, io)),
            Exec::Cuda(exec) => cuda::backward(self.stream, exec, &io),
            Exec::Wgpu(exec) => wgpu::backward(self.stream, exec, &io),
        }
    }
}
