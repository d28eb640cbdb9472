//! Counters that a replay moves on: the step of a random state (`engine::rng`: word 2 of 4), or a count.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::rng::STATE_WORDS;
use engine::{DType, Exec, Result, Spec, Store, Tape, Target, Update, UpdateIo, Var, Work};

use crate::common::specs::misfit;

const NAME: &str = "advance";

#[derive(Debug)]
struct Advance;

/// Records +1 for each of `counters`: the step of a random state u32 `[4]`, or a count `[1]` of u32, f32 or f64. Integers wrap.
///
/// # Errors
/// A counter of another shape or type.
pub fn advance(tape: &mut Tape, store: &Store, counters: &[Var]) -> Result<()> {
    tape.update(store, Advance, counters, &[])
}

impl Update for Advance {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        let counts = |spec: &Spec| {
            let random = spec.dtype == DType::U32 && spec.dims() == [STATE_WORDS];
            random || (spec.dims() == [1] && (spec.dtype == DType::U32 || spec.dtype.is_real()))
        };
        if !state.is_empty() && inputs.is_empty() && state.iter().all(counts) {
            return Ok(());
        }
        Err(misfit(NAME, &["counter"; 8], state, "a random state is u32 [4], a count is [1] of u32, f32 or f64"))
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        0
    }

    fn cost(&self, state: &[Spec], _inputs: &[Spec]) -> Work {
        Work::new(state.len(), 2 * state.iter().map(Spec::bytes).sum::<usize>())
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cpu(_) => cpu::run(io),
            Exec::Cuda(exec) => cuda::run(exec, &io),
            Exec::Wgpu(exec) => wgpu::run(exec, &io),
        }
    }
}
