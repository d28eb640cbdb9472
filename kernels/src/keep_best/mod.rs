//! Best of several tries, per sample: where the score is higher than the best so far, keep the candidate and its score.
//!
//! For restarts of an attack (Mo et al., 2210.07540: the perturbation of the largest loss). The choice is by selection:
//! a NaN score never wins, and what loses leaves no trace. Start with scores of -inf.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Exec, Result, Spec, Store, Tape, Target, Update, UpdateIo, Value, Var, Work, real};

use crate::common::specs::{misfit, samples};

const NAME: &str = "keep_best";

#[derive(Debug)]
struct KeepBest;

/// Records the choice: `best` and `candidate` are [b, ...], `best_score` and `score` `[b]`.
///
/// # Errors
/// Shapes do not fit.
pub fn keep_best(
    tape: &mut Tape,
    store: &Store,
    best: Var,
    best_score: Var,
    candidate: Value,
    score: Value,
) -> Result<()> {
    tape.update(store, KeepBest, &[best, best_score], &[candidate, score])
}

impl Update for KeepBest {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        match (state, inputs) {
            ([best, best_score], [candidate, score])
                if best == candidate
                    && best_score == score
                    && best.shape.rank() > 0
                    && score.dims() == [samples(best)]
                    && score.dtype == best.dtype
                    && best.dtype.is_real() =>
            {
                Ok(())
            }
            _ => {
                let specs: Vec<Spec> = state.iter().chain(inputs).copied().collect();
                let names = ["best", "best score", "candidate", "score"];
                Err(misfit(NAME, &names, &specs, "candidates are [b, ...], scores [b], all of one float type"))
            }
        }
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        0
    }

    fn cost(&self, state: &[Spec], _inputs: &[Spec]) -> Work {
        let count = state.last().map_or(0, Spec::elements);
        Work::new(count, 2 * state.iter().map(Spec::bytes).sum::<usize>())
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.inputs[0].spec().dtype, NAME, T => cpu::run::<T>(io)),
            Exec::Cuda(exec) => cuda::run(exec, &io),
            Exec::Wgpu(exec) => wgpu::run(exec, &io),
        }
    }
}
