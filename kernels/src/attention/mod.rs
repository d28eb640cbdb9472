//! Multi-head self-attention on packed projections: `out = softmax(q k' / sqrt(d)) v` per image and head.
//!
//! `qkv` [b, n, 3 h d] as timm's linear layer gives it: q, k and v in turn, heads contiguous inside each; `out` [b, n, h d].
//! Nothing of size b h n n exists: scores live in a block of rows per worker. Kept for backward: `qkv`, `out` and the
//! log-sum-exp of each score row, from which the probabilities are computed again:
//! `p = exp(s - lse)`, `dv = p' do`, `dp = do v'`, `ds = p * (dp - rowsum(do * out))`, `dq = ds k / sqrt(d)`,
//! `dk = ds' q / sqrt(d)`. Dao et al., FlashAttention (2205.14135), algorithm 4, without its tiling of softmax.

pub mod cases;
mod cpu;
mod cuda;
mod hopper;
mod launch;
mod reference;
mod sources;
mod tensor;
#[cfg(test)]
mod tests;
mod wgpu;

use engine::{
    Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, Work, real,
};

const NAME: &str = "attention";

#[derive(Debug)]
pub(crate) struct Attention {
    heads: usize,
}

/// Records attention over `qkv` [b, n, 3 * heads * d] -> [b, n, heads * d].
///
/// # Errors
/// The width is not a multiple of three times the heads.
pub fn attention(tape: &mut Tape, qkv: Value, heads: usize) -> Result<Value> {
    tape.record(Attention { heads }, &[qkv])
}

pub use cpu::Dims;

impl Attention {
    pub(crate) fn sizes(&self, inputs: &[Spec]) -> Dims {
        match inputs.first().map(Spec::dims) {
            Some(&[b, n, width]) => Dims { b, n, h: self.heads, d: width / (3 * self.heads).max(1) },
            _ => Dims { b: 0, n: 0, h: 0, d: 0 },
        }
    }
}

impl Op for Attention {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        let [qkv] = inputs else {
            return Err(Error::new(NAME, "takes one input").with("inputs", inputs.len()));
        };
        let [batch, tokens, width] = qkv.array(NAME, "qkv")?;
        if self.heads == 0 || width % (3 * self.heads) != 0 || !qkv.dtype.is_float() {
            return Err(Error::new(NAME, "the width is not a multiple of 3 x heads")
                .with("qkv", qkv)
                .with("heads", self.heads)
                .help("qkv is [b, n, 3 * heads * head width]"));
        }
        Spec::new(qkv.dtype, &[batch, tokens, width / 3])
    }

    fn differentiable(&self, _inputs: &[Spec]) -> Inputs {
        Inputs::of(&[0])
    }

    fn keeps(&self, inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        let sizes = self.sizes(inputs);
        let dtype = self.output(inputs)?.dtype.wide();
        let lse = Spec::new(dtype, &[sizes.b, sizes.h, sizes.n])?;
        Ok(Keeps { inputs: Inputs::of(&[0]), output: true, extras: vec![lse], ..Keeps::default() })
    }

    fn scratch(&self, inputs: &[Spec], _wanted: Inputs, target: Target) -> Scratch {
        match target {
            Target::Cpu { workers } => launch::scratch(self, inputs, workers),
            Target::Cuda(_) => cuda::scratch(self.sizes(inputs)),
            Target::Wgpu(_) => wgpu::scratch(self.sizes(inputs)),
        }
    }

    fn cost(&self, inputs: &[Spec], _wanted: Inputs) -> Cost {
        let Dims { b: batch, n: tokens, h: heads, d: head_width } = self.sizes(inputs);
        let product = 2 * batch * heads * tokens * tokens * head_width;
        let bytes: usize = inputs.iter().map(Spec::bytes).sum();
        // Forward reads qkv and writes out (a third of it); backward reads qkv, out, d_out and writes d_qkv.
        Cost { forward: Work::new(2 * product, bytes * 4 / 3), backward: Work::new(5 * product, bytes * 8 / 3) }
    }

    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.output.spec().dtype, NAME, T => launch::forward::<T>(self, io)),
            Exec::Cuda(exec) => cuda::forward(self, exec, &io),
            Exec::Wgpu(exec) => wgpu::forward(self, exec, &io),
        }
    }

    fn backward(&self, exec: &mut Exec, io: Backward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.d_output.spec().dtype, NAME, T => launch::backward::<T>(self, io)),
            Exec::Cuda(exec) => cuda::backward(self, exec, &io),
            Exec::Wgpu(exec) => wgpu::backward(self, exec, &io),
        }
    }
}
