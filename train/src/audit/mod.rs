//! The battery: sixteen checks of a robustness evaluation (Carlini et al., "On evaluating adversarial robustness", 1902.06705; definitions
//! B.10). Each passes or fails with the figure that says why. A check that can't be made fails and says what it lacks.

mod checks;
mod probe;

use std::collections::HashMap;
use std::sync::Arc;

use engine::{Device, Result, Tensor};
use models::VitConfig;

use crate::attack::cascade::{Apgd, ApgdLoss, Campaign, Options, Robust, Square, Stage, Targets, verify};
use crate::attack::{AttackConfig, Norm};
use crate::data::Dataset;
use crate::eps::Eps;
use crate::eval::accuracy::Evaluator;
use crate::eval::outputs::Outputs;
use crate::report::lab::{AttackCurves, AuditReport, Curve, Measure};

/// Knobs of an audit.
#[derive(Clone, Debug)]
pub struct AuditConfig {
    /// Radius of the Linf ball that the model is to be robust in.
    pub eps: Eps,
    /// Steps of the PGD that is audited; step length 2.5 eps / steps (MadryLab's rule).
    pub steps: u32,
    /// Steps of Auto-PGD.
    pub apgd_steps: u32,
    /// Proposals of the Square Attack.
    pub queries: u32,
    /// Random perturbations per image.
    pub noise_draws: u32,
    /// Restarts that must change nothing.
    pub restarts: u32,
    /// Radius of the L2 ball.
    pub eps_l2: Eps,
    /// Steps of Patch-Fool.
    pub patch_steps: u32,
    /// Draws of a stochastic model per gradient.
    pub draws: u32,
    /// Attempts side by side.
    pub batch: usize,
    /// Seed of everything random.
    pub seed: u64,
}

impl AuditConfig {
    /// PGD-50, APGD-100, 1,000 queries, 10,000 noises, 10 restarts, L2 0.5, Patch-Fool-100.
    pub fn new(eps: Eps, is_stochastic: bool) -> Self {
        Self {
            eps,
            steps: 50,
            apgd_steps: 100,
            queries: 1000,
            noise_draws: 10_000,
            restarts: 10,
            eps_l2: Eps::fraction(1, 2),
            patch_steps: 100,
            draws: if is_stochastic { 20 } else { 0 },
            batch: 64,
            seed: 0,
        }
    }
}

/// What is audited.
#[derive(Clone, Copy)]
pub struct Audited<'a> {
    /// Where.
    pub device: &'a Device,
    /// The model.
    pub config: &'a VitConfig,
    /// Its weights, by timm's names.
    pub tensors: &'a [(String, Tensor)],
    /// An undefended model of the same task, for transfer.
    pub twin: Option<(&'a VitConfig, &'a [(String, Tensor)])>,
    /// The images.
    pub data: &'a Arc<Dataset>,
    /// Whether weights, data and settings are known by their hashes: what check 15 asks.
    pub is_recorded: bool,
}

/// Everything that an audit found.
#[derive(Debug)]
pub struct Findings {
    /// The checks.
    pub report: AuditReport,
    /// Accuracy against eps.
    pub curves: AttackCurves,
    /// Single figures.
    pub measures: Vec<Measure>,
}

/// An audit at work.
pub struct Audit<'a> {
    audited: Audited<'a>,
    config: AuditConfig,
    evaluator: Evaluator,
    clean: Outputs,
    /// Attacks that were run, by what they are.
    known: HashMap<String, Vec<Robust>>,
}

impl<'a> Audit<'a> {
    /// Measures the clean model.
    ///
    /// # Errors
    /// The data do not fit the model, or out of memory.
    pub fn new(audited: Audited<'a>, config: AuditConfig) -> Result<Self> {
        let Audited { device, config: model, tensors, data, .. } = audited;
        let batch = config.batch.min(data.len());
        let mut evaluator = Evaluator::new(device, model, tensors, batch, config.draws, config.seed)?;
        let clean = evaluator.outputs(data)?;
        Ok(Self { audited, config, evaluator, clean, known: HashMap::new() })
    }

    /// Makes all checks; `watch` hears the name of each before it is made.
    ///
    /// # Errors
    /// A device failed, or out of memory.
    pub fn run(&mut self, watch: &mut dyn FnMut(u32, &str)) -> Result<Findings> {
        let mut report = AuditReport::default();
        for (number, name, check) in (1..).zip(checks::ALL).map(|(number, (name, check))| (number, name, check)) {
            watch(number, name);
            let found = check(self)?;
            report.checks.push(found.named(number, name));
        }
        let curves = self.curves()?;
        let measures = self.measures();
        Ok(Findings { report, curves, measures })
    }

