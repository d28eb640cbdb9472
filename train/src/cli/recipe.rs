//! Flags of a training recipe; a TOML file gives the values that no flag sets.

use std::path::PathBuf;

use clap::ValueEnum;
use engine::{Error, Result};
use vitrum_train::attack::{AttackConfig, Norm};
use vitrum_train::data::Augment;
use vitrum_train::eps::Eps;
use vitrum_train::nullspace::approximate::{Level, Noise, NullspaceConfig};
use vitrum_train::recipe::{Adversarial, Freeze, Loss, Method, Optimizer, Recipe, Schedule};

use super::attack_args::NormName;

#[derive(Clone, Copy, ValueEnum)]
pub enum MethodName {
    /// Cross-entropy on clean images
    Plain,
    /// On images attacked by PGD, with ARD and PRM (arXiv 2210.07540)
    Adversarial,
    /// On clean images and on images with nullspace noise on their patch tokens (arXiv 2403.10476)
    Nullspace,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum LossName {
    /// Cross-entropy on attacked images (PGD training)
    Ce,
    /// Cross-entropy on clean plus cross-entropy on attacked images
    CleanAndAttacked,
    /// Cross-entropy on clean images plus beta times the divergence from clean to attacked (TRADES)
    Trades,
    /// Boosted cross-entropy on attacked images plus beta times the weighted divergence (MART)
    Mart,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum OptimizerName {
    Sgd,
    Adamw,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum ScheduleName {
    Constant,
    Cosine,
    /// A tenth 5 epochs before the end, and again 2 before
    Steps,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum FreezeName {
    None,
    /// All but the head
    Backbone,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum NoiseName {
    Learned,
    Permuted,
    Random,
    None,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum LevelName {
    /// The patch tokens
    Encoder,
    /// The normalised images
    Image,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Recipe")]
pub struct RecipeArgs {
    /// TOML file with a recipe; flags override its values
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What is minimised [default: plain]
    #[arg(long, value_enum)]
    method: Option<MethodName>,
    /// Passes over the data [default: 10]
    #[arg(long, value_name = "N")]
    epochs: Option<u32>,
    /// Images per step [default: 64]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// At most so many steps per epoch
    #[arg(long, value_name = "N")]
    steps_per_epoch: Option<usize>,
    /// Base learning rate [default: 1e-3]
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,
    /// Update rule [default: adamw]
    #[arg(long, value_enum)]
    optimizer: Option<OptimizerName>,
    /// Weight decay [default: 0.05 for adamw, 1e-4 for sgd]
    #[arg(long, value_name = "RATE")]
    weight_decay: Option<f64>,
    /// Course of the learning rate [default: cosine]
    #[arg(long, value_enum)]
    schedule: Option<ScheduleName>,
    /// Epochs of linear warm-up of a cosine schedule [default: 0]
    #[arg(long, value_name = "EPOCHS")]
    warmup: Option<f64>,
    /// Scale gradients down to this global norm; `inf` for never [default: 1]
    #[arg(long, value_name = "NORM")]
    clip: Option<f64>,
    /// Keep a moving average of the weights with this decay, and give it as the result
    #[arg(long, value_name = "DECAY")]
    ema: Option<f64>,
    /// Which weights stay as they are [default: none]
    #[arg(long, value_enum)]
    freeze: Option<FreezeName>,
    /// Pad by so many pixels and crop at random
    #[arg(long, value_name = "PIXELS")]
    crop_pad: Option<usize>,
    /// Flip half of the images
    #[arg(long)]
    flip: bool,
    /// RandAugment as timm configures it, e.g. rand-m9-mstd0.5-inc1; `none` for none
    #[arg(long, value_name = "CONFIG")]
    rand_augment: Option<String>,
    /// Brightness, contrast and saturation by factors of 1 - S to 1 + S, e.g. 0.4; not with RandAugment
    #[arg(long, value_name = "S")]
    color_jitter: Option<f32>,
    /// Probability that a box of an image becomes noise, e.g. 0.25
    #[arg(long, value_name = "P")]
    random_erasing: Option<f32>,
    /// Mixup's Beta parameter, e.g. 0.8
    #[arg(long, value_name = "ALPHA")]
    mixup: Option<f32>,
    /// CutMix's Beta parameter, e.g. 1.0
    #[arg(long, value_name = "ALPHA")]
    cutmix: Option<f32>,
    /// Probability of mixing a batch at all [default: 1 where mixup or cutmix is given]
    #[arg(long, value_name = "P")]
    mix_prob: Option<f32>,
    /// Label smoothing, e.g. 0.1
    #[arg(long, value_name = "SHARE")]
    smoothing: Option<f32>,
    /// Adversarial: what is minimised; the attack's objective and start follow it [default: ce]
    #[arg(long, value_enum)]
    loss: Option<LossName>,
    /// TRADES and MART: weight of the divergence [default: 6]
    #[arg(long, value_name = "BETA")]
    beta: Option<f32>,
    /// Adversarial: radius of the ball [default: 8/255]
    #[arg(long, value_name = "EPS")]
    eps: Option<Eps>,
    /// Adversarial: ball that bounds the perturbation [default: linf]
    #[arg(long, value_enum)]
    attack_norm: Option<NormName>,
    /// Adversarial: step length [default: 2/255]
    #[arg(long, value_name = "EPS")]
    alpha: Option<Eps>,
    /// Adversarial: attack steps per batch [default: 10]
    #[arg(long, value_name = "N")]
    attack_steps: Option<u32>,
    /// Adversarial: without Attention Random Dropping
    #[arg(long)]
    no_ard: bool,
    /// Adversarial: without Perturbation Random Masking
    #[arg(long)]
    no_prm: bool,
    /// Adversarial: epochs over which ARD and PRM fade out [default: 10]
    #[arg(long, value_name = "EPOCHS")]
    attack_warmup: Option<f64>,
    /// Adversarial, a control arm: eps rises linearly from 0 over --attack-warmup; with --no-ard --no-prm it stands alone
    #[arg(long)]
    eps_ramp: bool,
    /// Adversarial, a control arm: batches go unattacked with probability (1 - q)^depth, q rising over --attack-warmup
    #[arg(long)]
    clean_warmup: bool,
    /// Nullspace: the method, or one of its controls [default: learned]
    #[arg(long, value_enum)]
    noise: Option<NoiseName>,
    /// Nullspace: what the noise is added to [default: encoder]
    #[arg(long, value_enum)]
    noise_level: Option<LevelName>,
    /// Nullspace: half-width of the noise's uniform start [default: 3]
    #[arg(long, value_name = "LIMIT")]
    noise_limit: Option<f64>,
    /// Nullspace: learning rate of the noise [default: 0.1]
    #[arg(long, value_name = "RATE")]
    noise_lr: Option<f64>,
    /// Nullspace: bound of the mean squared distance of probabilities [default: 0.03]
    #[arg(long, value_name = "BOUND")]
    noise_eps: Option<f64>,
    /// Nullspace: don't stop at the bound
    #[arg(long)]
    no_early_stop: bool,
}

impl RecipeArgs {
    /// The recipe that file and flags describe.
    pub fn recipe(&self, seed: u64) -> Result<Recipe> {
        let mut recipe = match &self.config {
            Some(path) => Recipe::read(path)?,
            None => Recipe::default(),
        };
        recipe.seed = seed;
        set(&mut recipe.epochs, self.epochs);
        set(&mut recipe.batch, self.batch);
        set(&mut recipe.lr, self.lr);
        recipe.steps_per_epoch = self.steps_per_epoch.or(recipe.steps_per_epoch);
        set(
            &mut recipe.freeze,
            self.freeze.map(|name| match name {
                FreezeName::None => Freeze::None,
                FreezeName::Backbone => Freeze::Backbone,
            }),
        );
        recipe.ema = self.ema.or(recipe.ema);
        if let Some(clip) = self.clip {
            recipe.clip = clip.is_finite().then_some(clip);
        }
        self.optimizer(&mut recipe);
        self.schedule(&mut recipe)?;
        self.augment(&mut recipe.augment)?;
        self.method(&mut recipe)?;
        recipe.validate()?;
        Ok(recipe)
    }

    fn optimizer(&self, recipe: &mut Recipe) {
        match self.optimizer {
            Some(OptimizerName::Sgd) => recipe.optimizer = Optimizer::SGD,
            Some(OptimizerName::Adamw) => recipe.optimizer = Optimizer::ADAMW,
            None => {}
        }
        match &mut recipe.optimizer {
            Optimizer::Sgd { weight_decay, .. } | Optimizer::Adamw { weight_decay, .. } => {
                set(weight_decay, self.weight_decay);
            }
        }
    }

    fn schedule(&self, recipe: &mut Recipe) -> Result<()> {
        match self.schedule {
            Some(ScheduleName::Constant) => recipe.schedule = Schedule::Constant,
            Some(ScheduleName::Cosine) => recipe.schedule = Schedule::Cosine { warmup: 0.0, min: 0.0 },
            Some(ScheduleName::Steps) => recipe.schedule = Schedule::Steps { before_end: vec![5.0, 2.0] },
            None => {}
        }
        match (&mut recipe.schedule, self.warmup) {
            (Schedule::Cosine { warmup, .. }, Some(epochs)) => *warmup = epochs,
            (Schedule::Constant | Schedule::Steps { .. }, Some(_)) => {
                return Err(Error::new("--warmup", "belongs to a cosine schedule").help("--schedule cosine"));
            }
            (_, None) => {}
        }
        Ok(())
    }

    fn augment(&self, augment: &mut Augment) -> Result<()> {
        set(&mut augment.crop_pad, self.crop_pad);
        augment.flip |= self.flip;
        match self.rand_augment.as_deref() {
            Some("none") => augment.rand_augment = None,
            Some(config) => augment.rand_augment = Some(config.parse()?),
            None => {}
        }
        set(&mut augment.color_jitter, self.color_jitter);
        set(&mut augment.random_erasing, self.random_erasing);
        set(&mut augment.mixup, self.mixup);
        set(&mut augment.cutmix, self.cutmix);
        set(&mut augment.smoothing, self.smoothing);
        set(&mut augment.mix_prob, self.mix_prob);
        Ok(())
    }

    fn method(&self, recipe: &mut Recipe) -> Result<()> {
        match self.method {
            Some(MethodName::Plain) => recipe.method = Method::Plain,
            Some(MethodName::Adversarial) => recipe.method = Method::Adversarial(Adversarial::default()),
            Some(MethodName::Nullspace) => recipe.method = Method::Nullspace(NullspaceConfig::default()),
            None => {}
        }
        let refuse = |flag: &str, method: &str| {
            Err(Error::new(flag, format!("belongs to {method} training")).help(format!("--method {method}")))
        };
        if let Method::Adversarial(adversarial) = &mut recipe.method {
            self.loss(adversarial)?;
            self.attack(&mut adversarial.attack);
            set(&mut adversarial.warmup, self.attack_warmup);
            adversarial.eps_ramp |= self.eps_ramp;
            adversarial.clean_warmup |= self.clean_warmup;
        } else if self.eps.is_some() || self.alpha.is_some() || self.attack_steps.is_some() {
            return refuse("--eps, --alpha, --attack-steps", "adversarial");
        } else if self.no_ard || self.no_prm || self.attack_warmup.is_some() {
            return refuse("--no-ard, --no-prm, --attack-warmup", "adversarial");
        } else if self.eps_ramp || self.clean_warmup {
            return refuse("--eps-ramp, --clean-warmup", "adversarial");
        } else if self.loss.is_some() || self.beta.is_some() || self.attack_norm.is_some() {
            return refuse("--loss, --beta, --attack-norm", "adversarial");
        }
        if let Method::Nullspace(nullspace) = &mut recipe.method {
            set(&mut nullspace.limit, self.noise_limit);
            set(&mut nullspace.lr, self.noise_lr);
            set(&mut nullspace.eps, self.noise_eps);
            nullspace.early_stop &= !self.no_early_stop;
            set(&mut nullspace.noise, self.noise.map(noise));
            set(&mut nullspace.level, self.noise_level.map(level));
        } else if self.noise.is_some() || self.noise_limit.is_some() || self.noise_eps.is_some() {
            return refuse("--noise, --noise-limit, --noise-eps", "nullspace");
        } else if self.noise_lr.is_some() || self.noise_level.is_some() || self.no_early_stop {
            return refuse("--noise-lr, --noise-level, --no-early-stop", "nullspace");
        }
        Ok(())
    }

    fn loss(&self, adversarial: &mut Adversarial) -> Result<()> {
        let named = self.loss.map(|name| match name {
            LossName::Ce => Loss::Ce,
            LossName::CleanAndAttacked => Loss::CleanAndAttacked,
            LossName::Trades => Loss::TRADES,
            LossName::Mart => Loss::MART,
        });
        if let Some(loss) = named {
            *adversarial = std::mem::take(adversarial).with_loss(loss);
        }
        match (&mut adversarial.loss, self.beta) {
            (Loss::Trades { beta } | Loss::Mart { beta }, Some(given)) => *beta = given,
            (Loss::Ce | Loss::CleanAndAttacked, Some(_)) => {
                return Err(Error::new("--beta", "belongs to TRADES and MART").help("--loss trades or --loss mart"));
            }
            (_, None) => {}
        }
        Ok(())
    }

    fn attack(&self, attack: &mut AttackConfig) {
        set(&mut attack.norm, self.attack_norm.map(Norm::from));
        set(&mut attack.eps, self.eps.clone());
        set(&mut attack.alpha, self.alpha.clone());
        set(&mut attack.steps, self.attack_steps);
        attack.ard &= !self.no_ard;
        attack.prm &= !self.no_prm;
    }
}

fn noise(name: NoiseName) -> Noise {
    match name {
        NoiseName::Learned => Noise::Learned,
        NoiseName::Permuted => Noise::Permuted,
        NoiseName::Random => Noise::Random,
        NoiseName::None => Noise::None,
    }
}

fn level(name: LevelName) -> Level {
    match name {
        LevelName::Encoder => Level::Encoder,
        LevelName::Image => Level::Image,
    }
}

fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}
