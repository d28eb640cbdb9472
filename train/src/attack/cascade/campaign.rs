//! Runs the stages of a cascade over a data set.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use engine::rng::Philox;
use engine::{DType, Device, Error, Result, Store, Tensor};
use models::{Vit, VitConfig};
use serde::Serialize;

use super::record;
use super::slots::{Attempt, Fate, Machine, Subject};
use super::stage::{Fab, Stage};
use super::state::{Journal, Record, Saved};
use crate::attack::Norm;
use crate::data::Dataset;
use crate::eval::outputs::Outputs;
use crate::eval::sanity::check_labels;

/// What is attacked.
#[derive(Clone, Copy)]
pub struct Targets<'a> {
    /// Where.
    pub device: &'a Device,
    /// The model.
    pub config: &'a VitConfig,
    /// Its weights, by timm's names.
    pub tensors: &'a [(String, Tensor)],
    /// The images.
    pub data: &'a Arc<Dataset>,
    /// The model's outputs on them, in their order: only what is classified correctly is attacked.
    pub clean: &'a Outputs,
}

/// How to go about it. Results don't depend on it, but for the seed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Attempts side by side.
    pub batch: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Folder for what a killed run needs to go on, and what tells this run from others.
    pub state: Option<(PathBuf, serde_json::Value)>,
    /// Replays after which attempts under way are saved.
    pub save_every: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { batch: 64, seed: 0, state: None, save_every: 100 }
    }
}

/// What became of a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Robust {
    /// Whether it is classified correctly without an attack.
    pub clean: bool,
    /// Position of the stage that fooled the model.
    pub stage: Option<usize>,
    /// The perturbation that did, [c, h, w].
    pub delta: Option<Vec<f32>>,
}

/// What a stage came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageReport {
    /// Short name: `apgd-ce`.
    pub name: String,
    /// All of its parameters.
    pub config: Stage,
    /// Samples that it attacked.
    pub attacked: usize,
    /// Those of them that it fooled the model with.
    pub fooled: usize,
    /// Samples that are classified correctly after it.
    pub survivors: usize,
    /// Passes of the model, forward and backward, summed over samples.
    pub passes: [u64; 2],
}

/// What a cascade came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CascadeReport {
    /// Samples.
    pub total: usize,
    /// Those classified correctly without an attack.
    pub clean: usize,
    /// Stages in order.
    pub stages: Vec<StageReport>,
    /// Share of samples that are classified correctly after all stages; clean errors count as errors.
    pub robust_accuracy: f64,
    /// Largest absolute perturbation of any pixel, measured.
    pub max_linf: f64,
    /// Mean Euclidean length of the perturbations that fool, measured.
    pub mean_l2: f64,
}

/// A run over a data set.
pub struct Campaign<'a> {
    targets: Targets<'a>,
    options: Options,
    journal: Option<Journal>,
    records: Vec<Record>,
    saved: Option<Saved>,
    rankings: Vec<Vec<i32>>,
    /// What is known of each sample.
    pub samples: Vec<Robust>,
}

impl<'a> Campaign<'a> {
    /// Prepares a run, or finds where an earlier one stood.
    ///
    /// # Errors
    /// The outputs are not those of the data, a label names no class, or the state is another run's.
    pub fn new(targets: Targets<'a>, options: Options) -> Result<Self> {
        let (data, classes) = (targets.data, targets.clean.classes);
        if classes != targets.config.classes || targets.clean.probabilities.len() != data.len() * classes {
            return Err(Error::new("attack", "the clean outputs are not those of all classes on these data")
                .with("outputs", targets.clean.probabilities.len())
                .with("images", data.len())
                .with("classes", targets.config.classes)
                .help("an attack knows no class mask"));
        }
        let labels = data.labels()?;
        check_labels(data.name(), &labels, classes)?;
        let (mut rankings, mut samples) = (Vec::new(), Vec::new());
        for (row, label) in targets.clean.probabilities.chunks_exact(classes.max(1)).zip(&labels) {
            let ranking = ranking(row);
            let clean = ranking.first() == Some(label);
            rankings.push(ranking);
            samples.push(Robust { clean, stage: None, delta: None });
        }
        let (journal, records, saved) = match &options.state {
            None => (None, Vec::new(), None),
            Some((folder, run)) => {
                let (journal, records, saved) = Journal::open(folder, run)?;
                (Some(journal), records, saved)
            }
        };
        Ok(Self { targets, options, journal, records, saved, rankings, samples })
    }

