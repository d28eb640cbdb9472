//! A batch whose rows are attempts: what is kept of each on the device, and what fills it.

use engine::rng::{Philox, Stream};
use engine::{Error, Plan, Result, Store, Var};
use kernels::attack_watch;
use kernels::common::progress::{FOOLED, SPENT, STATUS};
use kernels::{apgd_check, fab_look, square_keep};

use super::stage::{Apgd, Fab, Stage};
use crate::attack::{Norm, Start};
use crate::inputs::Inputs;

/// One attempt at one sample.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Attempt {
    /// Position in the data set.
    pub index: usize,
    /// Number of the attempt, from 0.
    pub number: u32,
    /// Rows of the machine's state variables; empty before the first step.
    pub rows: Vec<Vec<f32>>,
    /// Row of `progress`.
    pub progress: Vec<f32>,
    /// Forward and backward passes of the model that the sample took in this attempt.
    pub passes: [u64; 2],
}

/// A sample as attempts need it.
#[derive(Clone, Debug)]
pub(super) struct Subject<'a> {
    pub id: u32,
    pub label: i32,
    pub image: &'a [f32],
    /// Classes by clean logit, largest first.
    pub ranking: &'a [i32],
}

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Running,
    Fooled,
    Spent,
}

impl Attempt {
    pub fn new(index: usize, number: u32) -> Self {
        Self { index, number, rows: Vec::new(), progress: Vec::new(), passes: [0; 2] }
    }

    pub fn fate(&self) -> Fate {
        let is = |status: u32| self.progress.get(STATUS).is_some_and(|&value| f64::from(value) == f64::from(status));
        if is(FOOLED) {
            Fate::Fooled
        } else if is(SPENT) {
            Fate::Spent
        } else {
            Fate::Running
        }
    }

    /// The rows that the attempt starts with: `rows` of them, of which the first is the perturbation.
    pub fn begin(&mut self, stage: &Stage, subject: &Subject, seed: u64, rows: usize) {
        if !self.rows.is_empty() {
            return;
        }
        let volume = subject.image.len();
        self.rows = vec![vec![0.0; volume]; rows];
        let random = Philox::new(seed, self.number, Stream::named(&format!("{}.start", stage.name())));
        if let Some(delta) = self.rows.first_mut() {
            first_delta(stage, self.number, random, subject, delta);
        }
        #[expect(clippy::cast_possible_truncation, reason = "kept in f32 on devices")]
        let narrow = |row: &[f64]| row.iter().map(|&value| value as f32).collect();
        let eps = stage.eps().value();
        self.progress = match stage {
            Stage::Pgd(_) => narrow(&attack_watch::start(eps)),
            Stage::Apgd(apgd) => narrow(&schedule(apgd).start(eps)),
            Stage::Fab(_) => narrow(&fab_look::start(eps)),
            Stage::Square(_) => narrow(&square_keep::start(eps)),
        };
    }
}

/// How Auto-PGD runs here: a sample is done once it is misclassified.
pub(super) fn schedule(apgd: &Apgd) -> apgd_check::Schedule {
    apgd_check::Schedule { steps: apgd.steps, rho: apgd.rho, stop: true }
}

/// Draws where an attempt starts (definitions B.1, B.3, B.4).
fn first_delta(stage: &Stage, number: u32, random: Philox, subject: &Subject, delta: &mut [f32]) {
    let (norm, eps) = (stage.norm(), stage.eps().value());
    let restart = number % stage.restarts().max(1);
    let length = match stage {
        Stage::Pgd(config) if config.start == Start::Zero => return,
        Stage::Fab(Fab { .. }) if restart == 0 => return,
        Stage::Square(_) => return,
        // Half the radius, on its surface.
        Stage::Fab(_) => Some(0.5 * eps),
        Stage::Apgd(_) => Some(eps),
        Stage::Pgd(_) => None,
    };
    let mut draws: Vec<f64> = (0..delta.len())
        .map(|element| match norm {
            Norm::Linf => 2.0 * f64::from(random.uniform(subject.id, element)) - 1.0,
            Norm::L2 => f64::from(random.normal(subject.id, element)),
        })
        .collect();
    let size = match norm {
        Norm::Linf => draws.iter().fold(0.0_f64, |most, draw| most.max(draw.abs())),
        Norm::L2 => draws.iter().map(|draw| draw * draw).sum::<f64>().sqrt(),
    };
    let factor = match (length, norm) {
        (Some(length), _) => length / (size + 1e-12),
        (None, Norm::Linf) => eps,
        // A uniform radius, as torchattacks has it.
        (None, Norm::L2) => eps * f64::from(random.uniform(subject.id, draws.len())) / (size + 1e-12),
    };
    draws.iter_mut().for_each(|draw| *draw *= factor);
    for ((delta, draw), &pixel) in delta.iter_mut().zip(draws).zip(subject.image) {
        #[expect(clippy::cast_possible_truncation, reason = "a perturbation of f32 pixels")]
        let start = draw as f32;
        *delta = start.max(0.0 - pixel).min(1.0 - pixel);
    }
}

