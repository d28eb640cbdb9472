//! Evaluation of randomised models (definition B.9): what an attacker who knows the distribution, but not the draw, achieves.
//!
//! A randomised model has no accuracy, it has one per draw. So an adversarial image is judged by many fresh draws, which the
//! attack has not seen: the share of right draws is the expected accuracy of a single one (A1); majorities of m draws are
//! another model, and are reported as such. Attacks are expectation over transformation with several n, an attack on the mean
//! network (the deterministic twin), and one on a single fixed draw, which is judged by that same draw: with its randomness
//! standing still a model must be as weak as its twin, or its gradients are masked (Carlini et al., 1902.06705, check 13).

use std::sync::Arc;

use engine::rng::Philox;
use engine::{DType, Device, Error, Plan, Result, Store, Tape, Tensor, Value, Var};
use kernels::combine::combine;
use models::vit::Run;
use models::{Vit, VitConfig};
use serde::Serialize;

use super::accuracy::argmax;
use super::interval::{Interval, bootstrap, clopper_pearson};
use super::sanity::Warning;
use crate::attack::{Attack, AttackConfig};
use crate::data::loader::Samples;
use crate::data::{Dataset, Loader};
use crate::inputs::Inputs;

/// Steps of the random state from here on are draws for judging: no attack reaches them.
const FRESH: u32 = 1 << 30;
/// How much more accurate than its twin a model with fixed randomness may be before its gradients count as masked.
const MASKED: f64 = 0.05;

/// What is evaluated, and how.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RandomisedConfig {
    /// Ball, steps, restarts, objective and what is averaged; its number of draws is replaced by those of `eot`.
    pub attack: AttackConfig,
    /// Draws per gradient of the attacks by expectation over transformation, one attack each.
    pub eot: Vec<u32>,
    /// Fresh draws that judge each image.
    pub draws: u32,
    /// Numbers of draws whose majority is taken; at most `draws`.
    pub votes: Vec<u32>,
    /// Of the intervals.
    pub confidence: f64,
    /// Of the bootstrap over samples.
    pub resamples: u32,
}

impl RandomisedConfig {
    /// The protocol of definition B.9 around an attack: n of 1, 20 and 100, 100 draws, votes of 10 and 100, 95 percent.
    pub fn new(attack: AttackConfig) -> Self {
        let (eot, votes) = (vec![1, 20, 100], vec![10, 100]);
        Self { attack, eot, draws: 100, votes, confidence: 0.95, resamples: 1000 }
    }

    /// Checks that the fields make an evaluation.
    ///
    /// # Errors
    /// The first that do not, with their values.
    pub fn validate(&self) -> Result<()> {
        self.attack.validate()?;
        let most = self.votes.iter().max().copied().unwrap_or(0);
        if self.draws == 0 || most > self.draws || self.votes.contains(&0) || self.eot.contains(&0) {
            return Err(Error::new(
                "randomised",
                "draws, votes and EOT draws must be 1 or more, and votes at most the draws",
            )
            .with("draws", self.draws)
            .with("votes", format!("{:?}", self.votes))
            .with("eot", format!("{:?}", self.eot))
            .help("--draws 100 --votes 10,100 --sweep 1,20,100"));
        }
        Ok(())
    }
}

/// Majority of several draws.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Vote {
    /// Draws that vote; of equal counts the first class wins.
    pub draws: u32,
    /// Accuracy, a fraction.
    pub accuracy: f64,
}

/// What fresh draws make of a set of images.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Judgement {
    /// A1: expected accuracy of a single draw, a fraction.
    pub single: f64,
    /// Clopper-Pearson interval of all draws of all samples, taken as independent trials. Where a batch shares its draws
    /// they are not, and it is too narrow.
    pub pooled: Interval,
    /// Interval of A1 under resampling of the samples: what other images of the same kind would give.
    pub over_samples: Interval,
    /// Accuracy of the worst single draw, over all samples.
    pub worst_draw: f64,
    /// Accuracy of the best single draw.
    pub best_draw: f64,
    /// Majorities.
    pub votes: Vec<Vote>,
}

/// One attack and its judgement.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RandomisedAttack {
    /// `eot20`, `twin`.
    pub kind: String,
    /// All of its parameters.
    pub config: AttackConfig,
    /// Short name: `pgd20-linf-eot20`.
    pub name: String,
    /// By fresh draws.
    pub judgement: Judgement,
}

