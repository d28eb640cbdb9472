//! What becomes of an iterate of the Fast Adaptive Boundary attack (Croce and Hein, 1907.02044), per sample: where it is misclassified,
//! it is kept if it is the nearest one so far, and the attack goes on from `.9 delta`. [`fab_step`](crate::fab_step) went there.
//!
//! A look needs no gradient, so that a step of the attack takes one forward and backward pass where it starts and one forward pass where
//! it ends.
//!
//! A row of `progress` holds eps, status and iterates looked at so far (`common::progress`), and the norm of the nearest one.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Error, Exec, Result, Spec, Store, Tape, Target, Update, UpdateIo, Value, Var, Work, real};

use crate::common::progress::{Ball, RUNNING, STATUS};
use crate::common::specs::{misfit, samples};

const NAME: &str = "fab_look";

/// Columns of a row.
pub const COLUMNS: usize = 4;
/// Norm of the nearest misclassified iterate; [`NONE_YET`] where there is none.
pub const NEAREST: usize = 3;
/// What [`NEAREST`] starts with, as in the public implementation.
pub const NONE_YET: f64 = 1e10;

/// What is left of a perturbation on the way back.
const BACK: f64 = 0.9;

/// When the attack ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Steps.
    pub steps: u32,
    /// Whether a sample is done once an iterate within eps is misclassified; else the nearest one is looked for to the end.
    pub stop: bool,
}

/// The row of a sample that is about to start.
pub fn start(eps: f64) -> [f64; COLUMNS] {
    let mut row = [0.0; COLUMNS];
    row[0] = eps;
    row[STATUS] = f64::from(RUNNING);
    row[NEAREST] = NONE_YET;
    row
}

#[derive(Debug)]
struct FabLook {
    ball: Ball,
    limit: Limit,
}

/// Records a look at the iterates: `delta` and `nearest` are [b, ...], `progress` [b, 4], `margins` `[b]` the largest wrong logit minus the
/// right one at images + delta.
///
/// # Errors
/// Shapes do not fit, or no steps.
pub fn fab_look(
    tape: &mut Tape,
    store: &Store,
    ball: Ball,
    limit: Limit,
    [delta, nearest, progress]: [Var; 3],
    margins: Value,
) -> Result<()> {
    tape.update(store, FabLook { ball, limit }, &[delta, nearest, progress], &[margins])
}

impl Update for FabLook {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        if self.limit.steps == 0 {
            return Err(Error::new(NAME, "needs steps").help("1 or more"));
        }
        match (state, inputs) {
            ([delta, nearest, progress], [margins])
                if delta.dtype.is_real()
                    && delta.shape.rank() > 1
                    && delta.elements() > 0
                    && nearest == delta
                    && margins.dtype == delta.dtype
                    && margins.dims() == [samples(delta)]
                    && progress.dtype == delta.dtype
                    && progress.dims() == [samples(delta), COLUMNS] =>
            {
                Ok(())
            }
            _ => {
                let specs: Vec<Spec> = state.iter().chain(inputs).copied().collect();
                let names = ["delta", "nearest", "progress", "margins"];
                let wanted = "delta and nearest [b, ...] of one float type, progress [b, 4], margins [b]";
                Err(misfit(NAME, &names, &specs, wanted))
            }
        }
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        0
    }

    fn cost(&self, state: &[Spec], _inputs: &[Spec]) -> Work {
        state.first().map_or(Work::default(), |delta| Work::new(3 * delta.elements(), 3 * delta.bytes()))
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.inputs[0].spec().dtype, NAME, T => cpu::run::<T>(self.ball, self.limit, io)),
            Exec::Cuda(exec) => cuda::run(self.ball, self.limit, exec, &io),
            Exec::Wgpu(exec) => wgpu::run(self.ball, self.limit, exec, &io),
        }
    }
}
