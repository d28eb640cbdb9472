//! One step of the Fast Adaptive Boundary attack (Croce and Hein, 1907.02044), per sample: toward the decision boundary, biased
//! toward the clean image. [`fab_look`](crate::fab_look) says what becomes of the iterate that it goes to, and which samples are under way.
//!
//! With f = z_t - z_y linearised at x1 = x + delta, gradient w: d1 and d2 are the shortest vectors that bring x1 and x into the
//! plane f = 0 without leaving the box of images (where the plane is out of reach, they go to the walls), `a = |d1| / (|d1| + |d2|)`,
//! at most .1, norms at least 1e-8; then
//!
//! `delta' = clamp((1 - a) (delta + 1.05 d1) + a 1.05 d2, 0 - x, 1 - x)`.
//!
//! In both norms a projection is the root of a function that rises piecewise linearly, `sum_i |w_i| min(t r_i, room_i) = |f|` with r = 1
//! (Linf) or |w| (L2): Newton's method from below finds it exactly, without sorting.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Exec, Result, Spec, Store, Tape, Target, Update, UpdateIo, Value, Var, Work, real};

use crate::common::progress::Ball;
use crate::common::specs::{misfit, samples};
use crate::fab_look::COLUMNS;

const NAME: &str = "fab_step";

/// Most weight of the clean image.
const MOST: f64 = 0.1;
/// How far past the plane a step goes.
const PAST: f64 = 1.05;
/// Least norm in the weight of the clean image.
const LEAST: f64 = 1e-8;
/// Newton steps that a projection takes at most. Far fewer are needed, and what it has then is short of the plane, not wrong.
const ROUNDS: usize = 200;

/// Values of the iterates that a step is made of.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Gradient of z_t - z_y with respect to images + delta, [b, ...].
    pub gradient: Value,
    /// z_t - z_y, `[b]`.
    pub difference: Value,
    /// Clean images in [0, 1], [b, ...].
    pub images: Value,
    /// Rows of [`fab_look`](crate::fab_look), [b, 4]: samples that run are stepped.
    pub progress: Value,
}

#[derive(Debug)]
struct FabStep {
    ball: Ball,
}

/// Records one step of `delta`, [b, ...].
///
/// # Errors
/// Shapes do not fit.
pub fn fab_step(tape: &mut Tape, store: &Store, ball: Ball, delta: Var, origin: Origin) -> Result<()> {
    let inputs = [origin.gradient, origin.difference, origin.images, origin.progress];
    tape.update(store, FabStep { ball }, &[delta], &inputs)
}

impl Update for FabStep {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        match (state, inputs) {
            ([delta], [gradient, difference, images, progress])
                if delta.dtype.is_real()
                    && delta.shape.rank() > 1
                    && delta.elements() > 0
                    && gradient == delta
                    && images == delta
                    && difference.dtype == delta.dtype
                    && difference.dims() == [samples(delta)]
                    && progress.dtype == delta.dtype
                    && progress.dims() == [samples(delta), COLUMNS] =>
            {
                Ok(())
            }
            _ => {
                let specs: Vec<Spec> = state.iter().chain(inputs).copied().collect();
                let names = ["delta", "gradient", "difference", "images", "progress"];
                let wanted = "delta, gradient and images [b, ...] of one float type, difference [b], progress [b, 4]";
                Err(misfit(NAME, &names, &specs, wanted))
            }
        }
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        0
    }

    fn cost(&self, state: &[Spec], _inputs: &[Spec]) -> Work {
        // Some five Newton steps for each of two projections, from a cache.
        state.first().map_or(Work::default(), |delta| Work::new(100 * delta.elements(), 4 * delta.bytes()))
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.inputs[0].spec().dtype, NAME, T => cpu::run::<T>(self.ball, io)),
            Exec::Cuda(exec) => cuda::run(self.ball, exec, &io),
            Exec::Wgpu(exec) => wgpu::run(self.ball, exec, &io),
        }
    }
}
