//! Weighted sum of values of one shape with constant coefficients: `y = sum over i of c[i] * x[i]`.
//!
//! Gradient: `dx[i] = c[i] * dy`; where the coefficient is 1, dy itself. For sums of losses and the mean of two heads.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::op::MAX_INPUTS;
use engine::{
    Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, Work, real,
};

use crate::common::specs;

const NAME: &str = "combine";

#[derive(Debug)]
struct Combine {
    coefficients: Vec<f32>,
}

/// Records the sum of (coefficient, value) terms: 1 to 8 values of one shape and dtype.
///
/// # Errors
/// No term or more than 8, specs that differ, or a coefficient that is not finite.
pub fn combine(tape: &mut Tape, terms: &[(f32, Value)]) -> Result<Value> {
    let inputs: Vec<Value> = terms.iter().map(|&(_, value)| value).collect();
    tape.record(Combine { coefficients: terms.iter().map(|&(coefficient, _)| coefficient).collect() }, &inputs)
}

impl Op for Combine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        let Some(first) = inputs.first().filter(|_| inputs.len() <= MAX_INPUTS) else {
            return Err(Error::new(NAME, format!("takes 1 to {MAX_INPUTS} terms")).with("terms", inputs.len()));
        };
        specs::float(NAME, "a term", *first)?;
        if inputs.iter().any(|spec| spec != first) {
            return Err(Error::new(NAME, "the terms differ in shape or dtype").with("terms", format!("{inputs:?}")));
        }
        if self.coefficients.iter().all(|coefficient| coefficient.is_finite()) {
            return Ok(*first);
        }
        Err(Error::new(NAME, "coefficients must be finite").with("coefficients", format!("{:?}", self.coefficients)))
    }

    fn differentiable(&self, inputs: &[Spec]) -> Inputs {
        Inputs::first(inputs.len())
    }

    #[expect(clippy::float_cmp, reason = "exactly 1 passes dy on")]
    fn keeps(&self, _inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        let passing = self.coefficients.iter().enumerate().filter(|&(_, &coefficient)| coefficient == 1.0);
        Ok(Keeps { passes: passing.fold(Inputs::NONE, |set, (position, _)| set.and(position)), ..Keeps::default() })
    }

    fn scratch(&self, _inputs: &[Spec], _wanted: Inputs, _target: Target) -> Scratch {
        Scratch::default()
    }

    fn cost(&self, inputs: &[Spec], wanted: Inputs) -> Cost {
        let (count, bytes) = specs::size(inputs, 0);
        let terms = inputs.len();
        let gradients = (0..terms).filter(|&position| wanted.has(position)).count();
        Cost {
            forward: Work::new((2 * terms).saturating_sub(1) * count, (terms + 1) * bytes),
            backward: Work::new(gradients * count, 2 * gradients * bytes),
        }
    }

    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.output.spec().dtype, NAME, T => cpu::forward::<T>(&self.coefficients, io)),
            Exec::Cuda(exec) => cuda::forward(&self.coefficients, exec, &io),
            Exec::Wgpu(exec) => wgpu::forward(&self.coefficients, exec, &io),
        }
    }

    fn backward(&self, exec: &mut Exec, io: Backward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.d_output.spec().dtype, NAME, T => cpu::backward::<T>(&self.coefficients, io)),
            Exec::Cuda(exec) => cuda::backward(&self.coefficients, exec, &io),
            Exec::Wgpu(exec) => wgpu::backward(&self.coefficients, exec, &io),
        }
    }
}
