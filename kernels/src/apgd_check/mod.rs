//! The bookkeeping of Auto-PGD (Croce and Hein, 2003.01690, algorithm 1), per sample: what to do with the iterate whose loss was
//! just computed. [`apgd_step`](crate::apgd_step) does it.
//!
//! A row of `progress` holds the columns below; the last says what follows, as a sum of bits.
//!
//! | column | holds |
//! |---|---|
//! | 0, 1, 2 | eps, status, steps taken (`common::progress`) |
//! | 3 | eta, the step length: 2 eps at first |
//! | 4 | steps from one checkpoint to the next: `.22 n`, then `.03 n` less each time, at least `.06 n` |
//! | 5 | steps since the checkpoint |
//! | 6 | those of them that raised the loss |
//! | 7 | whether eta was halved at the last checkpoint: 1 at first |
//! | 8 | largest loss so far |
//! | 9 | the same at the last checkpoint |
//! | 10 | loss of the step before: 0 at first, as in the public implementation |
//! | 11 | [`BEST`] + [`FOOLS`] + [`STEP`] + [`BACK`] |
//!
//! At a checkpoint eta is halved, and the next step starts from the best iterate, if at most `rho` of the steps since the last one
//! raised the loss, or if eta was not halved there and the largest loss is still the same.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Error, Exec, Result, Spec, Store, Tape, Target, Update, UpdateIo, Value, Var, Work, real};

use crate::common::progress::{RUNNING, STATUS};
use crate::common::specs::{misfit, samples};

const NAME: &str = "apgd_check";

/// Columns of a row.
pub const COLUMNS: usize = 12;
/// Step length.
pub const ETA: usize = 3;
pub(crate) const PERIOD: usize = 4;
pub(crate) const SINCE: usize = 5;
pub(crate) const RAISED: usize = 6;
pub(crate) const HALVED: usize = 7;
/// Largest loss so far.
pub const LARGEST: usize = 8;
pub(crate) const AT_CHECKPOINT: usize = 9;
pub(crate) const BEFORE: usize = 10;
pub(crate) const ACTION: usize = 11;

/// The iterate has the largest loss so far.
pub const BEST: u32 = 1;
/// The iterate is misclassified.
pub const FOOLS: u32 = 2;
/// A step follows.
pub const STEP: u32 = 4;
/// It starts from the best iterate.
pub const BACK: u32 = 8;

/// How Auto-PGD runs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Schedule {
    /// Steps.
    pub steps: u32,
    /// Share of steps that must raise the loss for eta to stay: .75.
    pub rho: f64,
    /// Whether a sample is done once it is misclassified.
    pub stop: bool,
}

impl Schedule {
    /// First period, what each is shorter than the one before, and the shortest.
    ///
    /// The public implementation rounds n times a two-digit share down in floating point; here in whole numbers, which differs
    /// for none of n = 1 .. 1000.
    pub fn periods(&self) -> [u32; 3] {
        [22, 3, 6]
            .map(|percent| (u64::from(self.steps) * percent / 100).max(1))
            .map(|n| u32::try_from(n).unwrap_or(u32::MAX))
    }

    /// The row of a sample that is about to start.
    pub fn start(&self, eps: f64) -> [f64; COLUMNS] {
        let mut row = [0.0; COLUMNS];
        row[0] = eps;
        row[STATUS] = f64::from(RUNNING);
        row[ETA] = 2.0 * eps;
        row[PERIOD] = f64::from(self.periods()[0]);
        row[HALVED] = 1.0;
        row
    }
}

#[derive(Debug)]
struct ApgdCheck {
    schedule: Schedule,
}

/// Records the bookkeeping: `progress` is [b, 12], `losses` (to be ascended) and `margins` `[b]`; a sample is misclassified where
/// its margin, the largest wrong logit minus the right one, is positive.
///
/// # Errors
/// Shapes do not fit, or a schedule without steps.
pub fn apgd_check(
    tape: &mut Tape,
    store: &Store,
    schedule: Schedule,
    progress: Var,
    losses: Value,
    margins: Value,
) -> Result<()> {
    tape.update(store, ApgdCheck { schedule }, &[progress], &[losses, margins])
}

impl Update for ApgdCheck {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        if self.schedule.steps == 0 || !(0.0..=1.0).contains(&self.schedule.rho) {
            return Err(Error::new(NAME, "needs steps, and rho in [0, 1]")
                .with("steps", self.schedule.steps)
                .with("rho", self.schedule.rho));
        }
        match (state, inputs) {
            ([progress], [losses, margins])
                if progress.dtype.is_real()
                    && progress.shape.rank() == 2
                    && progress.shape.last() == COLUMNS
                    && losses == margins
                    && losses.dtype == progress.dtype
                    && losses.dims() == [samples(progress)] =>
            {
                Ok(())
            }
            _ => {
                let specs: Vec<Spec> = state.iter().chain(inputs).copied().collect();
                Err(misfit(
                    NAME,
                    &["progress", "losses", "margins"],
                    &specs,
                    "progress [b, 12], losses and margins [b]",
                ))
            }
        }
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        0
    }

    fn cost(&self, state: &[Spec], inputs: &[Spec]) -> Work {
        let bytes =
            state.iter().map(|spec| 2 * spec.bytes()).sum::<usize>() + inputs.iter().map(Spec::bytes).sum::<usize>();
        Work::new(state.first().map_or(0, Spec::elements), bytes)
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.inputs[0].spec().dtype, NAME, T => cpu::run::<T>(self.schedule, io)),
            Exec::Cuda(exec) => cuda::run(self.schedule, exec, &io),
            Exec::Wgpu(exec) => wgpu::run(self.schedule, exec, &io),
        }
    }
}