/// The attack on one fixed draw, judged by that same draw.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FixedNoise {
    /// Which draw.
    pub draw: u32,
    /// Accuracy of that draw without an attack.
    pub clean: f64,
    /// Accuracy of that draw under the attack on it.
    pub accuracy: f64,
    /// Accuracy of the mean network under the same attack on it.
    pub twin: f64,
    /// Whether the attack succeeds about as well as on the twin: within 5 points.
    pub passes: bool,
}

/// A randomised model under attack.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RandomisedReport {
    /// Samples.
    pub samples: usize,
    /// Fresh draws per image.
    pub draws: u32,
    /// Of the intervals.
    pub confidence: f64,
    /// Who shares a draw, as the model is configured; none for a deterministic model.
    pub shared: Option<String>,
    /// Without an attack.
    pub clean: Judgement,
    /// Each attack: expectation over transformation by n, then the twin's.
    pub attacks: Vec<RandomisedAttack>,
    /// The attack with the lowest A1.
    pub strongest: String,
    /// Its A1.
    pub strongest_single: f64,
    /// Mean over samples of the lowest share of right draws, over all attacks and none at all: the worst case per image.
    pub worst_case: f64,
    /// Interval of that under resampling of the samples.
    pub worst_case_over_samples: Interval,
    /// Check 13.
    pub fixed: FixedNoise,
    /// What the figures must not be taken for.
    pub warnings: Vec<Warning>,
}

/// A warning where an attack's figure says nothing about robustness: one draw per gradient of a model that draws afresh.
pub fn warning(model: &VitConfig, attack: &AttackConfig) -> Option<Warning> {
    let blind = model.stochastic.is_some() && attack.stochastic && attack.eot < 2 && attack.fixed_draw.is_none();
    blind.then(|| Warning {
        problem: format!(
            "{}: the model draws at random and each gradient saw one draw, so this number is NOT robustness",
            attack.name()
        ),
        remedy: "average gradients over draws (--eot 20), and judge by many (vitrum randomised)".to_owned(),
    })
}

/// A model ready to be judged by draws.
pub struct Randomised {
    store: Store,
    model: Vit,
    inputs: Inputs,
    random: Var,
    drawn: Judge,
    mean: Judge,
    seed: u64,
}

struct Judge {
    plan: Plan,
    logits: Value,
}

/// Per sample: right draws, and votes per class for each number of voters.
#[derive(Default)]
struct Tally {
    /// Share of right draws of each sample.
    shares: Vec<f64>,
    /// Right samples of each draw.
    by_draw: Vec<u64>,
    /// Right majorities for each number of voters.
    majorities: Vec<u64>,
}

/// What an attack leaves the model to be judged in.
type Visit<'a> = &'a mut dyn FnMut(&mut Randomised, &Samples) -> Result<()>;

impl Randomised {
    /// Plans inference for batches of `batch`. Draws are a function of `seed`.
    ///
    /// # Errors
    /// The tensors do not fit the configuration, or out of memory.
    pub fn new(
        device: &Device,
        config: &VitConfig,
        tensors: &[(String, Tensor)],
        batch: usize,
        seed: u64,
    ) -> Result<Self> {
        if batch == 0 {
            return Err(Error::new("evaluation", "a batch of 0 images").help("--batch 1 or more"));
        }
        let mut store = Store::new(device.clone())?;
        let model = Vit::new(&mut store, "params", config.clone(), tensors, DType::F32)?;
        let inputs = Inputs::new(&mut store, config, batch)?;
        let random = store.data_var("eval.random", DType::U32, &[engine::rng::STATE_WORDS])?;
        let mut judge = |stochastic| {
            let mut tape = Tape::new();
            let (images, delta) = (tape.var(&store, inputs.images)?, tape.var(&store, inputs.delta)?);
            let x = combine(&mut tape, &[(1.0, images), (1.0, delta)])?;
            let random = Some(inputs.draws(&mut tape, &store, random)?);
            let logits = model.forward(&mut tape, &store, x, &Run { random, stochastic, ..Run::default() })?.logits;
            Ok::<_, Error>(Judge { plan: tape.plan(&mut store, &[logits])?, logits })
        };
        let (drawn, mean) = (judge(true)?, judge(false)?);
        Ok(Self { store, model, inputs, random, drawn, mean, seed })
    }

