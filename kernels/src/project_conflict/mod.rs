//! Gradients of several objectives without their conflict (PCGrad; Yu et al., 2001.06782, algorithm 1), per sample.
//!
//! `y = sum + weight (h - c g)`, `c = min(0, <h, g>) / |g|^2`: where the secondary gradient h works against the main gradient g,
//! its part along g is taken out. Inner products are per sample, so that a result does not depend on its batch. Patch-Fool's
//! published code divides by |g| where the projection has |g|^2: [`Projection::Published`]. No gradient.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{
    Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, Work, real,
};

use crate::common::specs::misfit;

const NAME: &str = "project_conflict";

/// What the inner product is divided by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Projection {
    /// |g|^2: the conflicting part vanishes.
    #[default]
    Exact,
    /// |g|: as the published code of Patch-Fool has it.
    Published,
}

#[derive(Debug)]
struct ProjectConflict {
    weight: f32,
    projection: Projection,
}

impl ProjectConflict {
    /// c from the inner product and |g|^2.
    fn coefficient(&self, product: f64, squares: f64) -> f64 {
        let divisor = match self.projection {
            Projection::Exact => squares,
            Projection::Published => squares.sqrt(),
        };
        if product < 0.0 { product / divisor } else { 0.0 }
    }
}

/// Records `sum + weight (h - c g)` of `sum`, main gradient `g` and secondary gradient `h`, all [b, ...] of one spec.
///
/// # Errors
/// Shapes differ.
pub fn project_conflict(
    tape: &mut Tape,
    sum: Value,
    g: Value,
    h: Value,
    weight: f32,
    projection: Projection,
) -> Result<Value> {
    tape.record(ProjectConflict { weight, projection }, &[sum, g, h])
}

impl Op for ProjectConflict {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        match inputs {
            [sum, g, h]
                if sum.dtype.is_real() && sum.shape.rank() > 1 && sum.elements() > 0 && g == sum && h == sum =>
            {
                Ok(*sum)
            }
            _ => Err(misfit(NAME, &["sum", "g", "h"], inputs, "all three are [b, ...] of one float type")),
        }
    }

    fn differentiable(&self, _inputs: &[Spec]) -> Inputs {
        Inputs::NONE
    }

    fn keeps(&self, _inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        Ok(Keeps::default())
    }

    fn scratch(&self, _inputs: &[Spec], _wanted: Inputs, _target: Target) -> Scratch {
        Scratch::default()
    }

    fn cost(&self, inputs: &[Spec], _wanted: Inputs) -> Cost {
        let (count, bytes) = inputs.first().map_or((0, 0), |spec| (spec.elements(), spec.bytes()));
        Cost { forward: Work::new(8 * count, 6 * bytes), backward: Work::default() }
    }

    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.output.spec().dtype, NAME, T => cpu::forward::<T>(self, io)),
            Exec::Cuda(exec) => cuda::forward(self, exec, &io),
            Exec::Wgpu(exec) => wgpu::forward(self, exec, &io),
        }
    }

    fn backward(&self, exec: &mut Exec, _io: Backward) -> Result<()> {
        match exec {
            Exec::Cpu(_) | Exec::Cuda(_) | Exec::Wgpu(_) => Err(Error::new(NAME, "has no gradient")),
        }
    }
}
