//! Exponential moving average of parameters: `a = a + (1 - decay) (p - a)` (Polyak and Juditsky, 1992; timm's `ModelEma`).

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Error, Exec, Result, Spec, Store, Tape, Target, Update, UpdateIo, Value, Var, Work, real};

use crate::common::specs::misfit;

const NAME: &str = "ema";

#[derive(Debug)]
struct Ema {
    decay: f64,
}

/// Records one step of the average of `params`; both have one spec, `decay` lies in 0..=1 (timm: .9998).
///
/// # Errors
/// Specs differ, or `decay` is out of range.
pub fn ema(tape: &mut Tape, store: &Store, average: Var, params: Value, decay: f64) -> Result<()> {
    tape.update(store, Ema { decay }, &[average], &[params])
}

impl Update for Ema {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        if !(0.0..=1.0).contains(&self.decay) {
            return Err(Error::new(NAME, "the decay is out of range").with("decay", self.decay).help("give 0 to 1"));
        }
        match (state, inputs) {
            ([average], [params]) if average == params && average.dtype.is_real() => Ok(()),
            _ => {
                let specs: Vec<Spec> = state.iter().chain(inputs).copied().collect();
                Err(misfit(NAME, &["average", "params"], &specs, "both are alike and float"))
            }
        }
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        0
    }

    fn cost(&self, state: &[Spec], _inputs: &[Spec]) -> Work {
        state.first().map_or(Work::default(), |average| Work::new(3 * average.elements(), 3 * average.bytes()))
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.inputs[0].spec().dtype, NAME, T => cpu::run::<T>(self.decay, io)),
            Exec::Cuda(exec) => cuda::run(self.decay, exec, &io),
            Exec::Wgpu(exec) => wgpu::run(self.decay, exec, &io),
        }
    }
}