    /// The whole protocol.
    ///
    /// # Errors
    /// The configuration makes no sense, the data do not fit the model, or the device failed.
    pub fn evaluate(
        &mut self,
        data: &Arc<Dataset>,
        config: &RandomisedConfig,
        progress: &mut dyn FnMut(&str, usize),
    ) -> Result<RandomisedReport> {
        config.validate()?;
        let clean = self.judged(data, config, None, &mut |done| progress("clean", done))?;
        let mut lowest = clean.shares.clone();
        let mut attacks: Vec<RandomisedAttack> = Vec::new();
        let mut warnings = Vec::new();
        for (kind, attack) in self.attacks(config) {
            warnings.extend(warning(self.model.config(), &attack));
            let tally = self.judged(data, config, Some(&attack), &mut |done| progress(&kind, done))?;
            for (lowest, &share) in lowest.iter_mut().zip(&tally.shares) {
                *lowest = lowest.min(share);
            }
            let judgement = tally.judgement(config, self.seed)?;
            attacks.push(RandomisedAttack { kind, name: attack.name(), config: attack, judgement });
        }
        let fixed = self.fixed_noise(data, &config.attack, 0)?;
        if !fixed.passes {
            warnings.push(Warning {
                problem: format!(
                    "with its randomness fixed the model is {:.1} points more accurate under attack than its mean network",
                    100.0 * (fixed.accuracy - fixed.twin)
                ),
                remedy: "its gradients are masked: trust the attack on the mean network, and attacks without gradients"
                    .to_owned(),
            });
        }
        let clean = clean.judgement(config, self.seed)?;
        let strongest = attacks
            .iter()
            .min_by(|a, b| a.judgement.single.total_cmp(&b.judgement.single))
            .map_or(("none".to_owned(), clean.single), |attack| (attack.name.clone(), attack.judgement.single));
        Ok(RandomisedReport {
            samples: lowest.len(),
            draws: config.draws,
            confidence: config.confidence,
            shared: self.model.config().stochastic.map(|stochastic| format!("{:?}", stochastic.sharing).to_lowercase()),
            clean,
            attacks,
            strongest: strongest.0,
            strongest_single: strongest.1,
            worst_case: mean(&lowest),
            worst_case_over_samples: bootstrap(&lowest, config.resamples, config.confidence, self.seed)?,
            fixed,
            warnings,
        })
    }

    /// The attacks of the protocol: by n, then on the twin.
    fn attacks(&self, config: &RandomisedConfig) -> Vec<(String, AttackConfig)> {
        let random = self.model.config().stochastic.is_some();
        let by_n = config
            .eot
            .iter()
            .map(|&eot| (format!("eot{eot}"), AttackConfig { eot, stochastic: random, ..config.attack.clone() }));
        let twin = AttackConfig { eot: 1, stochastic: false, accept: 0, ..config.attack.clone() };
        by_n.chain([("twin".to_owned(), twin)]).collect()
    }

    /// The attack on draw `draw` and on the mean network, each judged by what it attacked (Carlini et al., 1902.06705, check 13:
    /// fix all randomness to one value, and the attack must succeed).
    ///
    /// # Errors
    /// As [`Randomised::evaluate`].
    pub fn fixed_noise(&mut self, data: &Arc<Dataset>, attack: &AttackConfig, draw: u32) -> Result<FixedNoise> {
        let random = self.model.config().stochastic.is_some();
        let one = AttackConfig { eot: 1, accept: 0, stochastic: random, ..attack.clone() };
        let fixed = AttackConfig { fixed_draw: random.then_some(draw), ..one.clone() };
        let twin = AttackConfig { stochastic: false, ..one };
        let (mut clean, mut right, mut weak) = (Vec::new(), Vec::new(), Vec::new());
        self.visit(data, None, &mut |this, samples| {
            clean.extend(this.right(samples, draw, true)?);
            Ok(())
        })?;
        self.visit(data, Some(&fixed), &mut |this, samples| {
            right.extend(this.right(samples, draw, true)?);
            Ok(())
        })?;
        self.visit(data, Some(&twin), &mut |this, samples| {
            weak.extend(this.right(samples, draw, false)?);
            Ok(())
        })?;
        let share = |right: &[bool]| mean(&right.iter().map(|&right| f64::from(u8::from(right))).collect::<Vec<_>>());
        let (clean, accuracy, twin) = (share(&clean), share(&right), share(&weak));
        Ok(FixedNoise { draw, clean, accuracy, twin, passes: accuracy <= twin + MASKED })
    }

