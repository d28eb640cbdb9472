//! Activations: GELU `x Phi(x)` with the exact normal distribution function (Hendrycks & Gimpel, 1606.08415), and ReLU.
//!
//! `y = act(x)`; `dx = act'(x) * dy`, with x kept. `linear` fuses the same functions; this op is what it is measured
//! against, and what follows where something stands between the two, such as random scales.

pub mod cases;
mod cpu;
mod cuda;
mod wgpu;

use engine::{
    Backward, Cost, Exec, Forward, Inputs, Keeps, Op, Real, Result, Scratch, Spec, Tape, Target, Value, Work, real,
};

use crate::common::specs;

const NAME: &str = "activation";

/// An elementwise activation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activation {
    /// `x Phi(x)` with erf, as timm's default; not the tanh approximation.
    Gelu,
    /// `max(x, 0)`; its gradient at 0 is 0.
    Relu,
}

/// Records an activation of every element of `x`.
///
/// # Errors
/// `x` is not of a float type, or empty.
pub fn activation(tape: &mut Tape, x: Value, activation: Activation) -> Result<Value> {
    tape.record(activation, &[x])
}

impl Op for Activation {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        let [x] = specs::take(NAME, inputs)?;
        specs::float(NAME, "x", x)?;
        Ok(x)
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
        let (count, bytes) = specs::size(inputs, 0);
        // An exponential, a division and two polynomials for GELU, as computed in `common::math`.
        let (value, slope) = match self {
            Self::Gelu => (50, 53),
            Self::Relu => (1, 1),
        };
        Cost { forward: Work::new(value * count, 2 * bytes), backward: Work::new(slope * count, 3 * bytes) }
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

impl Activation {
    /// Name in labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gelu => "gelu",
            Self::Relu => "relu",
        }
    }

    /// The activation of `x`, by the standard library: for references.
    pub fn value<T: Real>(self, x: T) -> T {
        match self {
            Self::Gelu => x * normal_cdf(x),
            Self::Relu => {
                if x > T::ZERO {
                    x
                } else {
                    x * T::ZERO
                }
            }
        }
    }

    /// Its derivative at `x`: for references.
    pub fn slope<T: Real>(self, x: T) -> T {
        match self {
            Self::Gelu => {
                let density = (T::from_f64(-0.5) * x * x).exp() * T::from_f64(0.398_942_280_401_432_7);
                normal_cdf(x) + x * density
            }
            Self::Relu => {
                if x > T::ZERO {
                    T::ONE
                } else {
                    T::ZERO
                }
            }
        }
    }
}

fn normal_cdf<T: Real>(x: T) -> T {
    T::from_f64(0.5) * (T::ONE + (x * T::from_f64(std::f64::consts::FRAC_1_SQRT_2)).erf())
}