/// Distance of the ids that two attempts of a sample draw by; no data set has so many samples.
const ANOTHER: u32 = 0x9E37_79B9;

/// A stage recorded for a batch of a certain size.
pub(super) struct Machine {
    pub inputs: Inputs,
    /// Target classes i32 `[b]`.
    pub targets: Var,
    /// Random state of a stochastic model's draws; for Square, its seed.
    pub random: Var,
    /// What is kept of each attempt, [b, ...]: the perturbation first.
    pub state: Vec<Var>,
    /// The one of them that holds a perturbation that fools.
    pub result: usize,
    /// [b, columns].
    pub progress: Var,
    pub step: Plan,
    /// Forward and backward passes of the model per replay, per sample.
    pub passes: [u32; 2],
}

impl Machine {
    pub fn batch(&self) -> usize {
        self.inputs.batch
    }

    /// Writes attempts into the first slots; the others are idle.
    pub fn load(&self, store: &mut Store, stage: &Stage, attempts: &[Attempt], subjects: &[Subject]) -> Result<()> {
        let b = self.batch();
        let volume = subjects.first().map_or(0, |subject| subject.image.len());
        let mut images = Vec::with_capacity(b * volume);
        let (mut labels, mut ids, mut targets) = (vec![0_i32; b], vec![0_u32; b], vec![0_i32; b]);
        let slots = labels.iter_mut().zip(&mut ids).zip(&mut targets);
        for ((attempt, subject), ((label, id), target)) in attempts.iter().zip(subjects).zip(slots) {
            images.extend_from_slice(subject.image);
            (*label, *id) = (subject.label, subject.id);
            if let Stage::Square(_) = stage {
                // Other attempts draw as other samples would.
                *id = id.wrapping_add(attempt.number.wrapping_mul(ANOTHER));
            }
            // Rank 1 is the label: the sample is classified correctly.
            let rank = attempt.number / stage.restarts().max(1);
            let rank = usize::try_from(rank).unwrap_or(usize::MAX).saturating_add(1);
            *target = subject.ranking.get(rank).or(subject.ranking.last()).copied().unwrap_or(0);
        }
        images.resize(b * volume, 0.0);
        store.write_values(self.inputs.images, &images)?;
        store.write_values(self.inputs.labels, &labels)?;
        store.write_values(self.inputs.ids, &ids)?;
        store.write_values(self.targets, &targets)?;
        store.write_values(self.inputs.targets, &one_hot(store, self.inputs.targets, &labels)?)?;
        for (place, &var) in self.state.iter().enumerate() {
            let rows = attempts.iter().map(|attempt| attempt.rows.get(place).map_or(&[][..], Vec::as_slice));
            write_rows(store, var, rows)?;
        }
        write_rows(store, self.progress, attempts.iter().map(|attempt| attempt.progress.as_slice()))
    }

    /// Reads the attempts back.
    pub fn unload(&self, store: &Store, attempts: &mut [Attempt]) -> Result<()> {
        for (place, &var) in self.state.iter().enumerate() {
            let tensor = store.read(var)?;
            let width = tensor.spec().elements() / self.batch().max(1);
            for (attempt, row) in attempts.iter_mut().zip(tensor.values::<f32>()?.chunks_exact(width)) {
                if let Some(slot) = attempt.rows.get_mut(place) {
                    slot.copy_from_slice(row);
                }
            }
        }
        self.look(store, attempts)
    }

    /// Reads how far the attempts are.
    pub fn look(&self, store: &Store, attempts: &mut [Attempt]) -> Result<()> {
        let tensor = store.read(self.progress)?;
        let columns = tensor.spec().shape.last();
        for (attempt, row) in attempts.iter_mut().zip(tensor.values::<f32>()?.chunks_exact(columns)) {
            attempt.progress.copy_from_slice(row);
        }
        Ok(())
    }
}

fn one_hot(store: &Store, var: Var, labels: &[i32]) -> Result<Vec<f32>> {
    let classes = store.spec(var)?.shape.last();
    let mut rows = vec![0.0; labels.len() * classes];
    for (row, &label) in rows.chunks_exact_mut(classes).zip(labels) {
        let class = usize::try_from(label).ok().and_then(|label| row.get_mut(label));
        *class.ok_or_else(|| {
            Error::new("attack", "a label names no class").with("label", label).with("classes", classes)
        })? = 1.0;
    }
    Ok(rows)
}

/// Writes rows from the first on, and zeros behind them: a progress of zeros is an idle slot.
fn write_rows<'a>(store: &mut Store, var: Var, rows: impl Iterator<Item = &'a [f32]>) -> Result<()> {
    let mut values = Vec::with_capacity(store.spec(var)?.elements());
    rows.for_each(|row| values.extend_from_slice(row));
    values.resize(store.spec(var)?.elements(), 0.0);
    store.write_values(var, &values)
}
