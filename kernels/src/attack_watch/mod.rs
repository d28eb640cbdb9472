//! Which samples an attack of a fixed number of steps still has to step: those that are classified correctly and have steps left.
//!
//! A row of `progress` holds eps, status and steps taken (`common::progress`). The step of an active sample is counted here, before
//! it is taken. So n steps take n + 1 replays, the last of which only looks.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Error, Exec, Result, Spec, Store, Tape, Target, Update, UpdateIo, Value, Var, Work, real};

use crate::common::progress::{RUNNING, STATUS};
use crate::common::specs::{misfit, samples};

const NAME: &str = "attack_watch";

/// Columns of a row.
pub const COLUMNS: usize = 3;

/// The row of a sample that is about to start.
pub fn start(eps: f64) -> [f64; COLUMNS] {
    let mut row = [0.0; COLUMNS];
    row[0] = eps;
    row[STATUS] = f64::from(RUNNING);
    row
}

/// When an attack ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Steps.
    pub steps: u32,
    /// Whether a sample is done once it is misclassified.
    pub stop: bool,
}

#[derive(Debug)]
struct AttackWatch {
    limit: Limit,
}

/// Records the look: `progress` [b, 3] and `active` `[b]` (1 where a step follows, else 0) are written; `margins` `[b]` are the
/// largest wrong logit minus the right one: a sample is misclassified where that is positive.
///
/// # Errors
/// Shapes do not fit, or no steps.
pub fn attack_watch(
    tape: &mut Tape,
    store: &Store,
    limit: Limit,
    progress: Var,
    active: Var,
    margins: Value,
) -> Result<()> {
    tape.update(store, AttackWatch { limit }, &[progress, active], &[margins])
}

impl Update for AttackWatch {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        if self.limit.steps == 0 {
            return Err(Error::new(NAME, "needs steps").help("1 or more"));
        }
        match (state, inputs) {
            ([progress, active], [margins])
                if progress.dtype.is_real()
                    && progress.shape.rank() == 2
                    && progress.shape.last() == COLUMNS
                    && active == margins
                    && margins.dtype == progress.dtype
                    && margins.dims() == [samples(progress)] =>
            {
                Ok(())
            }
            _ => {
                let specs: Vec<Spec> = state.iter().chain(inputs).copied().collect();
                Err(misfit(NAME, &["progress", "active", "margins"], &specs, "progress [b, 3], active and margins [b]"))
            }
        }
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        0
    }

    fn cost(&self, state: &[Spec], inputs: &[Spec]) -> Work {
        let bytes = state.iter().chain(inputs).map(Spec::bytes).sum::<usize>();
        Work::new(state.first().map_or(0, Spec::elements), 2 * bytes)
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.inputs[0].spec().dtype, NAME, T => cpu::run::<T>(self.limit, io)),
            Exec::Cuda(exec) => cuda::run(self.limit, exec, &io),
            Exec::Wgpu(exec) => wgpu::run(self.limit, exec, &io),
        }
    }
}
