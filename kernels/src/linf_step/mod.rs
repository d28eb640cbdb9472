//! One step of projected gradient ascent in the Linf ball (Madry et al., 1706.06083).
//!
//! `delta = clamp(clamp(delta + alpha sign(g), -eps, eps), 0 - x, 1 - x)`, with sign(0) = 0: a pixel whose gradient was cut
//! off stays where it is, and so does one whose gradient is NaN. Samples that are not active keep their bits.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Exec, Result, Spec, Store, Tape, Target, Update, UpdateIo, Work, real};

use crate::common::attack::{self, Step};

const NAME: &str = "linf_step";

#[derive(Debug)]
struct LinfStep;

/// Records one Linf step.
///
/// # Errors
/// Shapes do not fit.
pub fn linf_step(tape: &mut Tape, store: &Store, step: Step) -> Result<()> {
    tape.update(store, LinfStep, &[step.delta], &step.inputs())
}

impl Update for LinfStep {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        attack::check(NAME, state, inputs)
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        0
    }

    fn cost(&self, state: &[Spec], _inputs: &[Spec]) -> Work {
        state.first().map_or(Work::default(), |delta| Work::new(8 * delta.elements(), 4 * delta.bytes()))
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.inputs[0].spec().dtype, NAME, T => cpu::run::<T>(io)),
            Exec::Cuda(exec) => cuda::run(exec, &io),
            Exec::Wgpu(exec) => wgpu::run(exec, &io),
        }
    }
}
