//! Accuracy and calibration of a model on clean, attacked and corrupted images.

use std::sync::Arc;

use engine::{DType, Device, Error, Plan, Result, Store, Tape, Tensor, Value, Var};
use kernels::combine::combine;
use models::vit::Run;
use models::{Vit, VitConfig};
use serde::Serialize;

use super::calibration::Calibration;
use super::classes::ClassMap;
use super::corruption::{Corruption, Corruptor, Options};
use super::outputs::Outputs;
use super::randomised;
use super::sanity::{self, Warning};
use crate::attack::patch_fool::{PatchFool, PatchFoolConfig};
use crate::attack::pgd::gradients;
use crate::attack::{Attack, AttackConfig, Objective};
use crate::data::loader::Samples;
use crate::data::{Dataset, Loader};
use crate::inputs::Inputs;

/// A model ready to be evaluated.
pub struct Evaluator {
    store: Store,
    model: Vit,
    inputs: Inputs,
    plan: Plan,
    logits: Value,
    features: Value,
    random: Var,
    draws: u32,
    seed: u64,
    mask: Option<ClassMap>,
    warnings: Vec<Warning>,
}

/// What an attack did to a model.
#[derive(Clone, Debug, Serialize)]
pub struct AttackReport {
    /// Short name: `pgd20-linf`.
    pub name: String,
    /// All of its parameters.
    pub config: AttackConfig,
    /// Samples still classified correctly.
    pub correct: usize,
    /// Samples attacked.
    pub total: usize,
    /// Robust accuracy, a fraction.
    pub accuracy: f64,
    /// Largest absolute perturbation of any pixel, measured.
    pub max_linf: f64,
    /// Mean Euclidean length of the perturbations, measured.
    pub mean_l2: f64,
}

/// What Patch-Fool did to a model.
#[derive(Clone, Debug, Serialize)]
pub struct PatchReport {
    /// Short name: `patch-fool250-p1`.
    pub name: String,
    /// All of its parameters.
    pub config: PatchFoolConfig,
    /// Counts, and how far images were changed.
    #[serde(flatten)]
    pub measured: Measured,
}

/// What an attack came to.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// Samples still classified correctly.
    pub correct: usize,
    /// Samples attacked.
    pub total: usize,
    /// Robust accuracy, a fraction.
    pub accuracy: f64,
    /// Largest absolute perturbation of any pixel, measured.
    pub max_linf: f64,
    /// Mean Euclidean length of the perturbations, measured.
    pub mean_l2: f64,
}

/// Accuracy under one corruption and severity.
#[derive(Clone, Debug, Serialize)]
pub struct CorruptionReport {
    /// Name: `gaussian_noise`.
    pub name: String,
    /// 1 to 5.
    pub severity: u8,
    /// Accuracy, a fraction.
    pub accuracy: f64,
    /// Whether the figure can be compared with published ones: `frost` without the published photographs can't.
    pub comparable: bool,
}

/// A batch after an attack.
pub struct Attacked<'a> {
    /// The clean batch.
    pub samples: &'a Samples,
    /// Attacked images [b, c, h, w].
    pub images: &'a [f32],
    /// Probabilities [b, classes] on them.
    pub probabilities: &'a [f64],
}

impl Evaluator {
    /// Plans inference for batches of `batch`. `draws` > 0 averages the softmax over so many draws of the model's stochastic
    /// layers (2112.15111); 0 evaluates the mean network. Draws are a function of `seed`.
    ///
    /// # Errors
    /// The tensors do not fit the configuration, or out of memory.
    pub fn new(
        device: &Device,
        config: &VitConfig,
        tensors: &[(String, Tensor)],
        batch: usize,
        draws: u32,
        seed: u64,
    ) -> Result<Self> {
        if batch == 0 {
            return Err(Error::new("evaluation", "a batch of 0 images").help("--batch 1 or more"));
        }
        let mut store = Store::new(device.clone())?;
        let model = Vit::new(&mut store, "params", config.clone(), tensors, DType::F32)?;
        let inputs = Inputs::new(&mut store, config, batch)?;
        let random = store.data_var("eval.random", DType::U32, &[engine::rng::STATE_WORDS])?;
        let draws = if config.stochastic.is_some() { draws } else { 0 };
        let mut tape = Tape::new();
        let images = tape.var(&store, inputs.images)?;
        let delta = tape.var(&store, inputs.delta)?;
        let x = combine(&mut tape, &[(1.0, images), (1.0, delta)])?;
        let run =
            Run { random: Some(inputs.draws(&mut tape, &store, random)?), stochastic: draws > 0, ..Run::default() };
        let output = model.forward(&mut tape, &store, x, &run)?;
        let plan = tape.plan(&mut store, &[output.logits, output.features])?;
        let (logits, features) = (output.logits, output.features);
        Ok(Self { store, model, inputs, plan, logits, features, random, draws, seed, mask: None, warnings: Vec::new() })
    }