    /// Runs the stages; `watch` sees the stage's number, samples done with it, and how many there are.
    ///
    /// # Errors
    /// A stage makes no attack on this model, the device failed, or the state can't be written.
    pub fn run(&mut self, stages: &[Stage], watch: &mut dyn FnMut(usize, usize, usize)) -> Result<CascadeReport> {
        let mut reports = Vec::new();
        for (number, stage) in stages.iter().enumerate() {
            stage.validate(self.targets.config.classes)?;
            reports.push(self.stage(number, stage, watch)?);
        }
        self.report(reports)
    }

    fn stage(
        &mut self,
        number: usize,
        stage: &Stage,
        watch: &mut dyn FnMut(usize, usize, usize),
    ) -> Result<StageReport> {
        let tag = u32::try_from(number).map_err(|_| Error::new("attack", "too many stages"))?;
        let attacked: Vec<usize> = self.survivors().collect();
        let mut runner = Runner {
            campaign: self,
            stage,
            number: tag,
            store: None,
            machines: Vec::new(),
            done: vec![false; 0],
            passes: [0; 2],
        };
        runner.run(&attacked, &mut |done| watch(number, done, attacked.len()))?;
        let passes = runner.passes;
        let survivors = self.survivors().count();
        let fooled = self.samples.iter().filter(|sample| sample.stage == Some(number)).count();
        Ok(StageReport {
            name: stage.name(),
            config: stage.clone(),
            attacked: attacked.len(),
            fooled,
            survivors,
            passes,
        })
    }

    /// Samples that nothing has fooled the model with.
    fn survivors(&self) -> impl Iterator<Item = usize> + '_ {
        let robust = |(index, sample): (usize, &Robust)| (sample.clean && sample.stage.is_none()).then_some(index);
        self.samples.iter().enumerate().filter_map(robust)
    }

    #[expect(clippy::cast_precision_loss, reason = "sample counts")]
    fn report(&self, stages: Vec<StageReport>) -> Result<CascadeReport> {
        let (mut max_linf, mut lengths, mut fooled) = (0.0_f64, 0.0, 0_usize);
        let mut image = vec![0.0; self.targets.data.volume()];
        for (index, sample) in self.samples.iter().enumerate() {
            let Some(delta) = &sample.delta else { continue };
            self.targets.data.image_f32(index, &mut image)?;
            // As an image changes, not as the perturbation was meant.
            let changes = image.iter().zip(delta).map(|(&pixel, &delta)| f64::from(pixel + delta) - f64::from(pixel));
            let (largest, squares) = changes.fold((0.0_f64, 0.0), |(most, sum), d| (most.max(d.abs()), sum + d * d));
            max_linf = max_linf.max(largest);
            lengths += squares.sqrt();
            fooled += 1;
        }
        let (total, left) = (self.samples.len(), self.survivors().count());
        Ok(CascadeReport {
            total,
            clean: self.samples.iter().filter(|sample| sample.clean).count(),
            stages,
            robust_accuracy: left as f64 / total.max(1) as f64,
            max_linf,
            mean_l2: lengths / fooled.max(1) as f64,
        })
    }
}

/// Classes by probability, largest first; of equals the first one leads.
fn ranking(row: &[f64]) -> Vec<i32> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    let value = |class: usize| row.get(class).copied().unwrap_or(f64::NAN);
    order.sort_by(|&a, &b| value(b).total_cmp(&value(a)));
    order.into_iter().filter_map(|class| i32::try_from(class).ok()).collect()
}

/// One stage at work.
struct Runner<'c, 'a> {
    campaign: &'c mut Campaign<'a>,
    stage: &'c Stage,
    number: u32,
    store: Option<(Store, Vit)>,
    /// By size, the full batch first.
    machines: Vec<Machine>,
    done: Vec<bool>,
    passes: [u64; 2],
}

