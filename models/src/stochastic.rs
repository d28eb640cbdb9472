//! Configuration of stochastic layers (Popovic et al., arXiv 2112.15111): random scales inside the MLP, one draw for all tokens.

use std::fmt;
use std::str::FromStr;

use engine::{Error, Result, Tape, Value};
use kernels::stochastic_linear::{self, Entries, Matrix, Mean};
use kernels::stochastic_scale;
use serde::{Deserialize, Serialize};

/// What the random draw does to the MLP's hidden values, between the first linear layer and the activation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StochasticLayer {
    /// Multiplies each hidden value by a random scale `s` of mean 1: a diagonal linear layer.
    Scale,
    /// Multiplies by a freshly drawn square matrix, `[mlp_width, mlp_width]`: the op `stochastic_linear`.
    Linear,
}

/// Distribution of a draw, of mean 1.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
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
    /// Standard deviation of a draw.
    pub fn std(self) -> f32 {
        match self {
            Self::Uniform { half_width } => half_width / 3.0_f32.sqrt(),
            Self::Normal { std } => std,
            Self::Bernoulli { variance } => variance.sqrt(),
        }
    }
}

/// Which values share one draw.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// All tokens of all images of a batch: the paper's.
    Batch,
    /// All tokens of an image.
    PerImage,
    /// Nothing: each token draws afresh (the paper's ablation without token consistency).
    PerToken,
}

/// A stochastic layer in every MLP. Drawn in training and in inference.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stochastic {
    /// What the draw does.
    pub layer: StochasticLayer,
    /// What is drawn.
    pub distribution: Distribution,
    /// Who shares it.
    pub sharing: Sharing,
}

impl Stochastic {
    /// Checks the distribution's parameter.
    ///
    /// # Errors
    /// It is negative or not finite.
    pub fn validate(&self) -> Result<()> {
        let (name, value) = match self.distribution {
            Distribution::Uniform { half_width } => ("half_width", half_width),
            Distribution::Normal { std } => ("std", std),
            Distribution::Bernoulli { variance } => ("variance", variance),
        };
        if value.is_finite() && value >= 0.0 {
            return Ok(());
        }
        Err(Error::new("model configuration", format!("stochastic: {name} must be finite and not negative"))
            .with(name, value)
            .help("the paper's arms are a01, a05, a10 (uniform), n05 (normal), b05 (bernoulli)"))
    }
}

/// Kind letter and tenths of half-width (`a05`); normal and Bernoulli are matched in variance to that uniform. Then, each after a
/// colon, who shares a draw (`image`, `token`; all of a batch where neither is given) and `matrix` for a whole random matrix:
/// `b05:token`, `n01:image:matrix`.
impl FromStr for Stochastic {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            Error::new("stochastic", "unknown stochastic layer").with("given", text).help(
                "a01, a05, a10 (uniform), n05 (normal), b05 (bernoulli), the two digits being tenths of the half-width; then \
                 :image or :token for draws of their own, and :matrix for a random matrix",
            )
        };
        let mut parts = text.split(':');
        let distribution = parts.next().and_then(distribution).ok_or_else(refuse)?;
        let mut stochastic = Self { layer: StochasticLayer::Scale, distribution, sharing: Sharing::Batch };
        for part in parts {
            match part {
                "image" if stochastic.sharing == Sharing::Batch => stochastic.sharing = Sharing::PerImage,
                "token" if stochastic.sharing == Sharing::Batch => stochastic.sharing = Sharing::PerToken,
                "matrix" if stochastic.layer == StochasticLayer::Scale => stochastic.layer = StochasticLayer::Linear,
                _ => return Err(refuse()),
            }
        }
        Ok(stochastic)
    }
}

/// The distribution of a name such as `a05`.
fn distribution(name: &str) -> Option<Distribution> {
    let digits = name.get(1..).filter(|digits| digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit()))?;
    let half_width = f32::from(digits.parse::<u8>().ok()?) / 10.0;
    let variance = half_width * half_width / 3.0;
    match name.get(..1) {
        Some("a") => Some(Distribution::Uniform { half_width }),
        Some("n") => Some(Distribution::Normal { std: variance.sqrt() }),
        Some("b") => Some(Distribution::Bernoulli { variance }),
        _ => None,
    }
}

impl fmt::Display for Stochastic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} {:?}", self.layer, self.distribution, self.sharing)
    }
}

/// Records the configured stochastic layer on hidden values [b, n, h], drawing from `stream` under `state` (u32 `[4]`) and
/// sample `ids` (u32 `[b]`).
///
/// A random matrix has the identity as its mean, so that the mean network is the network without the layer; its entries
/// have the configured distribution's deviation over the root of the width. Bernoulli becomes random signs: two points of
/// equal weight are what a symmetric entry of given variance has in common with it.
///
/// # Errors
/// The values, state or ids do not fit.
pub fn layer(
    tape: &mut Tape,
    x: Value,
    stochastic: &Stochastic,
    state: Value,
    ids: Value,
    stream: &str,
) -> Result<Value> {
    let sharing = match stochastic.sharing {
        Sharing::Batch => stochastic_scale::Sharing::Batch,
        Sharing::PerImage => stochastic_scale::Sharing::PerImage,
        Sharing::PerToken => stochastic_scale::Sharing::PerToken,
    };
    match stochastic.layer {
        StochasticLayer::Scale => {
            let distribution = match stochastic.distribution {
                Distribution::Uniform { half_width } => stochastic_scale::Distribution::Uniform { half_width },
                Distribution::Normal { std } => stochastic_scale::Distribution::Normal { std },
                Distribution::Bernoulli { variance } => stochastic_scale::Distribution::Bernoulli { variance },
            };
            stochastic_scale::stochastic_scale(tape, x, state, ids, distribution, sharing, stream)
        }
        StochasticLayer::Linear => {
            let entries = match stochastic.distribution {
                Distribution::Uniform { .. } => Entries::Uniform,
                Distribution::Normal { .. } => Entries::Normal,
                Distribution::Bernoulli { .. } => Entries::Sign,
            };
            let width = tape.spec(x)?.shape.last();
            let sigma = stochastic.distribution.std();
            let matrix = Matrix { width, entries, mean: Mean::Identity, sigma, sharing };
            stochastic_linear::stochastic_linear(tape, x, state, ids, matrix, stream)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_names_have_matched_variances() {
        let stds = ["a05", "n05", "b05"].map(|name| name.parse::<Stochastic>().unwrap().distribution.std());
        assert!(stds.iter().all(|std| (std - 0.288_675).abs() < 1e-6), "{stds:?}");
        let Distribution::Bernoulli { variance } = "b10".parse::<Stochastic>().unwrap().distribution else { panic!() };
        assert!((1.0 / (1.0 + variance) - 0.75).abs() < 1e-6);
        for bad in
            ["", "c05", "a5", "a+5", "a", "é05", "a05:", "a05:batch", "a05:token:image", "a05:matrix:matrix", ":token"]
        {
            assert!(bad.parse::<Stochastic>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_arm_of_the_ablation_has_a_name() {
        let mut arms = Vec::new();
        for distribution in ["a05", "n05", "b05"] {
            for sharing in ["", ":image", ":token"] {
                for layer in ["", ":matrix"] {
                    let arm: Stochastic = format!("{distribution}{sharing}{layer}").parse().unwrap();
                    assert_eq!(arm, format!("{distribution}{layer}{sharing}").parse().unwrap());
                    assert!(!arms.contains(&arm), "{arm}");
                    arms.push(arm);
                }
            }
        }
        assert_eq!(arms.len(), 18);
    }
}
