//! The demonstration: one ViT trained on drawn shapes, three finetuned copies, all four attacked and measured, one report.
//!
//! Patch 8 and width 96 (24 if tiny): the 192-column patch embedding has an exact nullspace of at least 96 dimensions to show.

mod page;

use std::path::Path;
use std::sync::Arc;

use engine::{Device, Error, Result, Tensor};
use models::{Activation, Normalisation, Pool, VitConfig, init};
use serde::Serialize;

use crate::attack::AttackConfig;
use crate::data::{self, Augment, Dataset, Options, Split};
use crate::eps::Eps;
use crate::eval::accuracy::Evaluator;
use crate::eval::calibration::Calibration;
use crate::eval::corruption::{Corruption, Options as CorruptionOptions};
use crate::nullspace::approximate::NullspaceConfig;
use crate::nullspace::exact::{Nullspace, Tolerance, permuted};
use crate::recipe::{Adversarial, Method, Optimizer, Recipe, Schedule};
use crate::trainer::{StepReport, Trainer};

/// Sizes of the demonstration.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Demo {
    /// Of data, weights, draws and attacks.
    pub seed: u64,
    /// Training images.
    pub train: usize,
    /// Test images.
    pub test: usize,
    /// Epochs of the baseline.
    pub epochs: u32,
    /// Epochs of each finetuning.
    pub finetune: u32,
    /// Samples per step.
    pub batch: usize,
    /// A model of width 24 and depth 2 instead of 96 and 4.
    pub tiny: bool,
}

impl Demo {
    /// Minutes on a processor's cores.
    pub const FULL: Self = Self { seed: 1, train: 6000, test: 500, epochs: 12, finetune: 3, batch: 64, tiny: false };
    /// A minute where a GPU is emulated: it shows that everything runs, and teaches little.
    pub const TINY: Self = Self { seed: 1, train: 48, test: 8, epochs: 2, finetune: 1, batch: 16, tiny: true };
}

/// One of the four models, measured.
#[derive(Clone, Debug, Serialize)]
pub struct ModelResult {
    /// `baseline`, `nullspace`, `adversarial` or `stochastic`.
    pub name: String,
    /// Clean accuracy, a fraction.
    pub clean: f64,
    /// Accuracy under 20 steps of PGD-Linf at eps 8/255 (with 8 gradients averaged per step where the model is stochastic).
    pub pgd20: f64,
    /// Mean accuracy over the corruptions.
    pub corruption: f64,
    /// Expected calibration error, 15 bins.
    pub ece15: f64,
    /// Seconds of training.
    pub seconds: f64,
    /// (eps * 255, accuracy under PGD-20).
    pub curve: Vec<(f64, f64)>,
    /// Clean calibration.
    #[serde(skip)]
    pub calibration: Calibration,
    /// (epoch, loss) of training.
    #[serde(skip)]
    pub losses: Vec<(f64, f64)>,
}

/// What the exact nullspace of the baseline's patch embedding does.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Invariance {
    /// Columns of the patch embedding.
    pub columns: usize,
    /// Its rank.
    pub rank: usize,
    /// Dimensions of its nullspace.
    pub nullity: usize,
    /// Largest change of a logit by nullspace noise.
    pub noise: f64,
    /// Largest change of a logit by the same noise with its entries permuted.
    pub permuted: f64,
    /// Largest absolute value of the noise, in pixels of [0, 1].
    pub linf: f64,
}

/// The whole outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The four models, the baseline first.
    pub models: Vec<ModelResult>,
    /// The exact nullspace.
    pub nullspace: Invariance,
}

/// Weights under timm's names.
pub type Weights = Vec<(String, Tensor)>;

/// Tells how far a stage is: its name, steps done, steps in all.
pub type Progress<'a> = &'a mut dyn FnMut(&str, usize, usize);

struct Stage {
    name: &'static str,
    config: VitConfig,
    recipe: Recipe,
}

/// What training a stage gave.
struct Training {
    weights: Weights,
    losses: Vec<(f64, f64)>,
    seconds: f64,
}

