//! What becomes of a proposal of the Square Attack (Andriushchenko et al., 1912.00049), per sample: where its margin, the right logit
//! minus the largest wrong one, is less than that of the best perturbation, or not positive, it is the best one now.
//!
//! A row of `progress` is that of [`square_try`](crate::square_try): eps, status, proposals judged so far, and the margin of the best one.
//! The first proposal is always taken.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Error, Exec, Result, Spec, Store, Tape, Target, Update, UpdateIo, Value, Var, Work, real};

use crate::common::progress::{RUNNING, STATUS};
use crate::common::specs::{misfit, samples};
use crate::square_try::COLUMNS;

const NAME: &str = "square_keep";

/// The row of a sample that is about to start.
pub fn start(eps: f64) -> [f64; COLUMNS] {
    let mut row = [0.0; COLUMNS];
    row[0] = eps;
    row[STATUS] = f64::from(RUNNING);
    row
}

#[derive(Debug)]
struct SquareKeep {
    queries: u32,
}

/// Records the judgement: `best` and `trial` are [b, ...], `progress` [b, 4], `margins` `[b]` the largest wrong logit minus the right one. A
/// sample is done once it is misclassified, or after `queries` proposals beside the first.
///
/// # Errors
/// Shapes do not fit, or no queries.
pub fn square_keep(
    tape: &mut Tape,
    store: &Store,
    queries: u32,
    best: Var,
    progress: Var,
    trial: Value,
    margins: Value,
) -> Result<()> {
    tape.update(store, SquareKeep { queries }, &[best, progress], &[trial, margins])
}

impl Update for SquareKeep {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        if self.queries == 0 {
            return Err(Error::new(NAME, "needs queries").help("1 or more"));
        }
        match (state, inputs) {
            ([best, progress], [trial, margins])
                if best.dtype.is_real()
                    && best.shape.rank() > 1
                    && best.elements() > 0
                    && trial == best
                    && margins.dtype == best.dtype
                    && margins.dims() == [samples(best)]
                    && progress.dtype == best.dtype
                    && progress.dims() == [samples(best), COLUMNS] =>
            {
                Ok(())
            }
            _ => {
                let specs: Vec<Spec> = state.iter().chain(inputs).copied().collect();
                let names = ["best", "progress", "trial", "margins"];
                Err(misfit(NAME, &names, &specs, "best and trial [b, ...], progress [b, 4], margins [b]"))
            }
        }
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        0
    }

    fn cost(&self, state: &[Spec], _inputs: &[Spec]) -> Work {
        state.first().map_or(Work::default(), |best| Work::new(best.elements(), 2 * best.bytes()))
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.inputs[0].spec().dtype, NAME, T => cpu::run::<T>(self.queries, io)),
            Exec::Cuda(exec) => cuda::run(self.queries, exec, &io),
            Exec::Wgpu(exec) => wgpu::run(self.queries, exec, &io),
        }
    }
}
