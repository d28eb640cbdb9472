//! Activations: GELU `x Phi(x)` with the exact normal distribution function (Hendrycks & Gimpel, 1606.08415), and ReLU.

use engine::Real;

/// An elementwise activation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activation {
    /// `x Phi(x)` with erf, as timm's default; not the tanh approximation.
    Gelu,
    /// `max(x, 0)`; its gradient at 0 is 0.
    Relu,
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
