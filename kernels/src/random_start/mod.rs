//! Where an attack starts: a perturbation drawn afresh, per sample, and clamped so that the image stays in [0, 1].
//!
//! | start | delta before clamping | used by |
//! |---|---|---|
//! | zero | 0 | FGSM |
//! | uniform | eps U(-1, 1) | PGD, Linf (Madry et al., 1706.06083) |
//! | normal | std N(0, 1) | TRADES and MART: std .001 |
//! | l2 | eps U(0, 1) n / abs(n), n standard normal | PGD, L2 (torchattacks) |
//!
//! Draws are keyed by (random state, stream, sample id, element): they do not depend on how the data were batched. The L2
//! radius is the uniform value of the element after the sample's last.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::rng::Stream;
use engine::{Error, Exec, Result, Spec, Store, Tape, Target, Update, UpdateIo, Value, Var, Work, real};

use crate::common::flat::is_vector;
use crate::common::specs::{misfit, random_state, sample_ids, samples};

const NAME: &str = "random_start";

/// The law of a start.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Start {
    /// No perturbation.
    Zero,
    /// Uniform in the Linf ball.
    Uniform,
    /// Normal with this standard deviation; the radius is not used.
    Normal(f32),
    /// A uniform direction, times a radius that is uniform in 0..eps.
    L2,
}

#[derive(Debug)]
struct RandomStart {
    start: Start,
    stream: Stream,
}

/// Values of a [`random_start`].
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Images in [0, 1], [b, ...].
    pub images: Value,
    /// Sample ids u32 `[b]`.
    pub ids: Value,
    /// Radius of the ball `[1]`, in units of the images.
    pub eps: Value,
    /// Random state u32 `[4]` of `engine::rng`.
    pub state: Value,
}

/// Records a fresh start of `delta` [b, ...], drawn from the stream of name `stream`.
///
/// # Errors
/// Shapes do not fit, or a standard deviation that is negative or not finite.
pub fn random_start(
    tape: &mut Tape,
    store: &Store,
    delta: Var,
    origin: Origin,
    start: Start,
    stream: &str,
) -> Result<()> {
    let update = RandomStart { start, stream: Stream::named(stream) };
    tape.update(store, update, &[delta], &[origin.images, origin.ids, origin.eps, origin.state])
}

impl Update for RandomStart {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        if let Start::Normal(std) = self.start
            && !(std.is_finite() && std >= 0.0)
        {
            return Err(Error::new(NAME, "the standard deviation must be 0 or positive").with("std", std));
        }
        match (state, inputs) {
            ([delta], [images, ids, eps, words])
                if delta.dtype.is_real()
                    && delta.shape.rank() > 1
                    && delta.elements() > 0
                    && images == delta
                    && is_vector(eps, delta, 1) =>
            {
                sample_ids(NAME, *ids, samples(delta))?;
                random_state(NAME, *words)
            }
            _ => {
                let specs: Vec<Spec> = state.iter().chain(inputs).copied().collect();
                let names = ["delta", "images", "ids", "eps", "random state"];
                Err(misfit(
                    NAME,
                    &names,
                    &specs,
                    "delta and images [b, ...], ids u32 [b], eps [1], random state u32 [4]",
                ))
            }
        }
    }

    fn scratch(&self, state: &[Spec], _inputs: &[Spec], target: Target) -> usize {
        match target {
            Target::Cpu { .. } => 0,
            Target::Cuda(_) => state.first().map_or(0, |delta| cuda::scratch(self.start, delta)),
            Target::Wgpu(_) => state.first().map_or(0, |delta| wgpu::scratch(self.start, delta)),
        }
    }

    fn cost(&self, state: &[Spec], _inputs: &[Spec]) -> Work {
        state.first().map_or(Work::default(), |delta| Work::new(4 * delta.elements(), 2 * delta.bytes()))
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.inputs[0].spec().dtype, NAME, T => cpu::run::<T>(self, io)),
            Exec::Cuda(exec) => cuda::run(self, exec, &io),
            Exec::Wgpu(exec) => wgpu::run(self, exec, &io),
        }
    }
}