    /// Attacks every batch, or leaves it clean, and shows it.
    fn visit(&mut self, data: &Arc<Dataset>, attack: Option<&AttackConfig>, show: Visit) -> Result<()> {
        let attack =
            attack.map(|config| Attack::new(&mut self.store, &self.model, &self.inputs, config)).transpose()?;
        for batch in Loader::evaluation(Arc::clone(data), self.inputs.batch)?.start(0, 0)? {
            let batch = batch?;
            self.inputs.write(&mut self.store, &batch)?;
            self.inputs.clear_delta(&mut self.store)?;
            if let Some(attack) = &attack {
                attack.run(&mut self.store, self.seed, 0, 1.0)?;
            }
            show(self, &batch)?;
        }
        Ok(())
    }

    /// Attacks all samples and judges them by fresh draws.
    fn judged(
        &mut self,
        data: &Arc<Dataset>,
        config: &RandomisedConfig,
        attack: Option<&AttackConfig>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Tally> {
        let mut tally = Tally::default();
        self.visit(data, attack, &mut |this, samples| {
            this.count(samples, config, &mut tally)?;
            progress(tally.shares.len());
            Ok(())
        })?;
        Ok(tally)
    }

    /// Most probable class of each sample of the batch in the inputs, under one state of the model's randomness.
    fn classes(&mut self, samples: &Samples, step: u32, drawn: bool) -> Result<Vec<usize>> {
        self.store.write_values(self.random, &Philox::state(self.seed, step))?;
        let judge = if drawn { &self.drawn } else { &self.mean };
        judge.plan.replay(&mut self.store)?;
        let logits = judge.plan.read(&self.store, judge.logits)?.to_f64();
        let classes = self.model.config().classes.max(1);
        Ok(logits.chunks(classes).take(samples.count).map(argmax).collect())
    }

    fn right(&mut self, samples: &Samples, step: u32, drawn: bool) -> Result<Vec<bool>> {
        let classes = self.classes(samples, step, drawn)?;
        Ok(classes.iter().zip(&samples.labels).map(|(&class, &label)| usize::try_from(label) == Ok(class)).collect())
    }

    /// Adds the judgement of the batch in the inputs.
    fn count(&mut self, samples: &Samples, config: &RandomisedConfig, tally: &mut Tally) -> Result<()> {
        let classes = self.model.config().classes.max(1);
        let mut votes = vec![vec![0.0; classes]; samples.count];
        tally.by_draw.resize(usize::try_from(config.draws).unwrap_or(0), 0);
        tally.majorities.resize(config.votes.len(), 0);
        let label = |at: usize| samples.labels.get(at).and_then(|&label| usize::try_from(label).ok());
        for (draw, by_draw) in (0..config.draws).zip(&mut tally.by_draw) {
            for (at, (class, votes)) in
                self.classes(samples, FRESH + draw, true)?.into_iter().zip(&mut votes).enumerate()
            {
                *by_draw += u64::from(label(at) == Some(class));
                if let Some(vote) = votes.get_mut(class) {
                    *vote += 1.0;
                }
            }
            for (_, majority) in
                config.votes.iter().zip(&mut tally.majorities).filter(|&(&voters, _)| voters == draw + 1)
            {
                let right = votes.iter().enumerate().filter(|&(at, votes)| label(at) == Some(argmax(votes)));
                *majority += right.count() as u64;
            }
        }
        for (at, votes) in votes.iter().enumerate() {
            let right = label(at).and_then(|label| votes.get(label)).copied().unwrap_or(0.0);
            tally.shares.push(right / f64::from(config.draws));
        }
        Ok(())
    }
}

impl Tally {
    fn judgement(&self, config: &RandomisedConfig, seed: u64) -> Result<Judgement> {
        #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
        let share = |right: u64| right as f64 / self.shares.len().max(1) as f64;
        let right: u64 = self.by_draw.iter().sum();
        let trials = self.by_draw.len() as u64 * self.shares.len() as u64;
        let voters = config.votes.iter().zip(&self.majorities);
        Ok(Judgement {
            single: mean(&self.shares),
            pooled: clopper_pearson(right, trials, config.confidence)?,
            over_samples: bootstrap(&self.shares, config.resamples, config.confidence, seed)?,
            worst_draw: share(self.by_draw.iter().min().copied().unwrap_or(0)),
            best_draw: share(self.by_draw.iter().max().copied().unwrap_or(0)),
            votes: voters.map(|(&draws, &right)| Vote { draws, accuracy: share(right) }).collect(),
        })
    }
}

fn mean(values: &[f64]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a number of samples")]
    let count = values.len().max(1) as f64;
    values.iter().sum::<f64>() / count
}
