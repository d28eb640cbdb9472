//! Attacks: perturbations of images in [0, 1] within a ball, found by gradients. Definitions B.1, B.2, B.9 of the field:
//! the model normalises inside, eps is in units of [0, 1], sign(0) = 0.
//!
//! An attack is a few plans: a random start, a step that is replayed k times without the host, and a choice between
//! restarts. Weight gradients are never computed, because no step asks for them.

pub mod cascade;
pub mod pgd;

use engine::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::eps::Eps;

pub use pgd::Attack;

/// The ball of allowed perturbations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// |delta| <= eps per pixel.
    #[default]
    Linf,
    /// Euclidean length of a sample's delta <= eps.
    L2,
}

/// What the attack ascends.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Cross-entropy with the (soft) targets.
    #[default]
    Ce,
    /// Largest wrong logit minus the true one (Carlini-Wagner), uncapped.
    Margin,
    /// Divergence `KL(p(x) || p(x'))` from the model's own prediction on the clean image; needs no labels (TRADES, 1901.08573).
    Kl,
}

/// Where the perturbation starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Uniform in the ball (Linf), or a random direction of uniform length (L2); then into the box.
    #[default]
    Random,
    /// Zero.
    Zero,
    /// Normal, of deviation 0.001 in units of [0, 1], whatever the radius; then into the box (TRADES and MART).
    Normal,
}

/// A gradient attack.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttackConfig {
    /// Ball.
    pub norm: Norm,
    /// Radius of the ball, [0, 1] units.
    pub eps: Eps,
    /// Step length.
    pub alpha: Eps,
    /// Number of steps.
    pub steps: u32,
    /// Independent runs; per sample the one with the largest objective counts.
    pub restarts: u32,
    /// Start.
    pub start: Start,
    /// Objective.
    pub objective: Objective,
    /// Gradients averaged per step over fresh draws of a stochastic model (expectation over transformation).
    pub eot: u32,
    /// Whether the model's stochastic layers draw during the attack; else its mean network is attacked.
    pub stochastic: bool,
    /// Attention Random Dropping (2210.07540): attention branches' gradients are cut with probability 1 - q. Training only.
    pub ard: bool,
    /// Perturbation Random Masking (2210.07540): a share 1 - q of the patches restarts from 0 at each step. Training only.
    pub prm: bool,
}

impl Default for AttackConfig {
    fn default() -> Self {
        Self {
            norm: Norm::Linf,
            eps: Eps::fraction(8, 255),
            alpha: Eps::fraction(2, 255),
            steps: 20,
            restarts: 1,
            start: Start::Random,
            objective: Objective::Ce,
            eot: 1,
            stochastic: false,
            ard: false,
            prm: false,
        }
    }
}

impl AttackConfig {
    /// FGSM (Goodfellow et al., 1412.6572): one step of length eps from the image itself.
    pub fn fgsm(eps: Eps) -> Self {
        Self { alpha: eps.clone(), eps, steps: 1, start: Start::Zero, ..Self::default() }
    }

    /// PGD (Madry et al., 1706.06083) in Linf.
    pub fn pgd(eps: Eps, alpha: Eps, steps: u32) -> Self {
        Self { eps, alpha, steps, ..Self::default() }
    }

    /// Short name: `pgd20-linf`, `fgsm`.
    pub fn name(&self) -> String {
        let norm = match self.norm {
            Norm::Linf => "linf",
            Norm::L2 => "l2",
        };
        if self.steps == 1 && self.start == Start::Zero {
            return format!("fgsm-{norm}");
        }
        let objective = match self.objective {
            Objective::Ce => "pgd",
            Objective::Margin => "cw",
            Objective::Kl => "kl",
        };
        let restarts = if self.restarts > 1 { format!("-r{}", self.restarts) } else { String::new() };
        let eot = if self.eot > 1 { format!("-eot{}", self.eot) } else { String::new() };
        format!("{objective}{}-{norm}{restarts}{eot}", self.steps)
    }

    /// Checks that the fields make an attack.
    ///
    /// # Errors
    /// The first field that does not, with its value.
    pub fn validate(&self) -> Result<()> {
        for (field, value) in [("steps", self.steps), ("restarts", self.restarts), ("eot", self.eot)] {
            if value == 0 {
                return Err(Error::new("attack", format!("{field} is 0")).help("give 1 or more"));
            }
        }
        if self.alpha.value() <= 0.0 && self.eps.value() > 0.0 {
            return Err(Error::new("attack", "the step length is 0").with("alpha", &self.alpha).help("--alpha 2/255"));
        }
        Ok(())
    }
}
