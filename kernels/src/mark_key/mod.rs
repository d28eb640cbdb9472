//! Values that show where attention goes: packed projections with v replaced by an indicator of one token.
//!
//! `y = qkv` in q and k; in v, 1 in the first feature of each head of token `key[b]`, and 0 elsewhere. Attention over the
//! result gives, in each head's first feature, the probability with which each query attends to that token, with all of
//! attention's kernels and its gradient: no probabilities need to be kept. Gradient: dy in q and k, 0 in v.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{
    Backward, Cost, DType, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, real,
};

use crate::common::specs;

const NAME: &str = "mark_key";

#[derive(Debug)]
struct MarkKey {
    heads: usize,
}

/// Sizes of qkv.
#[derive(Clone, Copy)]
struct Dims {
    n: usize,
    /// Width of q, k or v: heads times features.
    w: usize,
    /// Features of a head.
    d: usize,
}

/// Records `qkv` [b, n, 3 * heads * d] with the values of token `key` i32 `[b]` marked.
///
/// # Errors
/// Shapes do not fit; at replay, a key that names no token.
pub fn mark_key(tape: &mut Tape, qkv: Value, key: Value, heads: usize) -> Result<Value> {
    tape.record(MarkKey { heads }, &[qkv, key])
}

impl MarkKey {
    fn dims(&self, qkv: &Spec) -> Result<Dims> {
        let [_, n, width] = qkv.array(NAME, "qkv")?;
        Ok(Dims { n, w: width / 3, d: width / (3 * self.heads).max(1) })
    }
}

impl Op for MarkKey {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        let [qkv, key] = specs::take(NAME, inputs)?;
        specs::float(NAME, "qkv", qkv)?;
        let [batch, _, width] = qkv.array(NAME, "qkv")?;
        if self.heads > 0 && width % (3 * self.heads) == 0 && key == Spec::new(DType::I32, &[batch])? {
            return Ok(qkv);
        }
        Err(Error::new(NAME, "the inputs do not fit")
            .with("qkv", qkv)
            .with("key", key)
            .with("heads", self.heads)
            .help("qkv is [b, n, 3 * heads * head width], key i32 [b]"))
    }

    fn differentiable(&self, _inputs: &[Spec]) -> Inputs {
        Inputs::of(&[0])
    }

    fn keeps(&self, _inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        Ok(Keeps::default())
    }

    fn scratch(&self, _inputs: &[Spec], _wanted: Inputs, _target: Target) -> Scratch {
        Scratch::default()
    }

    fn cost(&self, inputs: &[Spec], wanted: Inputs) -> Cost {
        specs::streaming_cost(inputs, wanted, 0, 0)
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
