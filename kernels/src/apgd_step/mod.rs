//! The step of Auto-PGD (Croce and Hein, 2003.01690, algorithm 1), per sample: does what [`apgd_check`](crate::apgd_check) said.
//!
//! The iterate is kept where it is the best so far (with its gradient) or misclassified. Then, from it or from the best one, with
//! `a = .75` (1 in the first step), P the projection on the ball and then into the box of images, and `d` the iterate before:
//!
//! `u = P(delta + eta sign(g))`, `delta' = P(delta + a (u - delta) + (1 - a) (delta - d))`.
//!
//! In L2 the step is `eta g / (|g| + 1e-12)`, and P scales a perturbation v by `min(eps, |v|) / (|v| + 1e-12)`. As in the public
//! implementation d stays the iterate before even where the step starts from the best one. Norms are summed in f64 on the CPU. A sample
//! whose gradient's norm is not finite takes no step along it.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Exec, Result, Spec, Store, Tape, Target, Update, UpdateIo, Value, Var, Work, real};

use crate::apgd_check::COLUMNS;
use crate::common::progress::Ball;
use crate::common::specs::{misfit, samples};

const NAME: &str = "apgd_step";
/// Keeps directions finite where a vector is 0.
const TINY: f64 = 1e-12;
/// Share of the new step; the rest is the step before.
const MOMENTUM: f64 = 0.75;

/// What Auto-PGD keeps of each sample beside its row of `progress`: [b, ...] of the images' spec.
#[derive(Clone, Copy, Debug)]
pub struct Iterates {
    /// The perturbation.
    pub delta: Var,
    /// That of the step before.
    pub before: Var,
    /// That of the largest loss.
    pub best: Var,
    /// The gradient there.
    pub best_gradient: Var,
    /// The last one that was misclassified.
    pub fooling: Var,
}

impl Iterates {
    fn states(self) -> [Var; 5] {
        [self.delta, self.before, self.best, self.best_gradient, self.fooling]
    }
}

#[derive(Debug)]
struct ApgdStep {
    ball: Ball,
}

/// Records the step: `gradient` of the loss with respect to images + delta and `images` are [b, ...], `progress` is that of
/// [`apgd_check`](crate::apgd_check), [b, 12].
///
/// # Errors
/// Shapes do not fit.
pub fn apgd_step(
    tape: &mut Tape,
    store: &Store,
    ball: Ball,
    iterates: Iterates,
    gradient: Value,
    images: Value,
    progress: Value,
) -> Result<()> {
    tape.update(store, ApgdStep { ball }, &iterates.states(), &[gradient, images, progress])
}

impl Update for ApgdStep {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        match inputs {
            [gradient, images, progress]
                if gradient.dtype.is_real()
                    && gradient.shape.rank() > 1
                    && gradient.elements() > 0
                    && images == gradient
                    && state.iter().all(|state| state == gradient)
                    && progress.dtype == gradient.dtype
                    && progress.dims() == [samples(gradient), COLUMNS] =>
            {
                Ok(())
            }
            _ => {
                let specs: Vec<Spec> = state.iter().chain(inputs).copied().collect();
                let names = ["delta", "before", "best", "best gradient", "fooling", "gradient", "images", "progress"];
                Err(misfit(NAME, &names, &specs, "all [b, ...] of one float type, progress [b, 12]"))
            }
        }
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        0
    }

    fn cost(&self, state: &[Spec], _inputs: &[Spec]) -> Work {
        state.first().map_or(Work::default(), |delta| Work::new(16 * delta.elements(), 8 * delta.bytes()))
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.inputs[0].spec().dtype, NAME, T => cpu::run::<T>(self.ball, io)),
            Exec::Cuda(exec) => cuda::run(self.ball, exec, &io),
            Exec::Wgpu(exec) => wgpu::run(self.ball, exec, &io),
        }
    }
}
