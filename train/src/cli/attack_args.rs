//! Flags of an attack, and what one came to.

use clap::ValueEnum;
use engine::Result;
use train::attack::{AttackConfig, Norm, Objective, Start};
use train::eps::Eps;
use train::eval::accuracy::AttackReport;

/// Which attack.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AttackName {
    /// One step of length eps from the image
    Fgsm,
    /// Projected gradient descent
    Pgd,
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
    /// Steps
    #[arg(long, value_name = "N", default_value_t = 20)]
    steps: u32,
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
        let (alpha, steps, start) = match name {
            AttackName::Fgsm => (eps.clone(), 1, Start::Zero),
            AttackName::Pgd => (alpha, self.steps, Start::Random),
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
            stochastic: self.eot > 0,
            ..AttackConfig::default()
        };
        config.validate()?;
        Ok(config)
    }
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
