//! Attacks with all of their parameters.

use engine::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::attack::{AttackConfig, EotLoss, Norm, Objective, Start};
use crate::eps::Eps;

/// One attack.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Stage {
    /// Projected gradient ascent; a sample is done once it is misclassified.
    Pgd(AttackConfig),
    /// Auto-PGD.
    Apgd(Apgd),
    /// Fast Adaptive Boundary attack.
    Fab(Fab),
    /// Square Attack.
    Square(Square),
}

/// What Auto-PGD ascends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApgdLoss {
    /// Cross-entropy.
    Ce,
    /// Difference of logits ratio.
    Dlr,
    /// The same toward each of several classes, one after the other.
    Targeted,
}

/// Auto-PGD (Croce and Hein, 2003.01690; definitions B.3).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apgd {
    /// Ball.
    pub norm: Norm,
    /// Its radius.
    pub eps: Eps,
    /// What is ascended.
    pub loss: ApgdLoss,
    /// Steps.
    pub steps: u32,
    /// Attempts from other starts.
    pub restarts: u32,
    /// Classes that the targeted loss tries: those of rank 2, 3, .. of the clean logits.
    pub targets: u32,
    /// Share of steps that must raise the loss for the step length to stay.
    pub rho: f64,
    /// Draws of a stochastic model that gradient, loss and margin are averaged over; 0 attacks the mean network.
    pub eot: u32,
}

/// Fast Adaptive Boundary attack (Croce and Hein, 1907.02044; definitions B.4).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fab {
    /// Norm that is minimised.
    pub norm: Norm,
    /// Length up to which a perturbation counts.
    pub eps: Eps,
    /// Steps.
    pub steps: u32,
    /// Attempts: the first from the image, others from random starts.
    pub restarts: u32,
    /// Classes whose boundary is looked for, by rank of the clean logits; 0 for the nearest boundary in each step, which takes a
    /// backward pass per class.
    pub targets: u32,
    /// Whether to look for the nearest perturbation to the end, not for one within eps: for a curve over eps.
    pub nearest: bool,
    /// As [`Apgd::eot`].
    pub eot: u32,
}

/// Square Attack (Andriushchenko et al., 1912.00049; definitions B.5).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Square {
    /// Ball.
    pub norm: Norm,
    /// Its radius.
    pub eps: Eps,
    /// Proposals per attempt.
    pub queries: u32,
    /// Attempts.
    pub restarts: u32,
    /// Whether all samples take the same draws, as in the public implementation: for comparisons only.
    pub shared: bool,
    /// As [`Apgd::eot`].
    pub eot: u32,
}

/// Versions of AutoAttack (definitions B.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// APGD-CE, APGD-T, FAB-T, Square.
    Standard,
    /// More restarts, and the untargeted attacks.
    Plus,
    /// For stochastic models: APGD-CE and APGD-DLR over 20 draws.
    Rand,
}

/// Draws of AutoAttack's `rand`.
const RAND_DRAWS: u32 = 20;
/// Targets of the targeted attacks.
const TARGETS: u32 = 9;

impl Version {
    /// Its stages for a model of `classes` classes, in order. What the model's classes are too few for is left out or replaced, and said
    /// in the second part of the result.
    pub fn stages(self, norm: Norm, eps: &Eps, classes: usize) -> (Vec<Stage>, Vec<String>) {
        let apgd = |loss, restarts, eot| Stage::Apgd(Apgd { restarts, eot, ..Apgd::new(norm, eps.clone(), loss) });
        let fab = |restarts, targets| Stage::Fab(Fab { restarts, targets, ..Fab::new(norm, eps.clone()) });
        let square = Stage::Square(Square::new(norm, eps.clone()));
        let all = match self {
            Self::Standard => {
                vec![apgd(ApgdLoss::Ce, 1, 0), apgd(ApgdLoss::Targeted, 1, 0), fab(1, TARGETS), square]
            }
            Self::Plus => vec![
                apgd(ApgdLoss::Ce, 5, 0),
                apgd(ApgdLoss::Dlr, 5, 0),
                fab(5, 0),
                square,
                apgd(ApgdLoss::Targeted, 1, 0),
                fab(1, TARGETS),
            ],
            Self::Rand => vec![apgd(ApgdLoss::Ce, 1, RAND_DRAWS), apgd(ApgdLoss::Dlr, 1, RAND_DRAWS)],
        };
        let mut remarks = Vec::new();
        let stages = all.into_iter().filter_map(|stage| fitted(stage, classes, &mut remarks)).collect();
        (stages, remarks)
    }
}

