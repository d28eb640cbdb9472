//! Measurements of the audit that no attack makes.

use engine::rng::{Philox, Stream};
use engine::{DType, Error, Plan, Result, Store, Tape, Value};
use kernels::combine::combine;
use kernels::cross_entropy::cross_entropy;
use models::Vit;
use models::vit::Run;

use super::{Audit, Audited, of};
use crate::attack::cascade::{Campaign, Options, Stage, Targets};
use crate::attack::{Attack, AttackConfig};
use crate::data::Loader;
use crate::eval::accuracy::Evaluator;
use crate::eval::sanity::{Gradients, check_gradients};
use crate::inputs::Inputs;

/// Steps of the loss curve.
const STEPS: u32 = 10;

/// Losses along PGD, and gradients at the images.
pub(super) struct Probe {
    store: Store,
    inputs: Inputs,
    attack: Attack,
    plan: Plan,
    losses: Value,
    gradient: Value,
}

impl Probe {
    pub fn new(audit: &Audit) -> Result<Self> {
        let Audited { device, config, tensors, data, .. } = audit.audited;
        let mut store = Store::new(device.clone())?;
        let model = Vit::new(&mut store, "params", config.clone(), tensors, DType::F32)?;
        let inputs = Inputs::new(&mut store, config, audit.config.batch.min(data.len()))?;
        let attack = Attack::new(&mut store, &model, &inputs, &one_step(audit)?)?;
        let mut tape = Tape::new();
        let (images, delta) = (tape.var(&store, inputs.images)?, tape.var(&store, inputs.delta)?);
        let x = combine(&mut tape, &[(1.0, images), (1.0, delta)])?;
        let logits = model.forward(&mut tape, &store, x, &Run::default())?.logits;
        let targets = tape.var(&store, inputs.targets)?;
        let losses = cross_entropy(&mut tape, logits, targets)?;
        let gradient = tape.gradients(losses, &[delta])?;
        let gradient = *gradient.first().ok_or_else(|| Error::new("audit", "no gradient"))?;
        let plan = tape.plan(&mut store, &[losses, gradient])?;
        Ok(Self { store, inputs, attack, plan, losses, gradient })
    }

    /// Mean loss of the first batch before and after each step, and all gradients at its clean images. Of a stochastic model, its mean
    /// network.
    pub fn run(&mut self, audit: &Audit) -> Result<(Vec<f64>, Gradients)> {
        let loader = Loader::evaluation(audit.audited.data.clone(), self.inputs.batch)?;
        let Some(batch) = loader.start(0, 0)?.next().transpose()? else {
            return Ok((Vec::new(), Gradients::default()));
        };
        self.inputs.write(&mut self.store, &batch)?;
        self.inputs.clear_delta(&mut self.store)?;
        self.plan.replay(&mut self.store)?;
        let volume = audit.audited.data.volume();
        let gradient = self.plan.read(&self.store, self.gradient)?;
        let gradients =
            check_gradients(gradient.values::<f32>()?.get(..batch.count * volume).unwrap_or_default(), volume);
        let mut curve = vec![self.mean(batch.count)?];
        for _ in 0..STEPS {
            self.attack.step_plan().replay(&mut self.store)?;
            self.plan.replay(&mut self.store)?;
            curve.push(self.mean(batch.count)?);
        }
        Ok((curve, gradients))
    }

    fn mean(&self, count: usize) -> Result<f64> {
        let losses = self.plan.read(&self.store, self.losses)?;
        let sum: f64 = losses.values::<f32>()?.iter().take(count).map(|&loss| f64::from(loss)).sum();
        Ok(sum * of(1, count))
    }
}

/// PGD whose steps the curve follows one by one.
fn one_step(audit: &Audit) -> Result<AttackConfig> {
    match audit.pgd_at(&audit.config.eps, STEPS) {
        Stage::Pgd(config) => Ok(config),
        _ => Err(Error::new("audit", "PGD is no PGD")),
    }
}

