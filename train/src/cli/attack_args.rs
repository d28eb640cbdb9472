//! Flags of an attack, and what one came to.

use clap::ValueEnum;
use engine::{Error, Result};
use train::attack::patch_fool::PatchFoolConfig;
use train::attack::{AttackConfig, EotLoss, Norm, Objective, Start};
use train::eps::Eps;
use train::eval::accuracy::{AttackReport, Measured, PatchReport};

use super::patch_args::PatchArgs;

/// Which attack.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AttackName {
    /// One step of length eps from the image
    Fgsm,
    /// Projected gradient descent
    Pgd,
    /// Momentum iterative FGSM: steps along accumulated gradients
    Mim,
    /// Patches without a bound that draw attention; flags --patch-...
    PatchFool,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Attack")]
pub struct AttackArgs {
    /// Radius of the ball, images lying in [0, 1]: 8/255 or 0.03 [default: 8/255; 0.5 for l2]
    #[arg(long, value_name = "EPS")]
    eps: Option<String>,
    /// Length of a step [default: eps / 4]
    #[arg(long, value_name = "ALPHA")]
    alpha: Option<String>,
    /// Steps [default: 20; mim: 10; patch-fool: 250]
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// Independent runs, of which the worst counts for each image
    #[arg(long, value_name = "N", default_value_t = 1)]
    restarts: u32,
    /// Ball that bounds the perturbation
    #[arg(long, value_enum, default_value_t = NormName::Linf)]
    norm: NormName,
    /// What the attack raises
    #[arg(long, value_enum, default_value_t = ObjectiveName::Ce)]
    objective: ObjectiveName,
    /// Draws of a stochastic model over which each gradient is averaged; 0 attacks the mean network
    #[arg(long, value_name = "N", default_value_t = 1)]
    eot: u32,
    /// What is averaged over those draws
    #[arg(long, value_enum, default_value_t = EotName::MeanLoss)]
    eot_loss: EotName,
    /// Accept an iterate by its mean margin over so many draws, and return the best; 0 returns the last
    #[arg(long, value_name = "N", default_value_t = 0)]
    accept: u32,
    /// Decay of the accumulated gradient: mim's is 1
    #[arg(long, value_name = "MU")]
    momentum: Option<f64>,
    #[command(flatten)]
    patch: PatchArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum EotName {
    /// The loss
    MeanLoss,
    /// The probability of the label: the loss of the averaged softmax
    MeanProbability,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum NormName {
    Linf,
    L2,
}

impl From<NormName> for Norm {
    fn from(name: NormName) -> Self {
        match name {
            NormName::Linf => Self::Linf,
            NormName::L2 => Self::L2,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum ObjectiveName {
    /// Cross-entropy
    Ce,
    /// Largest wrong logit minus the right one
    Margin,
}

impl AttackArgs {
    /// The attack of that name, as the flags say.
    pub fn config(&self, name: AttackName) -> Result<AttackConfig> {
        let (norm, read, default): (_, fn(&str) -> Result<Eps>, _) = match self.norm {
            NormName::Linf => (Norm::Linf, str::parse, "8/255"),
            NormName::L2 => (Norm::L2, Eps::length, "0.5"),
        };
        let eps = read(self.eps.as_deref().unwrap_or(default)).map_err(|error| error.within("--eps"))?;
        let alpha = match &self.alpha {
            Some(text) => read(text).map_err(|error| error.within("--alpha"))?,
            None => Eps::length(&format!("{}", eps.value() / 4.0))?,
        };
        let objective = match self.objective {
            ObjectiveName::Ce => Objective::Ce,
            ObjectiveName::Margin => Objective::Margin,
        };
        let (alpha, steps, start, momentum) = match name {
            AttackName::Fgsm => (eps.clone(), 1, Start::Zero, self.momentum),
            AttackName::Pgd => (alpha, self.steps.unwrap_or(20), Start::Random, self.momentum),
            AttackName::Mim => (alpha, self.steps.unwrap_or(10), Start::Zero, Some(self.momentum.unwrap_or(1.0))),
            AttackName::PatchFool => {
                return Err(Error::new("--attack", "patch-fool has no ball, so it does not work here")
                    .help("vitrum attack --attack patch-fool, or vitrum eval --attack patch-fool"));
            }
        };
        let config = AttackConfig {
            norm,
            eps,
            alpha,
            steps,
            restarts: self.restarts,
            start,
            objective,
            eot: self.eot.max(1),
            eot_loss: match self.eot_loss {
                EotName::MeanLoss => EotLoss::MeanLoss,
                EotName::MeanProbability => EotLoss::MeanProbability,
            },
            accept: self.accept,
            momentum,
            stochastic: self.eot > 0,
            ..AttackConfig::default()
        };
        config.validate()?;
        Ok(config)
    }
}

impl AttackArgs {
    /// Patch-Fool, as the flags say.
    pub fn patch_fool(&self) -> Result<PatchFoolConfig> {
        self.patch.config(self.steps, self.eot > 0)
    }
}

/// For people.
pub fn describe_patch(PatchReport { name, config, measured }: &PatchReport) -> String {
    let Measured { correct, total, accuracy, max_linf, mean_l2 } = measured;
    format!(
        "{name}, {} by {:?}: {correct} of {total} correct ({:.2}%); largest change of a pixel {max_linf:.5}, mean L2 {mean_l2:.4}",
        config.patches,
        config.select,
        100.0 * accuracy
    )
}

/// For people.
pub fn describe(report: &AttackReport) -> String {
    format!(
        "{}, eps {}: {} of {} correct ({:.2}%); largest change of a pixel {:.5}, mean L2 {:.4}",
        report.name,
        report.config.eps,
        report.correct,
        report.total,
        100.0 * report.accuracy,
        report.max_linf,
        report.mean_l2
    )
}