    /// The model's configuration.
    pub fn config(&self) -> &VitConfig {
        self.model.config()
    }

    /// Whether predictions depend on the seed.
    pub fn is_random(&self) -> bool {
        self.draws > 0
    }

    /// Images of a batch.
    pub fn batch(&self) -> usize {
        self.inputs.batch
    }

    /// Logits [b, classes] and features [b, d] of images [b, c, h, w] in [0, 1], of one draw.
    ///
    /// # Errors
    /// The images do not fit the batch.
    pub fn predict(&mut self, images: &[f32], ids: &[u32]) -> Result<(Tensor, Tensor)> {
        self.store.write_values(self.inputs.images, images)?;
        self.store.write_values(self.inputs.ids, ids)?;
        self.inputs.clear_delta(&mut self.store)?;
        self.store.write_values(self.random, &engine::rng::Philox::state(self.seed, 0))?;
        self.plan.replay(&mut self.store)?;
        Ok((self.plan.read(&self.store, self.logits)?, self.plan.read(&self.store, self.features)?))
    }

    /// Restricts predictions to some classes: the logits of the others count as negative infinity. Data must then have the classes
    /// that `mask` was made for.
    pub fn restrict(&mut self, mask: ClassMap) {
        self.mask = Some(mask);
    }

    /// What was suspicious about the outputs so far.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Remembers what was not remembered yet.
    fn warn(&mut self, found: impl IntoIterator<Item = Warning>) {
        for warning in found {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
    }

    /// Looks at the gradients that an attack follows from the first batch of images: [`Evaluator::warnings`] tells of gradients that
    /// lead nowhere.
    ///
    /// # Errors
    /// As [`Evaluator::clean`], and those of the attack.
    pub fn look_at_gradients(&mut self, data: &Arc<Dataset>, config: &AttackConfig) -> Result<()> {
        // The divergence from the clean prediction has no gradient on the clean image itself.
        if config.objective == Objective::Kl {
            return Ok(());
        }
        let Some(batch) = Loader::evaluation(Arc::clone(data), self.inputs.batch)?.start(0, 0)?.next() else {
            return Ok(());
        };
        let batch = batch?;
        self.inputs.write(&mut self.store, &batch)?;
        self.inputs.clear_delta(&mut self.store)?;
        let state = engine::rng::Philox::state(self.seed, 0);
        let gradients = gradients(&mut self.store, &self.model, &self.inputs, config, state)?;
        let gradients = gradients.values::<f32>()?;
        let volume = data.volume();
        let real = gradients.get(..batch.count * volume).unwrap_or(gradients);
        self.warn(sanity::check_gradients(real, volume).warnings());
        Ok(())
    }

    /// Classes that predictions are made among.
    fn classes(&self) -> usize {
        self.mask.as_ref().map_or(self.config().classes, |mask| mask.columns().len())
    }

    /// Probabilities [b, classes] of the images and perturbation that lie in the inputs: the mean softmax over draws. The first
    /// `count` images are real.
    fn probabilities(&mut self, count: usize) -> Result<Vec<f64>> {
        let (head, classes) = (self.config().classes, self.classes());
        let mut sums = vec![0.0; self.inputs.batch * classes];
        let mut kept = Vec::with_capacity(classes);
        for draw in 0..self.draws.max(1) {
            self.store.write_values(self.random, &engine::rng::Philox::state(self.seed, draw))?;
            self.plan.replay(&mut self.store)?;
            let logits = self.plan.read(&self.store, self.logits)?;
            let logits = logits.values::<f32>()?;
            self.warn(sanity::check_outputs(logits.get(..count * head).unwrap_or(logits), head));
            for (row, sums) in logits.chunks_exact(head).zip(sums.chunks_exact_mut(classes)) {
                kept.clear();
                match &self.mask {
                    Some(mask) => kept.extend(mask.columns().iter().filter_map(|&class| row.get(class))),
                    None => kept.extend_from_slice(row),
                }
                softmax(&kept, sums, 1.0 / f64::from(self.draws.max(1)));
            }
        }
        Ok(sums)
    }

    /// Lets stochastic layers draw under another seed from here on.
    pub fn reseed(&mut self, seed: u64) {
        self.seed = seed;
    }

    /// Clean accuracy and calibration.
    ///
    /// # Errors
    /// The data do not fit the model, or can't be read.
    pub fn clean(&mut self, data: &Arc<Dataset>) -> Result<Calibration> {
        Ok(Calibration::of(&self.outputs(data)?.scores()?))
    }

    /// Outputs on clean images, in the order of the data.
    ///
    /// # Errors
    /// As [`Evaluator::clean`].
    pub fn outputs(&mut self, data: &Arc<Dataset>) -> Result<Outputs> {
        self.changed(data, |_| Ok(()))
    }

    /// Outputs on images that `change` works on before they are seen.
    fn changed(&mut self, data: &Arc<Dataset>, mut change: impl FnMut(&mut Samples) -> Result<()>) -> Result<Outputs> {
        let mut outputs = Outputs { classes: self.classes(), ..Outputs::default() };
        self.inputs.clear_delta(&mut self.store)?;
        for batch in Loader::evaluation(Arc::clone(data), self.inputs.batch)?.start(0, 0)? {
            let mut batch = batch?;
            change(&mut batch)?;
            // Not the targets: where a mask is set, the data have other classes than the head.
            self.store.write_values(self.inputs.images, &batch.images)?;
            self.store.write_values(self.inputs.ids, &batch.ids)?;
            let all = self.probabilities(batch.count)?;
            outputs.probabilities.extend(all.iter().take(batch.count * outputs.classes));
            outputs.ids.extend(batch.ids.iter().take(batch.count));
            let labels = batch.labels.iter().take(batch.count);
            outputs.labels.extend(labels.map(|&label| self.mask.as_ref().map_or(label, |mask| mask.position(label))));
        }
        Ok(outputs)
    }

    /// Accuracy on corrupted images: each corruption at each severity.
    ///
    /// # Errors
    /// As [`Evaluator::clean`].
    pub fn corrupted(
        &mut self,
        data: &Arc<Dataset>,
        corruptions: &[Corruption],
        severities: &[u8],
        options: &Options,
    ) -> Result<Vec<CorruptionReport>> {
        let mut reports = Vec::new();
        for &corruption in corruptions {
            for &severity in severities {
                let corruptor = Corruptor::new(corruption, severity, data.dims(), options)?;
                let outputs = self.changed(data, |samples| {
                    let Samples { images, ids, count, .. } = samples;
                    corruptor.batch(images, ids.get(..*count).unwrap_or_default())
                })?;
                let accuracy = outputs.scores()?.accuracy();
                let comparable = corruption != Corruption::Frost || options.frost.is_published();
                reports.push(CorruptionReport { name: corruption.name().to_owned(), severity, accuracy, comparable });
            }
        }
        Ok(reports)
    }

    /// Robust accuracy under an attack; `each` sees every attacked batch. Samples that are wrong without an attack count as
    /// not robust.
    ///
    /// # Errors
    /// As [`Evaluator::clean`], those of the attack, and those of `each`.
    pub fn attacked(
        &mut self,
        data: &Arc<Dataset>,
        config: &AttackConfig,
        each: &mut dyn FnMut(&Attacked) -> Result<()>,
    ) -> Result<AttackReport> {
        self.check_attackable(data)?;
        self.warn(randomised::warning(self.config(), config));
        self.look_at_gradients(data, config)?;
        let attack = Attack::new(&mut self.store, &self.model, &self.inputs, config)?;
        let Measured { correct, total, accuracy, max_linf, mean_l2 } =
            self.crafted(data, &|store, seed| attack.run(store, seed, 0, 1.0), each)?;
        let (name, config) = (config.name(), config.clone());
        Ok(AttackReport { name, config, correct, total, accuracy, max_linf, mean_l2 })
    }

    /// Robust accuracy under Patch-Fool, as [`Evaluator::attacked`].
    ///
    /// # Errors
    /// As [`Evaluator::attacked`].
    pub fn patched(
        &mut self,
        data: &Arc<Dataset>,
        config: &PatchFoolConfig,
        each: &mut dyn FnMut(&Attacked) -> Result<()>,
    ) -> Result<PatchReport> {
        self.check_attackable(data)?;
        let attack = PatchFool::new(&mut self.store, &self.model, &self.inputs, config)?;
        let measured = self.crafted(data, &|store, seed| attack.run(store, seed, 0), each)?;
        Ok(PatchReport { name: config.name(), config: config.clone(), measured })
    }

    /// Refuses what no attack could be measured on.
    fn check_attackable(&self, data: &Dataset) -> Result<()> {
        if self.mask.is_some() {
            return Err(Error::new("attack", "the loss of an attack is that of all classes, not of some")
                .help("leave out --class-order and --class-subset, or the attacks"));
        }
        sanity::check_labels(data.name(), &data.labels()?, self.config().classes)
    }

    /// Attacks all batches: `craft` leaves perturbations in the inputs, under a seed.
    fn crafted(
        &mut self,
        data: &Arc<Dataset>,
        craft: &dyn Fn(&mut Store, u64) -> Result<()>,
        each: &mut dyn FnMut(&Attacked) -> Result<()>,
    ) -> Result<Measured> {
        let classes = self.config().classes;
        let volume = data.volume();
        let (mut correct, mut total, mut max_linf, mut length) = (0, 0, 0.0_f64, 0.0);
        for batch in Loader::evaluation(Arc::clone(data), self.inputs.batch)?.start(0, 0)? {
            let batch = batch?;
            self.inputs.write(&mut self.store, &batch)?;
            self.inputs.clear_delta(&mut self.store)?;
            let clean = right(&self.probabilities(batch.count)?, &batch, classes);
            craft(&mut self.store, self.seed)?;
            let probabilities = self.probabilities(batch.count)?;
            let robust = right(&probabilities, &batch, classes);
            correct += clean.iter().zip(robust).filter(|&(&clean, robust)| clean && robust).count();
            total += batch.count;
            let delta = self.store.read(self.inputs.delta)?;
            let mut images = batch.images.clone();
            for (image, delta) in
                images.chunks_exact_mut(volume).zip(delta.values::<f32>()?.chunks_exact(volume)).take(batch.count)
            {
                let mut squares = 0.0;
                for (pixel, &delta) in image.iter_mut().zip(delta) {
                    *pixel += delta;
                    max_linf = max_linf.max(f64::from(delta.abs()));
                    squares += f64::from(delta) * f64::from(delta);
                }
                length += squares.sqrt();
            }
            each(&Attacked { samples: &batch, images: &images, probabilities: &probabilities })?;
        }
        #[expect(clippy::cast_precision_loss, reason = "sample counts")]
        let (count, right) = (total.max(1) as f64, correct as f64);
        Ok(Measured { correct, total, accuracy: right / count, max_linf, mean_l2: length / count })
    }
}

/// Which samples of a batch have their label as the most probable class.
fn right(probabilities: &[f64], batch: &Samples, classes: usize) -> Vec<bool> {
    let rows = probabilities.chunks_exact(classes).zip(&batch.labels).take(batch.count);
    rows.map(|(row, &label)| usize::try_from(label).is_ok_and(|label| argmax(row) == label)).collect()
}

/// Position of the first largest value.
pub fn argmax(row: &[f64]) -> usize {
    let best =
        row.iter().enumerate().fold((0, f64::NEG_INFINITY), |best, (at, &p)| if p > best.1 { (at, p) } else { best });
    best.0
}

/// Adds `weight * softmax(row)` to `sums`.
fn softmax(row: &[f32], sums: &mut [f64], weight: f64) {
    let most = row.iter().fold(f64::NEG_INFINITY, |most, &z| most.max(f64::from(z)));
    let total: f64 = row.iter().map(|&z| (f64::from(z) - most).exp()).sum();
    for (sum, &z) in sums.iter_mut().zip(row) {
        *sum += weight * (f64::from(z) - most).exp() / total;
    }
}
