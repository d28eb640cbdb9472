//! One step of projected gradient ascent in the L2 ball (Madry et al., 1706.06083), per sample.
//!
//! `d = delta + alpha g / (|g| + 1e-10)`, `d = d min(1, eps / |d|)`, `delta = clamp(d, 0 - x, 1 - x)`. The norms are summed in
//! f64. A sample whose gradient's norm is not finite takes no step; one that is not active keeps its bits.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Exec, Result, Spec, Store, Tape, Target, Update, UpdateIo, Work, real};

use crate::common::attack::{self, Step};

const NAME: &str = "l2_step";
/// Keeps the direction finite where the gradient is 0.
const TINY: f64 = 1e-10;

#[derive(Debug)]
struct L2Step;

/// Records one L2 step.
///
/// # Errors
/// Shapes do not fit.
pub fn l2_step(tape: &mut Tape, store: &Store, step: Step) -> Result<()> {
    tape.update(store, L2Step, &[step.delta], &step.inputs())
}

impl Update for L2Step {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        attack::check(NAME, state, inputs)
    }

    fn scratch(&self, state: &[Spec], _inputs: &[Spec], target: Target) -> usize {
        match target {
            Target::Cpu { .. } => 0,
            Target::Cuda(_) => state.first().map_or(0, cuda::scratch),
            Target::Wgpu(_) => state.first().map_or(0, wgpu::scratch),
        }
    }

    fn cost(&self, state: &[Spec], _inputs: &[Spec]) -> Work {
        state.first().map_or(Work::default(), |delta| Work::new(10 * delta.elements(), 4 * delta.bytes()))
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.inputs[0].spec().dtype, NAME, T => cpu::run::<T>(io)),
            Exec::Cuda(exec) => cuda::run(exec, &io),
            Exec::Wgpu(exec) => wgpu::run(exec, &io),
        }
    }
}