impl Runner<'_, '_> {
    fn run(&mut self, attacked: &[usize], watch: &mut dyn FnMut(usize)) -> Result<()> {
        self.done = vec![false; self.campaign.samples.len()];
        let mut next = vec![0_u32; self.campaign.samples.len()];
        let records = std::mem::take(&mut self.campaign.records);
        let (mine, others): (Vec<Record>, Vec<Record>) = records.into_iter().partition(|one| one.stage == self.number);
        self.campaign.records = others;
        for record in mine {
            let Some(index) = usize::try_from(record.index).ok().filter(|&index| index < next.len()) else { continue };
            if let Some(next) = next.get_mut(index) {
                *next = record.attempt + 1;
            }
            self.settle(&record)?;
        }
        let saved = self.campaign.saved.take_if(|saved| saved.stage == self.number);
        let (mut active, mut replays) = (Vec::new(), 0);
        if let Some(saved) = saved {
            replays = saved.replays;
            let wanted =
                |one: &Attempt| self.done.get(one.index) == Some(&false) && next.get(one.index) == Some(&one.number);
            active.extend(saved.attempts.into_iter().filter(wanted));
        }
        let under_way: Vec<usize> = active.iter().map(|attempt: &Attempt| attempt.index).collect();
        let waiting = attacked.iter().filter(|&&index| self.done.get(index) == Some(&false));
        let mut queue: VecDeque<Attempt> = waiting
            .filter(|index| !under_way.contains(index))
            .map(|&index| Attempt::new(index, next.get(index).copied().unwrap_or(0)))
            .collect();
        loop {
            self.fill(&mut active, &mut queue, &mut replays);
            if active.is_empty() {
                return Ok(());
            }
            self.advance(&mut active, &mut replays, queue.is_empty())?;
            self.retire(&mut active, &mut queue)?;
            watch(attacked.iter().filter(|&&index| self.done.get(index) == Some(&true)).count());
        }
    }

    /// A draw of a stochastic model is shared by a batch, so that its attempts start together; others take a slot when one is free.
    fn fill(&self, active: &mut Vec<Attempt>, queue: &mut VecDeque<Attempt>, replays: &mut u32) {
        if self.stage.draws() > 0 {
            if !active.is_empty() {
                return;
            }
            *replays = 0;
        }
        let free = self.campaign.options.batch.saturating_sub(active.len());
        active.extend(queue.drain(..free.min(queue.len())));
    }

    /// Replays until enough attempts have ended that the batch should be packed anew.
    fn advance(&mut self, active: &mut [Attempt], replays: &mut u32, last: bool) -> Result<()> {
        let place = self.machine(active.len())?;
        let (stage, seed) = (self.stage, self.campaign.options.seed);
        let (Some(machine), Some((store, _))) = (self.machines.get(place), self.store.as_mut()) else {
            return Err(Error::new("attack", "no plan"));
        };
        let images = images(self.campaign.targets.data, active)?;
        let subjects = subjects(self.campaign, active, &images)?;
        for (attempt, subject) in active.iter_mut().zip(&subjects) {
            attempt.begin(stage, subject, seed, machine.state.len());
        }
        machine.load(store, stage, active, &subjects)?;
        store.write_values(machine.random, &Philox::state(seed, *replays))?;
        // A device that replays recordings is kept busy for a while before it is asked.
        let device = store.device().clone();
        let period = if device.threads().is_some() { 1 } else { 8 };
        let enough = if last { machine.batch().div_ceil(4) } else { machine.batch().div_ceil(8) };
        loop {
            device.run(|| (0..period).try_for_each(|_| machine.step.replay(store)))?;
            for attempt in active.iter_mut().filter(|attempt| attempt.fate() == Fate::Running) {
                for (passes, each) in attempt.passes.iter_mut().zip(machine.passes) {
                    *passes += u64::from(each * period);
                }
            }
            let before = *replays;
            *replays += period;
            machine.look(store, active)?;
            let ended = active.iter().filter(|attempt| attempt.fate() != Fate::Running).count();
            if ended == active.len() || ended >= enough {
                return machine.unload(store, active);
            }
            let every = self.campaign.options.save_every.max(1);
            if let (Some(journal), true) = (&self.campaign.journal, before / every != *replays / every) {
                machine.unload(store, active)?;
                journal.save(self.number, *replays, active)?;
            }
        }
    }

