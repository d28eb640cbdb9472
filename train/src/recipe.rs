//! A training run as data: what TOML files and flags describe, and what a checkpoint remembers.

use std::path::Path;

use engine::rng::{Philox, Stream};
use engine::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::attack::{AttackConfig, Objective, Start};
use crate::data::Augment;
use crate::nullspace::approximate::NullspaceConfig;

/// How weights are updated.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Optimizer {
    /// Stochastic gradient descent; decay is added to the gradient, of all parameters.
    Sgd {
        /// Momentum.
        momentum: f64,
        /// Nesterov's variant.
        #[serde(default)]
        nesterov: bool,
        /// Weight decay.
        #[serde(default)]
        weight_decay: f64,
    },
    /// AdamW (Loshchilov & Hutter, 1711.05101); decay only of tensors with two or more dimensions, as timm's.
    Adamw {
        /// Decay of the first moment.
        beta1: f64,
        /// Decay of the second moment.
        beta2: f64,
        /// Added to the root of the second moment.
        eps: f64,
        /// Decoupled weight decay.
        weight_decay: f64,
    },
}

impl Optimizer {
    /// SGD of 2210.07540: momentum 0.9, weight decay 1e-4.
    pub const SGD: Self = Self::Sgd { momentum: 0.9, nesterov: false, weight_decay: 1e-4 };
    /// AdamW with PyTorch's betas and decay 0.05.
    pub const ADAMW: Self = Self::Adamw { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.05 };
}

/// How the learning rate changes over fractional epochs.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Schedule {
    /// Not at all.
    #[default]
    Constant,
    /// Linear warm-up, then half a cosine down to `min`.
    Cosine {
        /// Epochs of warm-up.
        #[serde(default)]
        warmup: f64,
        /// Final learning rate.
        #[serde(default)]
        min: f64,
    },
    /// Multiplied by 0.1 where `before_end[i]` epochs are left: `[5, 2]` is the recipe of 2210.07540.
    Steps {
        /// Epochs before the end, largest first.
        before_end: Vec<f64>,
    },
}

impl Schedule {
    /// Learning rate at fractional epoch `t` of `epochs`.
    pub fn rate(&self, base: f64, t: f64, epochs: u32) -> f64 {
        let end = f64::from(epochs);
        match self {
            Self::Constant => base,
            Self::Cosine { warmup, .. } if t < *warmup => base * (t / warmup),
            Self::Cosine { warmup, min } => {
                let progress = ((t - warmup) / (end - warmup).max(1e-9)).clamp(0.0, 1.0);
                min + 0.5 * (base - min) * (1.0 + (std::f64::consts::PI * progress).cos())
            }
            Self::Steps { before_end } => {
                let drops = before_end.iter().filter(|&&left| t >= end - left).count();
                base * 0.1_f64.powi(i32::try_from(drops).unwrap_or(0))
            }
        }
    }
}

/// What adversarial training minimises, over clean samples x and attacked ones x'. Its formulas are in [`crate::losses`].
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Loss {
    /// Cross-entropy of x' (Madry et al., 1706.06083).
    #[default]
    Ce,
    /// Cross-entropy of x plus that of x': the "Madry" baseline of 2403.10476.
    CleanAndAttacked,
    /// Cross-entropy of x plus beta times the divergence of the predictions (TRADES, Zhang et al., 1901.08573).
    Trades {
        /// Weight of the divergence; the paper's 6.
        #[serde(default = "six")]
        beta: f32,
    },
    /// Boosted cross-entropy of x' plus beta times the divergence, weighted by how wrong x is (MART, Wang et al., ICLR 2020).
    Mart {
        /// Weight of the divergence; 2210.07540 takes 6, the authors 5 or 6.
        #[serde(default = "six")]
        beta: f32,
    },
}

const fn six() -> f32 {
    6.0
}

impl Loss {
    /// TRADES with its paper's beta.
    pub const TRADES: Self = Self::Trades { beta: six() };
    /// MART with the beta of 2210.07540.
    pub const MART: Self = Self::Mart { beta: six() };

    /// Objective and start of the attack that belongs to the loss.
    pub fn attack(self) -> (Objective, Start) {
        match self {
            Self::Ce | Self::CleanAndAttacked => (Objective::Ce, Start::Random),
            Self::Trades { .. } => (Objective::Kl, Start::Normal),
            Self::Mart { .. } => (Objective::Ce, Start::Normal),
        }
    }
}

/// Adversarial training: PGD, TRADES or MART, each with ARD and PRM (paper 2210.07540) or without.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Adversarial {
    /// What is minimised.
    pub loss: Loss,
    /// The attack of each batch, with the model in inference mode.
    pub attack: AttackConfig,
    /// Epochs over which the keep probability q of ARD and PRM rises from 0 to 1 (n_w of the paper).
    pub warmup: f64,
    /// Control arm: the radius is q times the attack's, a linear ramp over `warmup`. The step length stays.
    pub eps_ramp: bool,
    /// Control arm: a batch is trained on unattacked with probability (1 - q)^depth, that of ARD cutting every attention branch
    /// of an attack step.
    pub clean_warmup: bool,
}

