//! Log of the attention that one token receives, per sample: `y = mean over queries i of log(mean over heads h of p[i, h])`.
//!
//! p is the first feature of each head of attention over [`mark_key`](crate::mark_key). Patch-Fool ascends it (Fu et al.,
//! 2203.08392, equation 5, as its authors' code computes it: heads are averaged before the logarithm, queries after). A mean
//! below 1e-30 counts as 1e-30 and has no gradient, so that a token that nobody attends to gives no infinity.
//!
//! Gradient: `dy / (n h a_i)` in each head's first feature of query i, a_i its mean over heads; 0 elsewhere.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{
    Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, Work, real,
};

use crate::attention::attention;
use crate::cast::cast;
use crate::common::specs;
use crate::mark_key::mark_key;

const NAME: &str = "log_received";
/// Smallest mean probability that is told from 0.
const FLOOR: f64 = 1e-30;

#[derive(Debug)]
struct LogReceived {
    heads: usize,
}

/// Records the log of the attention that token `key` i32 `[b]` receives in the block whose projections are `qkv`
/// [b, n, 3 * heads * d]: `[b]`. Gradient to q and k.
///
/// # Errors
/// Shapes do not fit; at replay, a key that names no token.
pub fn log_attention_received(tape: &mut Tape, qkv: Value, key: Value, heads: usize) -> Result<Value> {
    let marked = mark_key(tape, qkv, key, heads)?;
    let attended = attention(tape, marked, heads)?; // [b, n, h d]
    let wide = tape.spec(attended)?.dtype.wide();
    let attended = cast(tape, attended, wide)?;
    log_received(tape, attended, heads)
}

/// Records the log of the probabilities in the first features of `heads` heads of `x` [b, n, heads * d]: `[b]`.
///
/// # Errors
/// The width is not a multiple of the heads.
pub fn log_received(tape: &mut Tape, x: Value, heads: usize) -> Result<Value> {
    tape.record(LogReceived { heads }, &[x])
}

/// Sizes of x.
#[derive(Clone, Copy)]
struct Dims {
    b: usize,
    n: usize,
    h: usize,
    d: usize,
}

impl LogReceived {
    fn dims(&self, x: &Spec) -> Result<Dims> {
        let [b, n, width] = x.array(NAME, "x")?;
        Ok(Dims { b, n, h: self.heads, d: width / self.heads.max(1) })
    }
}

impl Op for LogReceived {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        let [x] = specs::take(NAME, inputs)?;
        specs::float(NAME, "x", x)?;
        let [_, _, width] = x.array(NAME, "x")?;
        if self.heads > 0 && width % self.heads == 0 && x.dtype.is_real() {
            return specs::per_sample(&x);
        }
        Err(Error::new(NAME, "x is f32 or f64 [b, n, heads * head width]").with("x", x).with("heads", self.heads))
    }

    fn differentiable(&self, _inputs: &[Spec]) -> Inputs {
        Inputs::of(&[0])
    }

    fn keeps(&self, _inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        Ok(Keeps { inputs: Inputs::of(&[0]), ..Keeps::default() })
    }

    fn scratch(&self, _inputs: &[Spec], _wanted: Inputs, _target: Target) -> Scratch {
        Scratch::default()
    }

    fn cost(&self, inputs: &[Spec], _wanted: Inputs) -> Cost {
        let Some(Ok(Dims { b, n, h, .. })) = inputs.first().map(|x| self.dims(x)) else { return Cost::default() };
        let (read, size) = (b * n * h, inputs[0].dtype.size());
        Cost {
            forward: Work::new(2 * read, read * size),
            backward: Work::new(2 * read, read * size + inputs[0].bytes()),
        }
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
