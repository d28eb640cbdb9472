//! Accumulated direction of a momentum attack (MI-FGSM; Dong et al., 1710.06081, equation 6), per sample.
//!
//! `v = mu v + g / mean|g|`. The paper divides by the sum of absolute values, torchattacks by their mean as here: all that
//! accumulates is larger by the number of elements, and its sign, which the step takes, is the same. A gradient that is 0
//! everywhere or not finite has no direction: the sample's v is only decayed.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Exec, Result, Spec, Store, Tape, Target, Update, UpdateIo, Value, Var, Work, real};

use crate::common::flat::is_vector;
use crate::common::specs::misfit;

const NAME: &str = "momentum";

#[derive(Debug)]
struct Momentum;

/// Records one accumulation into `velocity` [b, ...] of `gradient` [b, ...], with `decay` mu `[1]`.
///
/// # Errors
/// Shapes do not fit.
pub fn momentum(tape: &mut Tape, store: &Store, velocity: Var, gradient: Value, decay: Value) -> Result<()> {
    tape.update(store, Momentum, &[velocity], &[gradient, decay])
}

impl Update for Momentum {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        match (state, inputs) {
            ([velocity], [gradient, decay])
                if velocity.dtype.is_real()
                    && velocity.shape.rank() > 1
                    && velocity.elements() > 0
                    && gradient == velocity
                    && is_vector(decay, velocity, 1) =>
            {
                Ok(())
            }
            _ => {
                let specs: Vec<Spec> = state.iter().chain(inputs).copied().collect();
                let help = "velocity and gradient [b, ...], decay [1], all of one float type";
                Err(misfit(NAME, &["velocity", "gradient", "decay"], &specs, help))
            }
        }
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        0
    }

    fn cost(&self, state: &[Spec], _inputs: &[Spec]) -> Work {
        state.first().map_or(Work::default(), |spec| Work::new(4 * spec.elements(), 4 * spec.bytes()))
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.inputs[0].spec().dtype, NAME, T => cpu::run::<T>(io)),
            Exec::Cuda(exec) => cuda::run(exec, &io),
            Exec::Wgpu(exec) => wgpu::run(exec, &io),
        }
    }
}
