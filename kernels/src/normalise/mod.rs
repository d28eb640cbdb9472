//! Per-channel normalisation of images: `y[b, c, i] = (x[b, c, i] - mean[c]) / std[c]`.
//!
//! Gradient: `dx = dy / std[c]`. It lies inside the model, so that attacks work on pixels in [0, 1].

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{
    Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, Work, real,
};

use crate::common::specs;

const NAME: &str = "normalise";

#[derive(Debug)]
struct Normalise {
    mean: Vec<f32>,
    std: Vec<f32>,
}

/// Records `(x - mean) / std` per channel of images `[b, c, h, w]`; mean and standard deviation in the images' own units.
///
/// # Errors
/// `x` has not four dimensions or not as many channels as there are means and deviations; a mean is not finite or a
/// deviation not positive.
pub fn normalise(tape: &mut Tape, x: Value, mean: &[f32], std: &[f32]) -> Result<Value> {
    tape.record(Normalise { mean: mean.to_vec(), std: std.to_vec() }, &[x])
}

impl Op for Normalise {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        let [x] = specs::take(NAME, inputs)?;
        specs::float(NAME, "x", x)?;
        let [_, channels, _, _] = x.array(NAME, "x")?;
        let error = |problem: &str| {
            Error::new(NAME, problem)
                .with("x", x)
                .with("mean", format!("{:?}", self.mean))
                .with("std", format!("{:?}", self.std))
        };
        if self.mean.len() != channels || self.std.len() != channels {
            return Err(error("x is [b, c, h, w] and needs one mean and one standard deviation per channel"));
        }
        if self.mean.iter().any(|mean| !mean.is_finite()) || self.std.iter().any(|&std| !std.is_finite() || std <= 0.0)
        {
            return Err(error("means must be finite and standard deviations positive"));
        }
        Ok(x)
    }

    fn differentiable(&self, _inputs: &[Spec]) -> Inputs {
        Inputs::of(&[0])
    }

    fn keeps(&self, _inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        Ok(Keeps::default())
    }

    fn scratch(&self, _inputs: &[Spec], _wanted: Inputs, _target: Target) -> Scratch {
        Scratch::default()
    }

    fn cost(&self, inputs: &[Spec], _wanted: Inputs) -> Cost {
        let (count, bytes) = specs::size(inputs, 0);
        Cost { forward: Work::new(2 * count, 2 * bytes), backward: Work::new(count, 2 * bytes) }
    }

    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.output.spec().dtype, NAME, T => cpu::forward::<T>(self, io)),
            Exec::Cuda(exec) => cuda::forward(self, exec, &io),
            Exec::Wgpu(exec) => wgpu::forward(self, exec, &io),
        }
    }

    fn backward(&self, exec: &mut Exec, io: Backward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.d_output.spec().dtype, NAME, T => cpu::backward::<T>(self, io)),
            Exec::Cuda(exec) => cuda::backward(self, exec, &io),
            Exec::Wgpu(exec) => wgpu::backward(self, exec, &io),
        }
    }
}
