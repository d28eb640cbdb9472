//! One step of the Fast Adaptive Boundary attack (Croce and Hein, 1907.02044), per sample: toward the decision boundary, biased
//! toward the clean image, and back a little once beyond it.
//!
//! With f = z_t - z_y linearised at x1 = x + delta, gradient w: d1 and d2 are the shortest vectors that bring x1 and x into the
//! plane f = 0 without leaving the box of images (where the plane is out of reach, they go to the walls), `a = |d1| / (|d1| + |d2|)`,
//! at most .1, norms at least 1e-8; then
//!
//! `delta' = clamp((1 - a) (delta + 1.05 d1) + a 1.05 d2, 0 - x, 1 - x)`.
//!
//! An iterate that is misclassified is kept where it is the nearest so far, and `delta' = .9 delta` is looked at next: in a pass of its
//! own, so that an iterate that is not takes one pass of the network and not two. In both norms a projection is the root of a function that rises
//! piecewise linearly, `sum_i |w_i| min(t r_i, room_i) = |f|` with r = 1 (Linf) or |w| (L2): Newton's method from below finds it
//! exactly, without sorting.
//!
//! A row of `progress` holds eps, status and steps taken (`common::progress`), whether the iterate is to be stepped from without
//! a look (1 at the start and after going back), and the norm of the nearest one.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Error, Exec, Result, Spec, Store, Tape, Target, Update, UpdateIo, Value, Var, Work, real};

use crate::common::progress::{Ball, RUNNING, STATUS};
use crate::common::specs::{misfit, samples};

const NAME: &str = "fab_step";

/// Columns of a row.
pub const COLUMNS: usize = 5;
pub(crate) const FRESH: usize = 3;
/// Norm of the nearest misclassified iterate; [`NONE_YET`] where there is none.
pub const NEAREST: usize = 4;
/// What [`NEAREST`] starts with, as in the public implementation.
pub const NONE_YET: f64 = 1e10;

/// Most weight of the clean image.
const MOST: f64 = 0.1;
/// How far past the plane a step goes.
const PAST: f64 = 1.05;
/// What is left of a perturbation on the way back.
const BACK: f64 = 0.9;
/// Least norm in the weight of the clean image.
const LEAST: f64 = 1e-8;
/// Newton steps that a projection takes at most. Far fewer are needed, and what it has then is short of the plane, not wrong.
const ROUNDS: usize = 200;

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
    row[FRESH] = 1.0;
    row[NEAREST] = NONE_YET;
    row
}

/// Values of one look at the iterates.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Gradient of z_t - z_y with respect to images + delta, [b, ...].
    pub gradient: Value,
    /// z_t - z_y, `[b]`.
    pub difference: Value,
    /// The largest wrong logit minus the right one, `[b]`.
    pub margin: Value,
    /// Clean images in [0, 1], [b, ...].
    pub images: Value,
}

#[derive(Debug)]
struct FabStep {
    ball: Ball,
    limit: Limit,
}

/// Records one step: `delta` and `nearest` are [b, ...], `progress` [b, 5].
///
/// # Errors
/// Shapes do not fit, or no steps.
pub fn fab_step(
    tape: &mut Tape,
    store: &Store,
    ball: Ball,
    limit: Limit,
    [delta, nearest, progress]: [Var; 3],
    look: Look,
) -> Result<()> {
    let inputs = [look.gradient, look.difference, look.margin, look.images];
    tape.update(store, FabStep { ball, limit }, &[delta, nearest, progress], &inputs)
}

impl Update for FabStep {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        if self.limit.steps == 0 {
            return Err(Error::new(NAME, "needs steps").help("1 or more"));
        }
        match (state, inputs) {
            ([delta, nearest, progress], [gradient, difference, margin, images])
                if delta.dtype.is_real()
                    && delta.shape.rank() > 1
                    && delta.elements() > 0
                    && [nearest, gradient, images].into_iter().all(|spec| spec == delta)
                    && difference == margin
                    && margin.dtype == delta.dtype
                    && margin.dims() == [samples(delta)]
                    && progress.dtype == delta.dtype
                    && progress.dims() == [samples(delta), COLUMNS] =>
            {
                Ok(())
            }
            _ => {
                let specs: Vec<Spec> = state.iter().chain(inputs).copied().collect();
                let names = ["delta", "nearest", "progress", "gradient", "difference", "margin", "images"];
                Err(misfit(
                    NAME,
                    &names,
                    &specs,
                    "all [b, ...] of one float type, progress [b, 5], difference and margin [b]",
                ))
            }
        }
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        0
    }

    fn cost(&self, state: &[Spec], _inputs: &[Spec]) -> Work {
        // Some five Newton steps for each of two projections, from a cache.
        state.first().map_or(Work::default(), |delta| Work::new(100 * delta.elements(), 6 * delta.bytes()))
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.inputs[0].spec().dtype, NAME, T => cpu::run::<T>(self.ball, self.limit, io)),
            Exec::Cuda(exec) => cuda::run(self.ball, self.limit, exec, &io),
            Exec::Wgpu(exec) => wgpu::run(self.ball, self.limit, exec, &io),
        }
    }
}