/// Runs the demonstration on `device` and writes the report to `report`.
///
/// # Errors
/// The report can't be written (found out before the work), or the device failed.
pub fn run(device: &Device, demo: &Demo, report: &Path, progress: Progress) -> Result<Outcome> {
    engine::fs::check_writable(report)?;
    let options = |limit| Options { limit: Some(limit), seed: demo.seed, ..Options::default() };
    let train = Arc::new(data::open("synthetic", Split::Train, &options(demo.train))?);
    let test = Arc::new(data::open("synthetic", Split::Test, &options(demo.test))?);
    let config = config(train.classes().len(), demo.tiny);
    let mut models = Vec::new();
    let mut trained: Vec<(VitConfig, Weights)> = Vec::new();
    for stage in stages(demo, &config)? {
        let start = match trained.first() {
            Some((_, weights)) => weights.clone(),
            None => init::init(&stage.config, demo.seed)?,
        };
        let training = train_stage(device, &stage, &start, &train, progress)?;
        let weights = training.weights.clone();
        models.push(measure(device, demo, &stage, training, &test, progress)?);
        trained.push((stage.config, weights));
    }
    let (baseline, weights) = trained.first().ok_or_else(|| Error::new("demo", "no model was trained"))?;
    let shown = page::Shown::new(device, demo, baseline, weights, &trained, &test)?;
    let outcome = Outcome { models, nullspace: shown.invariance };
    page::write(device, demo, &outcome, &shown, report)?;
    Ok(outcome)
}

/// The demonstration's ViT: ReLU, so that the stochastic copy differs by its layers alone (2112.15111).
fn config(classes: usize, tiny: bool) -> VitConfig {
    let (width, depth, heads) = if tiny { (24, 2, 2) } else { (96, 4, 3) };
    VitConfig {
        image: [32, 32],
        channels: 3,
        patch: 8,
        width,
        depth,
        heads,
        head_width: width / heads,
        mlp_width: 2 * width,
        classes,
        activation: Activation::Relu,
        qkv_bias: true,
        norm_eps: 1e-6,
        layer_scale: false,
        class_token: true,
        distilled: false,
        register_tokens: 0,
        no_embed_class: false,
        pool: Pool::Token,
        drop_path: 0.0,
        stochastic: None,
        normalisation: Normalisation::half(3),
    }
}

fn stages(demo: &Demo, config: &VitConfig) -> Result<Vec<Stage>> {
    let baseline = Recipe {
        epochs: demo.epochs,
        batch: demo.batch,
        seed: demo.seed,
        lr: 1e-3,
        schedule: Schedule::Cosine { warmup: 1.0, min: 1e-5 },
        optimizer: Optimizer::ADAMW,
        augment: Augment { flip: false, ..Augment::default() },
        ..Recipe::default()
    };
    let finetune = Recipe {
        epochs: demo.finetune,
        lr: 5e-4,
        schedule: Schedule::Cosine { warmup: 0.2, min: 1e-5 },
        ..baseline.clone()
    };
    let attack =
        AttackConfig { ard: true, prm: true, ..AttackConfig::pgd(Eps::fraction(8, 255), Eps::fraction(2, 255), 7) };
    let adversarial = Adversarial { attack, warmup: f64::from(demo.finetune) * 0.5, ..Adversarial::default() };
    let stochastic = VitConfig { stochastic: Some("a05".parse()?), ..config.clone() };
    let method = |method| Recipe { method, ..finetune.clone() };
    Ok(vec![
        Stage { name: "baseline", config: config.clone(), recipe: baseline },
        Stage {
            name: "nullspace",
            config: config.clone(),
            recipe: method(Method::Nullspace(NullspaceConfig { limit: 1.0, ..NullspaceConfig::default() })),
        },
        Stage {
            name: "adversarial",
            config: config.clone(),
            recipe: Recipe { epochs: demo.finetune * 2, ..method(Method::Adversarial(adversarial)) },
        },
        Stage { name: "stochastic", config: stochastic, recipe: method(Method::Plain) },
    ])
}

fn train_stage(
    device: &Device,
    stage: &Stage,
    start: &Weights,
    data: &Arc<Dataset>,
    progress: Progress,
) -> Result<Training> {
    let clock = std::time::Instant::now();
    let mut trainer = Trainer::new(device, &stage.config, start, Arc::clone(data), stage.recipe.clone())?;
    let mut losses = Vec::new();
    let total = trainer.steps_per_epoch() * usize::try_from(stage.recipe.epochs).unwrap_or(usize::MAX);
    while !trainer.is_done() {
        let mut sum = (0.0, 0.0);
        let epoch = trainer.position().0;
        trainer.run_epoch(&mut |_, step: &StepReport| {
            sum = (sum.0 + step.loss, sum.1 + 1.0);
            let done = usize::try_from(step.epoch).unwrap_or(0) * step.steps + step.step + 1;
            progress(&format!("train {}", stage.name), done, total);
            Ok(true)
        })?;
        losses.push((f64::from(epoch + 1), sum.0 / f64::max(sum.1, 1.0)));
    }
    Ok(Training { weights: trainer.weights()?, losses, seconds: clock.elapsed().as_secs_f64() })
}

