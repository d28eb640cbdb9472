//! One ascending step of Adam (Kingma and Ba, 1412.6980, algorithm 1) inside a box, per sample.
//!
//! `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`, `x = clamp(x + lr m' / (sqrt(v') + eps), low, high)` with the
//! corrected moments `m' = m / (1 - b1^t)` and `v' = v / (1 - b2^t)`; b1 .9, b2 .999, eps 1e-8, PyTorch's. A gradient that is
//! not finite counts as 0, and samples that are not active keep the bits of x, m and v. It is the step of Patch-Fool (Fu et
//! al., 2203.08392), whose schedule makes lr and t change: both come in as `rates`, made by [`rates`].

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Exec, Real, Result, Spec, Store, Tape, Target, Update, UpdateIo, Value, Var, Work, real};

use crate::common::flat::is_vector;
use crate::common::specs::{misfit, samples};

const NAME: &str = "box_adam";
const B1: f64 = 0.9;
const B2: f64 = 0.999;
/// Keeps the division finite.
const EPS: f64 = 1e-8;

#[derive(Debug)]
struct BoxAdam;

/// Operands of one step: all [b, ...] of one spec but for `rates` and `active`.
#[derive(Clone, Copy, Debug)]
pub struct BoxAdamStep {
    /// x, which ascends.
    pub value: Var,
    /// m, zero at first.
    pub first_moment: Var,
    /// v, zero at first.
    pub second_moment: Var,
    /// Gradient of what is to be ascended.
    pub gradient: Value,
    /// Smallest value per element.
    pub low: Value,
    /// Largest value per element.
    pub high: Value,
    /// Two numbers `[2]`: see [`rates`].
    pub rates: Value,
    /// Samples to be stepped `[b]`: all but those that are 0.
    pub active: Value,
}

/// What step t (from 1) of learning rate `lr` takes: `lr / (1 - b1^t)` and `1 / sqrt(1 - b2^t)`.
pub fn rates(lr: f64, t: u32) -> [f32; 2] {
    let rest = |beta: f64| 1.0 - beta.powi(i32::try_from(t).unwrap_or(i32::MAX));
    [f32::from_f64(lr / rest(B1)), f32::from_f64(1.0 / rest(B2).sqrt())]
}

/// Records one step.
///
/// # Errors
/// Shapes do not fit.
pub fn box_adam(tape: &mut Tape, store: &Store, step: BoxAdamStep) -> Result<()> {
    let states = [step.value, step.first_moment, step.second_moment];
    tape.update(store, BoxAdam, &states, &[step.gradient, step.low, step.high, step.rates, step.active])
}

impl Update for BoxAdam {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        match (state, inputs) {
            ([value, first, second], [gradient, low, high, rates, active])
                if value.dtype.is_real()
                    && value.shape.rank() > 1
                    && value.elements() > 0
                    && [first, second, gradient, low, high].iter().all(|spec| *spec == value)
                    && is_vector(rates, value, 2)
                    && is_vector(active, value, samples(value)) =>
            {
                Ok(())
            }
            _ => {
                let specs: Vec<Spec> = state.iter().chain(inputs).copied().collect();
                let names = ["value", "first moment", "second moment", "gradient", "low", "high", "rates", "active"];
                let help = "value, moments, gradient and bounds [b, ...], rates [2], active [b]: one float type";
                Err(misfit(NAME, &names, &specs, help))
            }
        }
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        0
    }

    fn cost(&self, state: &[Spec], _inputs: &[Spec]) -> Work {
        state.first().map_or(Work::default(), |spec| Work::new(14 * spec.elements(), 9 * spec.bytes()))
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.inputs[0].spec().dtype, NAME, T => cpu::run::<T>(io)),
            Exec::Cuda(exec) => cuda::run(exec, &io),
            Exec::Wgpu(exec) => wgpu::run(exec, &io),
        }
    }
}
