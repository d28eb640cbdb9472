//! One feature vector per sample from its tokens: one token, or the mean of the tokens after a prefix.
//!
//! `y[b] = x[b, token]`; gradient: dy in that token, zeros elsewhere.
//! `y[b] = sum over t >= skip of x[b, t] / (n - skip)`; gradient: `dy[b] / (n - skip)` in those tokens, zeros before.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{
    Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, Work, real,
};

use crate::common::specs;

const NAME: &str = "pool";

/// How tokens become one vector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pool {
    /// The token at this place: 0 for the class token, 1 for the distillation token.
    Token(usize),
    /// The mean of all tokens but the first so many: the patch tokens where those are the prefix.
    Mean {
        /// Tokens that are left out.
        skip: usize,
    },
}

/// Records the pooling of tokens `[b, n, d]` into `[b, d]`.
///
/// # Errors
/// `x` has not three dimensions, or no such token.
pub fn pool(tape: &mut Tape, x: Value, pool: Pool) -> Result<Value> {
    tape.record(pool, &[x])
}

impl Pool {
    /// First token that it reads, and how many, of `n`.
    fn range(self, n: usize) -> (usize, usize) {
        match self {
            Self::Token(token) => (token, 1),
            Self::Mean { skip } => (skip, n.saturating_sub(skip)),
        }
    }
}

impl Op for Pool {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        let [x] = specs::take(NAME, inputs)?;
        specs::float(NAME, "x", x)?;
        let [b, n, d] = x.array(NAME, "x")?;
        let (first, _) = self.range(n);
        if first < n {
            return Spec::new(x.dtype, &[b, d]);
        }
        Err(Error::new(NAME, "there is no such token").with("x", x).with("pool", format!("{self:?}")))
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

    fn cost(&self, inputs: &[Spec], _wanted: Inputs) -> Cost {
        let Some([b, n, d]) = inputs.first().and_then(|x| x.array(NAME, "x").ok()) else { return Cost::default() };
        let (_, tokens) = self.range(n);
        let element = inputs[0].dtype.size();
        let flops = if tokens == 1 { 0 } else { b * tokens * d };
        Cost {
            forward: Work::new(flops, b * (tokens + 1) * d * element),
            backward: Work::new(flops, b * (n + 1) * d * element),
        }
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