/// The attack that measures a model: averaged gradients where it is stochastic, since single draws mislead.
fn measuring_attack(config: &VitConfig, eps: Eps) -> AttackConfig {
    let stochastic = config.stochastic.is_some();
    AttackConfig {
        eot: if stochastic { 8 } else { 1 },
        stochastic,
        ..AttackConfig::pgd(eps, Eps::fraction(2, 255), 20)
    }
}

fn measure(
    device: &Device,
    demo: &Demo,
    stage: &Stage,
    training: Training,
    test: &Arc<Dataset>,
    progress: Progress,
) -> Result<ModelResult> {
    let title = format!("measure {}", stage.name);
    let stochastic = stage.config.stochastic.is_some();
    // Averaged gradients cost 8 times as much: the curve of the stochastic model has 0 and 8/255 only.
    let radii: &[u32] = if stochastic { &[8] } else { &[2, 4, 8, 16] };
    let all = radii.len() + 2;
    let batch = demo.test.clamp(1, 100);
    let mut evaluator = Evaluator::new(device, &stage.config, &training.weights, batch, 1, demo.seed)?;
    progress(&title, 0, all);
    let calibration = evaluator.clean(test)?;
    progress(&title, 1, all);
    let options = CorruptionOptions { seed: demo.seed, ..CorruptionOptions::default() };
    let corrupted = evaluator.corrupted(test, &CORRUPTIONS, &[3], &options)?;
    progress(&title, 2, all);
    let mut curve = vec![(0.0, calibration.accuracy)];
    let mut pgd20 = calibration.accuracy;
    for (done, &radius) in radii.iter().enumerate() {
        let attack = measuring_attack(&stage.config, Eps::fraction(radius, 255));
        let accuracy = evaluator.attacked(test, &attack, &mut |_| Ok(()))?.accuracy;
        if radius == 8 {
            pgd20 = accuracy;
        }
        curve.push((f64::from(radius), accuracy));
        progress(&title, done + 3, all);
    }
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let count = corrupted.len().max(1) as f64;
    Ok(ModelResult {
        name: stage.name.to_owned(),
        clean: calibration.accuracy,
        pgd20,
        corruption: corrupted.iter().map(|report| report.accuracy).sum::<f64>() / count,
        ece15: calibration.ece15,
        seconds: training.seconds,
        curve,
        calibration,
        losses: training.losses,
    })
}

/// The exact nullspace of a model's patch embedding, and what its noise does to the logits of some images.
fn invariance(
    device: &Device,
    demo: &Demo,
    config: &VitConfig,
    weights: &Weights,
    images: &[f32],
) -> Result<(Nullspace, Vec<f32>, Invariance)> {
    let find = |name: &str| weights.iter().find(|(other, _)| other == name).map(|(_, tensor)| tensor);
    let weight = find("patch_embed.proj.weight").ok_or_else(|| Error::new("demo", "no patch embedding"))?;
    let dims = [config.width, config.channels, config.patch, config.patch];
    let nullspace = Nullspace::full(&weight.to_f64(), dims, Tolerance::F32)?;
    let noise = nullspace.image_noise(demo.seed, 0, NOISE_LINF, config.image, &config.normalisation.std)?;
    let control = permuted(&noise, demo.seed, 0);
    let volume = noise.len();
    let count = images.len() / volume;
    let ids: Vec<u32> = (0..count).filter_map(|id| u32::try_from(id).ok()).collect();
    let mut evaluator = Evaluator::new(device, config, weights, count, 0, demo.seed)?;
    let mut change = |noise: &[f32]| -> Result<f64> {
        let clean = evaluator.predict(images, &ids)?.0.to_f64();
        let moved: Vec<f32> =
            images.chunks_exact(volume).flat_map(|image| image.iter().zip(noise).map(|(&x, &v)| x + v)).collect();
        let noisy = evaluator.predict(&moved, &ids)?.0.to_f64();
        Ok(engine::check::max_error(&noisy, &clean))
    };
    let (noise_change, permuted_change) = (change(&noise)?, change(&control)?);
    let invariance = Invariance {
        columns: nullspace.columns(),
        rank: nullspace.rank(),
        nullity: nullspace.nullity(),
        noise: noise_change,
        permuted: permuted_change,
        linf: noise.iter().fold(0.0, |most: f64, &v| most.max(f64::from(v.abs()))),
    };
    Ok((nullspace, noise, invariance))
}

/// Largest absolute value of the nullspace noise that is shown, in pixels of [0, 1].
const NOISE_LINF: f64 = 0.35;

/// One corruption of each kind, none of which needs files.
const CORRUPTIONS: [Corruption; 5] = [
    Corruption::GaussianNoise,
    Corruption::GaussianBlur,
    Corruption::Brightness,
    Corruption::Contrast,
    Corruption::Pixelate,
];
