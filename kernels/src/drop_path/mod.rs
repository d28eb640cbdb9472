//! Stochastic depth: each sample of a branch is kept with probability `1 - rate` and scaled by `1 / (1 - rate)`, else zero.
//!
//! `y[b] = x[b] / (1 - rate)` if kept, else 0; gradient: dy with the same mask, by selection.
//! A sample is kept iff the uniform value of (seed, stream, step, sample id, element 0) is below `1 - rate`: the draw
//! belongs to the sample, wherever in a batch it stands. Backward draws it again; nothing is kept but state and ids.
//! Huang et al., "Deep Networks with Stochastic Depth" (1603.09382); per-sample form as in timm's `drop_path`.

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

const NAME: &str = "drop_path";

#[derive(Debug)]
struct DropPath {
    rate: f32,
    stream: Stream,
}

/// Records stochastic depth on `x` `[b, ..]`. `state` is the random state (`u32[4]`, see [`engine::rng`]), `ids` the
/// samples' ids (`u32[b]`), `rate` the probability of dropping in [0, 1), and `stream` the name of the draw, such as
/// `blocks.3.drop_path1`.
///
/// # Errors
/// The inputs do not fit, or `rate` is outside of [0, 1).
pub fn drop_path(tape: &mut Tape, x: Value, state: Value, ids: Value, rate: f32, stream: &str) -> Result<Value> {
    tape.record(DropPath { rate, stream: Stream::named(stream) }, &[x, state, ids])
}

impl Op for DropPath {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        let [x, state, ids] = specs::take(NAME, inputs)?;
        specs::float(NAME, "x", x)?;
        specs::random_state(NAME, state)?;
        specs::sample_ids(NAME, ids, x.dims().first().copied().unwrap_or(1))?;
        if (0.0..1.0).contains(&self.rate) {
            return Ok(x);
        }
        Err(Error::new(NAME, "the rate must lie in [0, 1)").with("rate", self.rate))
    }

    fn differentiable(&self, _inputs: &[Spec]) -> Inputs {
        Inputs::of(&[0])
    }

    fn keeps(&self, _inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        Ok(Keeps { inputs: Inputs::of(&[1, 2]), ..Keeps::default() })
    }

    fn scratch(&self, inputs: &[Spec], _wanted: Inputs, target: Target) -> Scratch {
        let bytes = match target {
            Target::Cpu { .. } | Target::Cuda(_) => 0,
            Target::Wgpu(_) => inputs.first().map_or(0, wgpu::scratch),
        };
        Scratch { forward: bytes, backward: bytes }
    }

    fn cost(&self, inputs: &[Spec], _wanted: Inputs) -> Cost {
        let (count, bytes) = specs::size(inputs, 0);
        let pass = Work::new(count, 2 * bytes);
        Cost { forward: pass, backward: pass }
    }

    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.output.spec().dtype, NAME, T => cpu::forward::<T>(self, io)),
            Exec::Cuda(exec) => cuda::forward(self, exec, &io),
            Exec::Wgpu(exec) => wgpu::forward(self, exec, &io),
        }
    }

    fn backward(&self, exec: &mut Exec, io: Backward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.d_output.spec().dtype, NAME, T => cpu::backward::<T>(self, io)),
            Exec::Cuda(exec) => cuda::backward(self, exec, &io),
            Exec::Wgpu(exec) => wgpu::backward(self, exec, &io),
        }
    }
}