/// The stage for a model of `classes`: with fewer targets, or not at all.
fn fitted(stage: Stage, classes: usize, remarks: &mut Vec<String>) -> Option<Stage> {
    let name = stage.name();
    let most = u32::try_from(classes.saturating_sub(1)).unwrap_or(u32::MAX);
    let fewer = |targets: &mut u32, remarks: &mut Vec<String>| {
        if *targets > most {
            remarks.push(format!("{name}: {most} targets instead of {targets}: the model has {classes} classes"));
            *targets = most;
        }
    };
    match stage {
        Stage::Apgd(apgd) if classes < apgd.loss.least_classes() => {
            remarks.push(format!(
                "{name} is left out: its loss needs {} classes, the model has {classes}",
                apgd.loss.least_classes()
            ));
            None
        }
        Stage::Apgd(mut apgd) if apgd.loss == ApgdLoss::Targeted => {
            fewer(&mut apgd.targets, remarks);
            Some(Stage::Apgd(apgd))
        }
        Stage::Fab(mut fab) => {
            fewer(&mut fab.targets, remarks);
            Some(Stage::Fab(fab))
        }
        stage => Some(stage),
    }
}

impl ApgdLoss {
    fn least_classes(self) -> usize {
        match self {
            Self::Ce => 2,
            Self::Dlr => 3,
            Self::Targeted => 4,
        }
    }
}

impl Apgd {
    /// As in AutoAttack: 100 steps, one attempt, nine targets.
    pub fn new(norm: Norm, eps: Eps, loss: ApgdLoss) -> Self {
        Self { norm, eps, loss, steps: 100, restarts: 1, targets: TARGETS, rho: 0.75, eot: 0 }
    }
}

impl Fab {
    /// As in AutoAttack: 100 steps, one attempt, nine targets.
    pub fn new(norm: Norm, eps: Eps) -> Self {
        Self { norm, eps, steps: 100, restarts: 1, targets: TARGETS, nearest: false, eot: 0 }
    }
}

impl Square {
    /// As in AutoAttack: 5,000 proposals, one attempt.
    pub fn new(norm: Norm, eps: Eps) -> Self {
        Self { norm, eps, queries: 5000, restarts: 1, shared: false, eot: 0 }
    }
}

impl Stage {
    /// Short name, as the public implementation has it where it has it: `apgd-ce`, `apgd-t`, `fab-t`, `square`.
    pub fn name(&self) -> String {
        match self {
            Self::Pgd(config) => config.name(),
            Self::Apgd(Apgd { loss: ApgdLoss::Ce, .. }) => "apgd-ce".to_owned(),
            Self::Apgd(Apgd { loss: ApgdLoss::Dlr, .. }) => "apgd-dlr".to_owned(),
            Self::Apgd(Apgd { loss: ApgdLoss::Targeted, .. }) => "apgd-t".to_owned(),
            Self::Fab(Fab { targets: 0, .. }) => "fab".to_owned(),
            Self::Fab(_) => "fab-t".to_owned(),
            Self::Square(_) => "square".to_owned(),
        }
    }

    /// Ball.
    pub fn norm(&self) -> Norm {
        match self {
            Self::Pgd(config) => config.norm,
            Self::Apgd(apgd) => apgd.norm,
            Self::Fab(fab) => fab.norm,
            Self::Square(square) => square.norm,
        }
    }

    /// Radius of the ball.
    pub fn eps(&self) -> &Eps {
        match self {
            Self::Pgd(config) => &config.eps,
            Self::Apgd(apgd) => &apgd.eps,
            Self::Fab(fab) => &fab.eps,
            Self::Square(square) => &square.eps,
        }
    }

    /// The same attack in a ball of another radius; a step length keeps its ratio to it.
    #[must_use]
    pub fn with_eps(&self, eps: &Eps) -> Self {
        let mut stage = self.clone();
        match &mut stage {
            Self::Pgd(config) => {
                let ratio = config.alpha.value() / config.eps.value();
                if let Ok(alpha) = Eps::length(&format!("{}", ratio * eps.value())) {
                    config.alpha = alpha;
                }
                config.eps = eps.clone();
            }
            Self::Apgd(apgd) => apgd.eps = eps.clone(),
            Self::Fab(fab) => fab.eps = eps.clone(),
            Self::Square(square) => square.eps = eps.clone(),
        }
        stage
    }

    /// Draws that are averaged; 0 where the model's mean network is attacked.
    pub fn draws(&self) -> u32 {
        match self {
            Self::Pgd(config) if config.stochastic => config.eot,
            Self::Pgd(_) => 0,
            Self::Apgd(apgd) => apgd.eot,
            Self::Fab(fab) => fab.eot,
            Self::Square(square) => square.eot,
        }
    }

    /// The same attack over `draws` of a stochastic model; 0 for its mean network.
    #[must_use]
    pub fn with_draws(&self, draws: u32) -> Self {
        let mut stage = self.clone();
        match &mut stage {
            Self::Pgd(config) => (config.stochastic, config.eot) = (draws > 0, draws.max(1)),
            Self::Apgd(apgd) => apgd.eot = draws,
            Self::Fab(fab) => fab.eot = draws,
            Self::Square(square) => square.eot = draws,
        }
        stage
    }

    /// Classes that are tried one after the other; 1 where no class is.
    pub(super) fn targets(&self) -> u32 {
        match self {
            Self::Apgd(Apgd { loss: ApgdLoss::Targeted, targets, .. }) => *targets,
            Self::Fab(fab) => fab.targets.max(1),
            _ => 1,
        }
    }