/// Accuracy under the worst of `draws` uniform perturbations per image; only what is still right is tried on.
pub(super) fn noise(audit: &mut Audit, draws: u32) -> Result<f64> {
    let data = audit.audited.data.clone();
    let (volume, batch, eps) = (data.volume(), audit.evaluator.batch(), audit.config.eps.value());
    let samples = audit.under(&audit.pgd())?;
    let total = samples.len();
    let mut left: Vec<usize> = (0..total).filter(|&index| samples.get(index).is_some_and(|one| one.clean)).collect();
    for draw in 0..draws {
        let random = Philox::new(audit.config.seed, draw, Stream::named("audit.noise"));
        let mut withstood = Vec::with_capacity(left.len());
        for part in left.chunks(batch) {
            let (mut images, mut ids) = (vec![0.0; batch * volume], vec![0; batch]);
            for ((&index, image), id) in part.iter().zip(images.chunks_exact_mut(volume)).zip(&mut ids) {
                data.image_f32(index, image)?;
                *id = data.id(index)?;
                random.fill(*id, volume, |element, word| {
                    let change = eps * (2.0 * f64::from(engine::rng::uniform(word)) - 1.0);
                    if let Some(pixel) = image.get_mut(element) {
                        #[expect(clippy::cast_possible_truncation, reason = "a pixel")]
                        let moved = (f64::from(*pixel) + change).clamp(0.0, 1.0) as f32;
                        *pixel = moved;
                    }
                });
            }
            let (logits, _) = audit.evaluator.predict(&images, &ids)?;
            let classes = logits.spec().shape.last();
            for (&index, row) in part.iter().zip(logits.values::<f32>()?.chunks_exact(classes)) {
                let label = usize::try_from(data.label(index)?).unwrap_or(usize::MAX);
                let right = row.get(label).copied().unwrap_or(f32::NAN);
                if row.iter().enumerate().all(|(class, &z)| class == label || z <= right) {
                    withstood.push(index);
                }
            }
        }
        left = withstood;
    }
    Ok(of(left.len(), total))
}

/// Accuracy of the twin under PGD, and of the audited model on those images; `None` without a twin. A stochastic model's twin is its mean
/// network where none is given.
pub(super) fn transfer(audit: &mut Audit) -> Result<Option<(f64, f64)>> {
    let Audited { device, config, tensors, twin, data, .. } = audit.audited;
    let own = config.stochastic.is_some().then_some((config, tensors));
    let Some((config, tensors)) = twin.or(own) else { return Ok(None) };
    let batch = audit.evaluator.batch();
    let clean = Evaluator::new(device, config, tensors, batch, 0, audit.config.seed)?.outputs(data)?;
    let options = Options { batch: audit.config.batch, seed: audit.config.seed, ..Options::default() };
    let mut campaign = Campaign::new(Targets { device, config, tensors, data, clean: &clean }, options)?;
    let report = campaign.run(&[audit.pgd()], &mut |_, _, _| {})?;
    let known = audit.under(&audit.pgd())?.to_vec();
    let mut right = 0;
    for (at, part) in campaign.samples.chunks(batch).enumerate() {
        let (mut images, mut ids) = (vec![0.0; batch * data.volume()], vec![0; batch]);
        for (place, sample) in part.iter().enumerate() {
            let (index, range) = (at * batch + place, place * data.volume()..(place + 1) * data.volume());
            let Some(image) = images.get_mut(range) else { continue };
            data.image_f32(index, image)?;
            image.iter_mut().zip(sample.delta.iter().flatten()).for_each(|(pixel, delta)| *pixel += delta);
            ids.iter_mut().skip(place).take(1).for_each(|id| *id = data.id(index).unwrap_or_default());
        }
        let (logits, _) = audit.evaluator.predict(&images, &ids)?;
        let classes = logits.spec().shape.last();
        for (place, row) in logits.values::<f32>()?.chunks_exact(classes).take(part.len()).enumerate() {
            let index = at * batch + place;
            let label = usize::try_from(data.label(index)?).unwrap_or(usize::MAX);
            let largest = row.get(label).copied().unwrap_or(f32::NAN);
            let stays = row.iter().enumerate().all(|(class, &z)| class == label || z < largest);
            right += usize::from(stays && known.get(index).is_some_and(|one| one.clean));
        }
    }
    Ok(Some((report.robust_accuracy, of(right, data.len()))))
}
