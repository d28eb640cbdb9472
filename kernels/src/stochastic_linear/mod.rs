//! Linear layer whose square or rectangular matrix is drawn afresh at each step: `y[b, t] = x[b, t] W`.
//!
//! `W = M + sigma / sqrt(k) * E`, M the identity or zero, E `[k, m]` with independent entries of mean 0 and variance 1.
//! Entry (i, j) is element `i m + j` of its stream; all tokens of a batch share one W (sample 0), or those of a sample
//! (the sample's id). Gradient: `dx = dy W'`. W has none and is never kept: each pass draws it into scratch, right before
//! the product, from the same counters.
//! Popovic et al., "Stochastic Layers in Vision Transformers" (2112.15111), where W is diagonal: see `stochastic_scale`.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::rng::Stream;
use engine::{
    Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, Work, real,
};

use crate::common::random::Law;
use crate::common::specs;
pub use crate::stochastic_scale::Sharing;

const NAME: &str = "stochastic_linear";

/// Distribution of an entry of E: mean 0, variance 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entries {
    /// U(-sqrt(3), sqrt(3)).
    Uniform,
    /// N(0, 1).
    Normal,
    /// -1 or 1, equally likely.
    Sign,
}

/// Mean of W.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mean {
    /// The identity: W is square, and the layer without noise does nothing.
    Identity,
    /// Zero.
    Zero,
}

/// What is drawn.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Matrix {
    /// Columns of W.
    pub width: usize,
    /// Distribution of the entries of E.
    pub entries: Entries,
    /// M.
    pub mean: Mean,
    /// Standard deviation that the noise gives to an element of y per root mean square of x.
    pub sigma: f32,
    /// One W for the batch or per image. W per token is not offered.
    pub sharing: Sharing,
}

#[derive(Debug)]
struct StochasticLinear {
    matrix: Matrix,
    stream: Stream,
}

/// Records `x W`: `x` `[b, n, k]` -> `[b, n, matrix.width]`. `state` is the random state (`u32[4]`, see [`engine::rng`]),
/// `ids` the samples' ids (`u32[b]`), `stream` the name of the draw, such as `blocks.3.mlp.matrix`.
///
/// # Errors
/// The inputs do not fit, an identity that is not square, a width of 0, a W per token, or a sigma that is negative or not
/// finite.
pub fn stochastic_linear(
    tape: &mut Tape,
    x: Value,
    state: Value,
    ids: Value,
    matrix: Matrix,
    stream: &str,
) -> Result<Value> {
    tape.record(StochasticLinear { matrix, stream: Stream::named(stream) }, &[x, state, ids])
}

impl Matrix {
    /// The law of `sigma / sqrt(k) * E`.
    fn law(self, k: usize) -> Law {
        #[expect(clippy::cast_precision_loss, reason = "a layer's width")]
        let std = self.sigma / (k as f32).sqrt();
        match self.entries {
            Entries::Uniform => {
                let half_width = 3.0_f32.sqrt() * std;
                Law::Uniform { low: -half_width, width: 2.0 * half_width }
            }
            Entries::Normal => Law::Normal { mean: 0.0, std },
            Entries::Sign => Law::TwoPoint { q: 0.5, on: std, off: -std },
        }
    }
}

impl Op for StochasticLinear {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        let [x, state, ids] = specs::take(NAME, inputs)?;
        specs::float(NAME, "x", x)?;
        let [b, _, k] = x.array(NAME, "x")?;
        specs::random_state(NAME, state)?;
        specs::sample_ids(NAME, ids, b)?;
        let Matrix { width, mean, sigma, sharing, .. } = self.matrix;
        let problem = if width == 0 || (mean == Mean::Identity && width != k) {
            "a matrix about the identity must be square, and none may be empty"
        } else if sharing == Sharing::PerToken {
            "a matrix per token is not offered"
        } else if !sigma.is_finite() || sigma < 0.0 {
            "sigma must be finite and not negative"
        } else {
            return Ok(Spec { shape: x.shape.with_last(width)?, ..x });
        };
        Err(Error::new(NAME, problem).with("x", x).with("matrix", format!("{:?}", self.matrix)))
    }

    fn differentiable(&self, _inputs: &[Spec]) -> Inputs {
        Inputs::of(&[0])
    }

    fn keeps(&self, _inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        Ok(Keeps { inputs: Inputs::of(&[1]).and_if(self.matrix.sharing == Sharing::PerImage, 2), ..Keeps::default() })
    }

    fn scratch(&self, inputs: &[Spec], wanted: Inputs, target: Target) -> Scratch {
        match target {
            Target::Cpu { workers } => cpu::scratch(self, inputs, wanted, workers),
            Target::Cuda(caps) => cuda::scratch(self, inputs, wanted, caps),
            Target::Wgpu(caps) => {
                let bytes = wgpu::scratch(self, inputs, caps);
                Scratch { forward: bytes, backward: if wanted.has(0) { bytes } else { 0 } }
            }
        }
    }

    fn cost(&self, inputs: &[Spec], _wanted: Inputs) -> Cost {
        let Some([b, n, k]) = inputs.first().and_then(|x| x.array(NAME, "x").ok()) else { return Cost::default() };
        let m = self.matrix.width;
        let draws = if self.matrix.sharing == Sharing::PerImage { b } else { 1 };
        // Drawing is counted by its result: two operations and one write per entry.
        let pass = Work::new(
            2 * b * n * k * m + 2 * draws * k * m,
            (b * n * (k + m) + draws * k * m) * inputs[0].dtype.size(),
        );
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