impl Default for Adversarial {
    fn default() -> Self {
        Self {
            loss: Loss::Ce,
            attack: AttackConfig { steps: 10, ard: true, prm: true, ..AttackConfig::default() },
            warmup: 10.0,
            eps_ramp: false,
            clean_warmup: false,
        }
    }
}

impl Adversarial {
    /// With that loss, and with the objective and the start that belong to it.
    #[must_use]
    pub fn with_loss(mut self, loss: Loss) -> Self {
        self.loss = loss;
        (self.attack.objective, self.attack.start) = loss.attack();
        self
    }

    fn validate(&self, augment: &Augment) -> Result<()> {
        self.attack.validate()?;
        if !self.warmup.is_finite() || self.warmup < 0.0 {
            return Err(Error::new("adversarial training", "warmup is negative or not finite")
                .with("warmup", self.warmup)
                .help("a number of epochs, 0 for none"));
        }
        match self.loss {
            Loss::Trades { beta } | Loss::Mart { beta } if !(beta.is_finite() && beta >= 0.0) => {
                Err(Error::new("adversarial training", "beta is negative or not finite").with("beta", beta).help("6"))
            }
            Loss::Trades { .. } if self.attack.objective != Objective::Kl => {
                Err(Error::new("adversarial training", "TRADES attacks by the divergence from the clean prediction")
                    .with("attack.objective", format!("{:?}", self.attack.objective))
                    .help("objective = \"kl\" and start = \"normal\" under [method.attack]"))
            }
            Loss::Mart { .. } if augment.mixup > 0.0 || augment.cutmix > 0.0 || augment.smoothing > 0.0 => Err(
                Error::new("adversarial training", "MART needs one label per image: nothing mixed, nothing smoothed")
                    .help("leave out mixup, cutmix and smoothing"),
            ),
            _ => Ok(()),
        }
    }

    /// Keep probability q(t) = min(1, t / n_w) at fractional epoch t.
    pub fn keep(&self, t: f64) -> f64 {
        if self.warmup <= 0.0 { 1.0 } else { (t / self.warmup).clamp(0.0, 1.0) }
    }

    /// Share of the radius at keep probability `keep`.
    pub fn radius(&self, keep: f64) -> f64 {
        if self.eps_ramp { keep } else { 1.0 }
    }

    /// Whether step `number` of a run goes without its attack, for a model of `depth` blocks.
    pub fn skips(&self, seed: u64, number: u32, keep: f64, depth: usize) -> bool {
        if !self.clean_warmup {
            return false;
        }
        let probability = (1.0 - keep).powi(i32::try_from(depth).unwrap_or(i32::MAX));
        f64::from(Philox::new(seed, number, Stream::named("train.clean_warmup")).uniform(0, 0)) < probability
    }
}

/// What is minimised.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Method {
    /// Cross-entropy on clean images. With stochastic layers in the model this is the training of paper 2112.15111.
    #[default]
    Plain,
    /// On attacked images.
    Adversarial(Adversarial),
    /// Cross-entropy on clean images and on images whose patch tokens carry nullspace noise (2403.10476).
    Nullspace(NullspaceConfig),
}

/// Which weights stay as they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Freeze {
    /// None: everything is trained.
    #[default]
    None,
    /// All but the head: a linear classifier is trained on the backbone's features.
    Backbone,
}

/// A whole training run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// Passes over the data.
    pub epochs: u32,
    /// Samples per step.
    pub batch: usize,
    /// At most so many steps per epoch: the data fraction of nullspace finetuning.
    pub steps_per_epoch: Option<usize>,
    /// Of everything random.
    pub seed: u64,
    /// Base learning rate.
    pub lr: f64,
    /// Its course.
    pub schedule: Schedule,
    /// Update rule.
    pub optimizer: Optimizer,
    /// Gradients are scaled down to this global norm.
    pub clip: Option<f64>,
    /// Decay of an exponential moving average of the weights.
    pub ema: Option<f64>,
    /// Which weights stay as they are.
    pub freeze: Freeze,
    /// Augmentation of training images.
    pub augment: Augment,
    /// What is minimised.
    pub method: Method,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch: 64,
            steps_per_epoch: None,
            seed: 0,
            lr: 1e-3,
            schedule: Schedule::Cosine { warmup: 0.0, min: 0.0 },
            optimizer: Optimizer::ADAMW,
            clip: Some(1.0),
            ema: None,
            freeze: Freeze::None,
            augment: Augment::default(),
            method: Method::Plain,
        }
    }
}

