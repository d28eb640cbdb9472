//! Random scales of the hidden dimension: `y[b, t, j] = s[.., j] * x[b, t, j]`, s drawn afresh at each step, of mean 1.
//!
//! Gradient: `dx = s * dy`. s has none; it is drawn again in backward, never kept.
//!
//! | distribution | s |
//! |---|---|
//! | uniform | `1 - a + 2 a u` |
//! | normal | `1 + std z` |
//! | Bernoulli | `1/q` where `u < q`, else 0; `q = 1 / (1 + variance)` |
//!
//! | sharing | sample | element of the draw |
//! |---|---|---|
//! | batch (the paper's) | 0 | j |
//! | per image | the sample's id | j |
//! | per token (ablation) | the sample's id | t h + j |
//!
//! Popovic et al., "Stochastic Layers in Vision Transformers" (2112.15111): token-consistent linear layers inside the MLP.

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

const NAME: &str = "stochastic_scale";

/// Distribution of a scale, of mean 1.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Distribution {
    /// U(1 - half_width, 1 + half_width).
    Uniform {
        /// Half of the interval's length.
        half_width: f32,
    },
    /// N(1, std^2).
    Normal {
        /// Standard deviation.
        std: f32,
    },
    /// 1/q with probability q = 1 / (1 + variance), else 0.
    Bernoulli {
        /// Variance of the scale, (1 - q) / q.
        variance: f32,
    },
}

impl Distribution {
    /// The law of the draw.
    pub fn law(self) -> Law {
        match self {
            Self::Uniform { half_width } => Law::Uniform { low: 1.0 - half_width, width: 2.0 * half_width },
            Self::Normal { std } => Law::Normal { mean: 1.0, std },
            Self::Bernoulli { variance } => {
                let q = 1.0 / (1.0 + variance);
                Law::TwoPoint { q, on: 1.0 / q, off: 0.0 }
            }
        }
    }

    fn parameter(self) -> f32 {
        match self {
            Self::Uniform { half_width: parameter }
            | Self::Normal { std: parameter }
            | Self::Bernoulli { variance: parameter } => parameter,
        }
    }
}

/// Which values share one draw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// All tokens of all samples.
    Batch,
    /// All tokens of a sample.
    PerImage,
    /// None: each token draws its own.
    PerToken,
}

#[derive(Debug)]
struct StochasticScale {
    distribution: Distribution,
    sharing: Sharing,
    stream: Stream,
}

/// Records random scales on `x` `[b, n, h]`. `state` is the random state (`u32[4]`, see [`engine::rng`]), `ids` the
/// samples' ids (`u32[b]`), `stream` the name of the draw, such as `blocks.3.mlp.scale`.
///
/// # Errors
/// The inputs do not fit, or the distribution's parameter is negative or not finite.
pub fn stochastic_scale(
    tape: &mut Tape,
    x: Value,
    state: Value,
    ids: Value,
    distribution: Distribution,
    sharing: Sharing,
    stream: &str,
) -> Result<Value> {
    tape.record(StochasticScale { distribution, sharing, stream: Stream::named(stream) }, &[x, state, ids])
}

impl Op for StochasticScale {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        let [x, state, ids] = specs::take(NAME, inputs)?;
        specs::float(NAME, "x", x)?;
        let [b, _, _] = x.array(NAME, "x")?;
        specs::random_state(NAME, state)?;
        specs::sample_ids(NAME, ids, b)?;
        let parameter = self.distribution.parameter();
        if parameter.is_finite() && parameter >= 0.0 {
            return Ok(x);
        }
        Err(Error::new(NAME, "the distribution's parameter must be finite and not negative")
            .with("distribution", format!("{:?}", self.distribution)))
    }

    fn differentiable(&self, _inputs: &[Spec]) -> Inputs {
        Inputs::of(&[0])
    }

    fn keeps(&self, _inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        Ok(Keeps { inputs: Inputs::of(&[1]).and_if(self.sharing != Sharing::Batch, 2), ..Keeps::default() })
    }

    fn scratch(&self, inputs: &[Spec], _wanted: Inputs, target: Target) -> Scratch {
        let Some(x) = inputs.first() else { return Scratch::default() };
        let row = x.shape.last() * x.dtype.size();
        let bytes = match target {
            Target::Cpu { .. } if self.sharing == Sharing::Batch => row,
            Target::Cpu { workers } => workers * row,
            Target::Cuda(_) => cuda::scratch(self.sharing, x),
            Target::Wgpu(_) => wgpu::scratch(self.sharing, x),
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