    /// Attempts from other starts.
    pub(super) fn restarts(&self) -> u32 {
        match self {
            Self::Pgd(config) => config.restarts,
            Self::Apgd(apgd) => apgd.restarts,
            Self::Fab(fab) => fab.restarts,
            Self::Square(square) => square.restarts,
        }
    }

    /// Attempts per sample.
    pub(super) fn attempts(&self) -> u32 {
        self.targets().saturating_mul(self.restarts())
    }

    /// Checks the parameters, for a model of `classes` classes.
    ///
    /// # Errors
    /// The first that makes no attack, with its value.
    pub fn validate(&self, classes: usize) -> Result<()> {
        let name = self.name();
        let counts = match self {
            Self::Pgd(config) => {
                config.validate()?;
                return plain(config, &name);
            }
            Self::Apgd(apgd) => vec![("steps", apgd.steps), ("restarts", apgd.restarts), ("targets", apgd.targets)],
            Self::Fab(fab) => vec![("steps", fab.steps), ("restarts", fab.restarts)],
            Self::Square(square) => vec![("queries", square.queries), ("restarts", square.restarts)],
        };
        if let Some((field, _)) = counts.into_iter().find(|(_, value)| *value == 0) {
            return Err(Error::new(name, format!("{field} is 0")).help("give 1 or more"));
        }
        let mut remarks = Vec::new();
        match (fitted(self.clone(), classes, &mut remarks), remarks.first()) {
            (_, Some(remark)) => Err(Error::new(name, remark.clone()).help("choose another loss or fewer targets")),
            (None, None) | (Some(_), None) => Ok(()),
        }
    }
}

/// Checks that a PGD is one that a cascade runs.
fn plain(config: &AttackConfig, name: &str) -> Result<()> {
    if config.ard || config.prm {
        return Err(Error::new(name, "ARD and PRM weaken an attack: they belong to training"));
    }
    let knobs = [
        ("momentum", config.momentum.is_some()),
        ("fixed_draw", config.fixed_draw.is_some()),
        ("accept", config.accept > 0),
        ("eot_loss", config.eot_loss != EotLoss::MeanLoss),
        ("start", config.start == Start::Normal),
        ("objective", config.objective == Objective::Kl),
    ];
    match knobs.iter().find(|(_, is_set)| *is_set) {
        None => Ok(()),
        Some((knob, _)) => Err(Error::new(name, format!("a cascade does not know this {knob}"))
            .help("vitrum attack and vitrum randomised run such an attack on its own")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(version: Version, classes: usize) -> (Vec<String>, usize) {
        let (stages, remarks) = version.stages(Norm::Linf, &Eps::fraction(8, 255), classes);
        (stages.iter().map(Stage::name).collect(), remarks.len())
    }

    #[test]
    fn versions_have_the_stages_of_their_papers_in_order() {
        assert_eq!(names(Version::Standard, 10).0, ["apgd-ce", "apgd-t", "fab-t", "square"]);
        assert_eq!(names(Version::Plus, 10).0, ["apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"]);
        assert_eq!(names(Version::Rand, 10), (vec!["apgd-ce".to_owned(), "apgd-dlr".to_owned()], 0));
        assert_eq!(names(Version::Standard, 10).1, 0);
    }

    #[test]
    fn few_classes_drop_losses_and_targets_and_say_so() {
        assert_eq!(names(Version::Standard, 3), (vec!["apgd-ce".into(), "fab-t".into(), "square".into()], 2));
        assert_eq!(names(Version::Plus, 2).0, ["apgd-ce", "fab", "square", "fab-t"]);
        let (stages, _) = Version::Standard.stages(Norm::Linf, &Eps::fraction(8, 255), 5);
        assert!(stages.iter().all(|stage| stage.targets() <= 4), "{stages:?}");
        assert!(stages.iter().all(|stage| stage.validate(5).is_ok()));
        let nine = Stage::Fab(Fab::new(Norm::Linf, Eps::fraction(8, 255)));
        assert!(nine.validate(5).unwrap_err().to_string().contains("5 classes"));
    }

    #[test]
    fn knobs_that_a_cascade_would_ignore_are_refused_by_name() {
        let of = |config: AttackConfig| Stage::Pgd(config).validate(10).unwrap_err().to_string();
        let base = AttackConfig::default;
        assert!(of(AttackConfig { momentum: Some(1.0), ..base() }).contains("momentum"));
        assert!(of(AttackConfig { accept: 10, ..base() }).contains("accept"));
        assert!(of(AttackConfig { objective: Objective::Kl, ..base() }).contains("objective"));
        assert!(of(AttackConfig { prm: true, ..base() }).contains("PRM"));
        assert!(Stage::Pgd(base()).validate(10).is_ok());
    }

    #[test]
    fn a_stage_lies_in_files_with_its_kind() {
        let stage = Stage::Apgd(Apgd::new(Norm::L2, Eps::fraction(1, 2), ApgdLoss::Targeted));
        let text = serde_json::to_string(&stage).unwrap();
        assert!(text.contains("\"kind\":\"apgd\"") && text.contains("\"loss\":\"targeted\""), "{text}");
        assert_eq!(serde_json::from_str::<Stage>(&text).unwrap(), stage);
    }
}