    /// What becomes of every sample under an attack; each attack is run once.
    fn under(&mut self, stage: &Stage) -> Result<&[Robust]> {
        let stage = stage.with_draws(self.config.draws);
        let key = serde_json::to_string(&stage).unwrap_or_else(|_| stage.name());
        if !self.known.contains_key(&key) {
            let Audited { device, config, tensors, data, .. } = self.audited;
            let targets = Targets { device, config, tensors, data, clean: &self.clean };
            let options = Options { batch: self.config.batch, seed: self.config.seed, ..Options::default() };
            let mut campaign = Campaign::new(targets, options)?;
            campaign.run(std::slice::from_ref(&stage), &mut |_, _, _| {})?;
            self.known.insert(key.clone(), campaign.samples);
        }
        Ok(self.known.get(&key).map_or(&[][..], Vec::as_slice))
    }

    /// Share of the samples that withstand an attack; clean errors count as errors.
    fn accuracy(&mut self, stage: &Stage) -> Result<f64> {
        Ok(share(self.under(stage)?))
    }

    fn clean_accuracy(&mut self) -> Result<f64> {
        let samples = self.under(&self.pgd())?;
        Ok(of(samples.iter().filter(|one| one.clean).count(), samples.len()))
    }

    /// The PGD that is audited.
    fn pgd(&self) -> Stage {
        self.pgd_at(&self.config.eps, self.config.steps)
    }

    /// PGD of radius `eps` with the step length that suits the audited number of steps, and `steps` of them.
    fn pgd_at(&self, eps: &Eps, steps: u32) -> Stage {
        let alpha = 2.5 * eps.value() / f64::from(self.config.steps.max(1));
        let alpha = Eps::length(&format!("{alpha}")).unwrap_or_else(|_| eps.clone());
        Stage::Pgd(AttackConfig::pgd(eps.clone(), alpha, steps))
    }

    fn apgd(&self, loss: ApgdLoss) -> Stage {
        let classes = u32::try_from(self.audited.config.classes).unwrap_or(u32::MAX);
        let apgd = Apgd::new(Norm::Linf, self.config.eps.clone(), loss);
        let targets = apgd.targets.min(classes.saturating_sub(1));
        Stage::Apgd(Apgd { steps: self.config.apgd_steps, targets, ..apgd })
    }

    fn square(&self) -> Stage {
        Stage::Square(Square { queries: self.config.queries, ..Square::new(Norm::Linf, self.config.eps.clone()) })
    }

    /// The attacks whose worst case per sample is the model's robustness.
    fn ensemble(&self) -> Vec<Stage> {
        let mut stages = vec![self.pgd(), self.apgd(ApgdLoss::Ce)];
        if self.audited.config.classes >= 4 {
            stages.push(self.apgd(ApgdLoss::Targeted));
        }
        stages.push(self.square());
        stages
    }

    /// Share of samples that withstand every attack of the ensemble.
    fn worst_case(&mut self) -> Result<f64> {
        let mut left: Option<Vec<bool>> = None;
        for stage in self.ensemble() {
            let withstands = self.under(&stage)?.iter().map(|one| one.clean && one.stage.is_none());
            left = Some(match left {
                None => withstands.collect(),
                Some(left) => left.into_iter().zip(withstands).map(|(left, now)| left && now).collect(),
            });
        }
        let left = left.unwrap_or_default();
        Ok(of(left.iter().filter(|left| **left).count(), left.len()))
    }

    /// Radii of check 2, rising.
    fn grid(&self) -> Result<Vec<Eps>> {
        let value = self.config.eps.value();
        [0.25, 0.5, 1.0, 2.0, 4.0].iter().map(|factor| Eps::length(&format!("{}", factor * value))).collect()
    }

    fn curves(&mut self) -> Result<AttackCurves> {
        let mut points = vec![(0.0, self.clean_accuracy()?)];
        for eps in self.grid()? {
            let stage = self.pgd_at(&eps, self.config.steps);
            points.push((eps.value(), self.accuracy(&stage)?));
        }
        let attack = format!("pgd{}-linf", self.config.steps);
        Ok(AttackCurves { curves: vec![Curve { attack, norm: "linf".to_owned(), points }] })
    }

    fn measures(&mut self) -> Vec<Measure> {
        let mut measures = Vec::new();
        let mut add = |name: String, value: Result<f64>| {
            measures.extend(value.ok().map(|value| Measure::new(name, value, "clean")));
        };
        add("accuracy".to_owned(), self.clean_accuracy());
        for stage in self.ensemble() {
            add(format!("accuracy.{}", stage.name()), self.accuracy(&stage));
        }
        add("accuracy.worst_case".to_owned(), self.worst_case());
        measures
    }

    /// Adversarial images of the ensemble, looked at again: (found, confirmed, after rounding to 8 bits).
    fn verified(&mut self) -> Result<[usize; 3]> {
        let mut sums = [0; 3];
        for stage in self.ensemble() {
            let samples = self.under(&stage)?.to_vec();
            let found = verify(&mut self.evaluator, self.audited.data, &samples)?;
            let counts = [found.found, found.confirmed, found.after_rounding];
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        Ok(sums)
    }
}

fn share(samples: &[Robust]) -> f64 {
    of(samples.iter().filter(|one| one.clean && one.stage.is_none()).count(), samples.len())
}

#[expect(clippy::cast_precision_loss, reason = "sample counts")]
fn of(count: usize, total: usize) -> f64 {
    count as f64 / total.max(1) as f64
}