    /// Takes out attempts that have ended, and queues what follows them.
    fn retire(&mut self, active: &mut Vec<Attempt>, queue: &mut VecDeque<Attempt>) -> Result<()> {
        let (ended, rest): (Vec<Attempt>, Vec<Attempt>) =
            active.drain(..).partition(|attempt| attempt.fate() != Fate::Running);
        *active = rest;
        let result = self.machines.first().map_or(0, |machine| machine.result);
        let mut records = Vec::with_capacity(ended.len());
        for attempt in ended {
            let fooled = attempt.fate() == Fate::Fooled;
            records.push(Record {
                stage: self.number,
                index: u64::try_from(attempt.index).unwrap_or(u64::MAX),
                attempt: attempt.number,
                delta: attempt.rows.get(result).filter(|_| fooled).cloned(),
                passes: attempt.passes,
            });
        }
        if let Some(journal) = &mut self.campaign.journal {
            journal.add(&records)?;
        }
        for record in &records {
            self.settle(record)?;
            let index = usize::try_from(record.index).unwrap_or(usize::MAX);
            if self.done.get(index) == Some(&false) {
                queue.push_front(Attempt::new(index, record.attempt + 1));
            }
        }
        Ok(())
    }

    /// Notes how an attempt ended.
    fn settle(&mut self, record: &Record) -> Result<()> {
        let index = usize::try_from(record.index).unwrap_or(usize::MAX);
        self.passes = [0, 1].map(|pass: usize| self.passes[pass] + record.passes[pass]);
        let (Some(sample), Some(done)) = (self.campaign.samples.get_mut(index), self.done.get_mut(index)) else {
            return Err(Error::new("attack", "a sample that is not in the data").with("index", index));
        };
        let nearest = matches!(self.stage, Stage::Fab(Fab { nearest: true, .. }));
        if let Some(delta) = &record.delta {
            let norm = self.stage.norm();
            let is_nearer = sample.delta.as_ref().is_none_or(|known| size(norm, delta) < size(norm, known));
            if !nearest || is_nearer {
                sample.delta = Some(delta.clone());
            }
            sample.stage = usize::try_from(self.number).ok();
        }
        let last = record.attempt + 1 >= self.stage.attempts();
        *done = last || record.delta.is_some() && !nearest;
        Ok(())
    }

    /// The place of the smallest machine that has room: three quarters of the next larger one, and so on down.
    fn machine(&mut self, attempts: usize) -> Result<usize> {
        if self.store.is_none() {
            let Targets { device, config, tensors, .. } = self.campaign.targets;
            let mut store = Store::new(device.clone())?;
            let model = Vit::new(&mut store, "params", config.clone(), tensors, DType::F32)?;
            self.store = Some((store, model));
        }
        let Some((store, model)) = self.store.as_mut() else { return Err(Error::new("attack", "no model")) };
        // The largest first: all others fit into its arena.
        if self.machines.is_empty() {
            self.machines.push(record::machine(store, model, self.stage, attempts)?);
        }
        let full = self.machines.first().map_or(attempts, Machine::batch);
        let mut size = full;
        while size > 1 && attempts <= size * 3 / 4 {
            size = size * 3 / 4;
        }
        if let Some(place) = self.machines.iter().position(|machine| machine.batch() == size) {
            return Ok(place);
        }
        self.machines.push(record::machine(store, model, self.stage, size)?);
        Ok(self.machines.len() - 1)
    }
}

fn size(norm: Norm, delta: &[f32]) -> f64 {
    match norm {
        Norm::Linf => delta.iter().fold(0.0, |most, d| f64::from(d.abs()).max(most)),
        Norm::L2 => delta.iter().map(|&d| f64::from(d) * f64::from(d)).sum::<f64>().sqrt(),
    }
}

fn images(data: &Dataset, active: &[Attempt]) -> Result<Vec<f32>> {
    let mut images = vec![0.0; active.len() * data.volume()];
    for (attempt, image) in active.iter().zip(images.chunks_exact_mut(data.volume())) {
        data.image_f32(attempt.index, image)?;
    }
    Ok(images)
}

fn subjects<'s>(campaign: &'s Campaign, active: &[Attempt], images: &'s [f32]) -> Result<Vec<Subject<'s>>> {
    let data = campaign.targets.data;
    let each = active.iter().zip(images.chunks_exact(data.volume()));
    each.map(|(attempt, image)| {
        Ok(Subject {
            id: data.id(attempt.index)?,
            label: data.label(attempt.index)?,
            image,
            ranking: campaign.rankings.get(attempt.index).map_or(&[][..], Vec::as_slice),
        })
    })
    .collect()
}
