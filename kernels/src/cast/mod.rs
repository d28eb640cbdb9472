//! The same values in another float type: `y = round(x)`, to nearest, ties to even.
//!
//! Gradient: `dx = round(dy)` in x's type. What stands between parameters in f32 and activations in bf16.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{
    Backward, Cost, DType, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, Work,
};

pub(crate) use reference::rounded;

const NAME: &str = "cast";

#[derive(Debug)]
struct Cast {
    to: DType,
}

/// Records `x` in the float type `to`; `x` itself where it has that type already.
///
/// # Errors
/// One of the two is no float.
pub fn cast(tape: &mut Tape, x: Value, to: DType) -> Result<Value> {
    if tape.spec(x)?.dtype == to { Ok(x) } else { tape.record(Cast { to }, &[x]) }
}

impl Op for Cast {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        match inputs {
            [x] if x.dtype.is_float() && self.to.is_float() => Ok(Spec { dtype: self.to, ..*x }),
            _ => Err(Error::new(NAME, "takes one input, from a float type to a float type")
                .with("inputs", format!("{inputs:?}"))
                .with("to", self.to)),
        }
    }

    fn differentiable(&self, _inputs: &[Spec]) -> Inputs {
        Inputs::first(1)
    }

    fn keeps(&self, _inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        Ok(Keeps::default())
    }

    fn scratch(&self, _inputs: &[Spec], _wanted: Inputs, _target: Target) -> Scratch {
        Scratch::default()
    }

    fn cost(&self, inputs: &[Spec], wanted: Inputs) -> Cost {
        let bytes = inputs.first().map_or(0, |x| x.bytes() + x.elements() * self.to.size());
        let backward = if wanted.has(0) { Work::new(0, bytes) } else { Work::default() };
        Cost { forward: Work::new(0, bytes), backward }
    }

    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => cpu::forward(io),
            Exec::Cuda(exec) => cuda::forward(exec, &io),
            Exec::Wgpu(_) => Err(wgpu::refusal()),
        }
    }

    fn backward(&self, exec: &mut Exec, io: Backward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => cpu::backward(io),
            Exec::Cuda(exec) => cuda::backward(exec, &io),
            Exec::Wgpu(_) => Err(wgpu::refusal()),
        }
    }
}