impl Recipe {
    /// Reads a TOML file; what it leaves out is as in the default.
    ///
    /// # Errors
    /// The file can't be read, or is no recipe.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, "read", &error))?;
        toml::from_str(&text).map_err(|error| Error::new(path.display().to_string(), format!("is no recipe: {error}")))
    }

    /// Checks that the values make a run.
    ///
    /// # Errors
    /// The first value that does not, by name.
    pub fn validate(&self) -> Result<()> {
        let refuse = |field: &str, value: String, help: &str| {
            Err(Error::new("recipe", format!("{field} is out of range")).with(field, value).help(help))
        };
        if self.batch == 0 {
            return refuse("batch", "0".into(), "a batch has 1 or more samples");
        }
        if self.epochs == 0 {
            return refuse("epochs", "0".into(), "train for 1 or more epochs");
        }
        if !(self.lr.is_finite() && self.lr > 0.0) {
            return refuse("lr", self.lr.to_string(), "a positive number such as 1e-3");
        }
        if self.clip.is_some_and(|clip| clip.is_nan() || clip <= 0.0) {
            return refuse("clip", format!("{:?}", self.clip), "a positive norm, or leave it out");
        }
        if self.ema.is_some_and(|ema| !(0.0..1.0).contains(&ema)) {
            return refuse("ema", format!("{:?}", self.ema), "a decay from 0 to below 1, such as 0.999");
        }
        if self.steps_per_epoch == Some(0) {
            return refuse("steps_per_epoch", "0".into(), "1 or more, or leave it out");
        }
        match &self.method {
            Method::Plain => Ok(()),
            Method::Adversarial(adversarial) => adversarial.validate(&self.augment),
            Method::Nullspace(nullspace) => nullspace.validate(),
        }?;
        self.augment.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_piecewise_schedule_drops_before_the_end() {
        let schedule = Schedule::Steps { before_end: vec![5.0, 2.0] };
        let rates: Vec<f64> = [0.0, 34.9, 35.0, 37.9, 38.0].map(|t| schedule.rate(0.1, t, 40)).to_vec();
        for (rate, expected) in rates.iter().zip([0.1, 0.1, 0.01, 0.01, 0.001]) {
            assert!((rate - expected).abs() < 1e-12, "{rates:?}");
        }
    }

    #[test]
    fn every_preset_is_a_recipe_that_survives_a_checkpoint() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let recipe = Recipe::read(&path).unwrap();
            recipe.validate().unwrap();
            assert_ne!(recipe, Recipe::default(), "{}", path.display());
            let again: Recipe = toml::from_str(&toml::to_string(&recipe).unwrap()).unwrap();
            assert_eq!(recipe, again, "{}", path.display());
            names.push(path.file_stem().unwrap().to_string_lossy().into_owned());
        }
        assert!(names.len() >= 8 && names.iter().any(|name| name == "vit_at_cifar10"), "{names:?}");
        let losses = ["vit_at_cifar10", "vit_trades_cifar10", "vit_mart_cifar10"].map(|name| {
            let recipe = Recipe::read(&folder.join(name).with_extension("toml")).unwrap();
            let Method::Adversarial(adversarial) = recipe.method else { panic!("{name} is not adversarial") };
            let attack = &adversarial.attack;
            assert!(attack.ard && attack.prm && attack.steps == 10 && adversarial.warmup == 10.0, "{name}");
            assert_eq!((attack.objective, attack.start), adversarial.loss.attack(), "{name}");
            adversarial.loss
        });
        assert_eq!(losses, [Loss::Ce, Loss::TRADES, Loss::MART]);
    }

    #[test]
    fn cosine_starts_at_the_base_and_ends_at_the_minimum() {
        let schedule = Schedule::Cosine { warmup: 1.0, min: 1e-6 };
        assert_eq!(schedule.rate(1e-3, 0.5, 20), 5e-4);
        assert!((schedule.rate(1e-3, 1.0, 20) - 1e-3).abs() < 1e-15);
        assert!((schedule.rate(1e-3, 20.0, 20) - 1e-6).abs() < 1e-15);
    }

    #[test]
    fn keep_probability_rises_linearly_and_stays_at_one() {
        let adversarial = Adversarial { warmup: 10.0, ..Adversarial::default() };
        assert_eq!([0.0, 2.5, 10.0, 40.0].map(|t| adversarial.keep(t)), [0.0, 0.25, 1.0, 1.0]);
        assert_eq!(Adversarial { warmup: 0.0, ..adversarial }.keep(0.0), 1.0);
    }

    #[test]
    fn attacks_are_skipped_as_often_as_every_branch_is_cut() {
        let arm = Adversarial { clean_warmup: true, ..Adversarial::default() };
        for (keep, depth) in [(0.0_f64, 12), (0.1, 12), (0.5, 2), (0.9, 1), (1.0, 3)] {
            let expected = (1.0 - keep).powi(i32::try_from(depth).unwrap());
            let count = (0..10_000).filter(|&number| arm.skips(7, number, keep, depth)).count();
            let share = f64::from(u32::try_from(count).unwrap()) / 1e4;
            // Five deviations of a mean of 10,000 draws.
            let bound = 0.05 * (expected * (1.0 - expected)).sqrt();
            assert!((share - expected).abs() <= bound, "q {keep}, depth {depth}: {share}, not {expected}");
            assert!(!Adversarial::default().skips(7, 0, keep, depth));
        }
    }
}
