//! A patch over an image: `y = patch where mask != 0, else image`, element by element.
//!
//! Selected, not blended: outside of the mask the image keeps its bits. Gradients: dy where the input was taken, else 0.
//! For attacks on patches (Patch-Fool, Fu et al., 2203.08392, equation 2: `x (1 - M) + delta M`).

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Backward, Cost, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, real};

use crate::common::specs::{misfit, streaming_cost};

const NAME: &str = "paste";

#[derive(Debug)]
struct Paste;

/// Records `patch` over `image` where `mask` is not 0: all [b, ...] of one spec.
///
/// # Errors
/// Shapes differ.
pub fn paste(tape: &mut Tape, image: Value, patch: Value, mask: Value) -> Result<Value> {
    tape.record(Paste, &[image, patch, mask])
}

impl Op for Paste {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        match inputs {
            [image, patch, mask] if image.dtype.is_real() && image == patch && image == mask => Ok(*image),
            _ => Err(misfit(NAME, &["image", "patch", "mask"], inputs, "all three have one shape and one float type")),
        }
    }

    fn differentiable(&self, _inputs: &[Spec]) -> Inputs {
        Inputs::of(&[0, 1])
    }

    fn keeps(&self, _inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        Ok(Keeps { inputs: Inputs::of(&[2]), ..Keeps::default() })
    }

    fn scratch(&self, _inputs: &[Spec], _wanted: Inputs, _target: Target) -> Scratch {
        Scratch::default()
    }

    fn cost(&self, inputs: &[Spec], wanted: Inputs) -> Cost {
        streaming_cost(inputs, wanted, 0, 0)
    }

    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.output.spec().dtype, NAME, T => cpu::forward::<T>(io)),
            Exec::Cuda(exec) => cuda::forward(exec, &io),
            Exec::Wgpu(exec) => wgpu::forward(exec, &io),
        }
    }

    fn backward(&self, exec: &mut Exec, io: Backward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.d_output.spec().dtype, NAME, T => cpu::backward::<T>(io)),
            Exec::Cuda(exec) => cuda::backward(exec, &io),
            Exec::Wgpu(exec) => wgpu::backward(exec, &io),
        }
    }
}
