//! Residual connection with optional LayerScale: `y = x + gamma * f`.
//!
//! Gradient: `dx = dy`, `df = gamma * dy`, `dgamma[c] = sum over rows of dy[r, c] * f[r, c]`.
//! Without LayerScale both gradients are the output's own: the planner shares the buffer and nothing runs.
//! LayerScale: Touvron et al., "Going deeper with Image Transformers" (2103.17239), eq. 4.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{
    Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, Work, real,
};

const NAME: &str = "residual";

#[derive(Debug)]
struct Residual {
    scaled: bool,
}

/// Records `x + gamma * branch`; `x` and `branch` have one shape, `gamma` that of a row. Without `gamma`, `x + branch`.
///
/// # Errors
/// Shapes or dtypes differ.
pub fn residual(tape: &mut Tape, x: Value, branch: Value, gamma: Option<Value>) -> Result<Value> {
    let mut inputs = vec![x, branch];
    inputs.extend(gamma);
    tape.record(Residual { scaled: gamma.is_some() }, &inputs)
}

impl Op for Residual {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        let [x, branch, ..] = inputs else {
            return Err(Error::new(NAME, "takes two or three inputs").with("inputs", inputs.len()));
        };
        let mut error = Error::new(NAME, "the shapes do not fit").with("x", x).with("branch", branch);
        let mut fits = x == branch && x.dtype.is_float();
        if let Some(gamma) = inputs.get(2) {
            error = error.with("gamma", gamma);
            fits &= gamma.dims() == [x.shape.last()] && gamma.dtype == x.dtype;
        }
        if fits { Ok(*x) } else { Err(error.help("x and branch are alike, gamma is one row")) }
    }

    fn differentiable(&self, inputs: &[Spec]) -> Inputs {
        Inputs::first(inputs.len())
    }

    fn keeps(&self, _inputs: &[Spec], wanted: Inputs) -> Result<Keeps> {
        let passes = if self.scaled { Inputs::of(&[0]) } else { Inputs::of(&[0, 1]) };
        let inputs = Inputs::NONE.and_if(self.scaled && wanted.has(2), 1).and_if(self.scaled && wanted.has(1), 2);
        Ok(Keeps { inputs, passes, ..Keeps::default() })
    }

    fn scratch(&self, _inputs: &[Spec], _wanted: Inputs, _target: Target) -> Scratch {
        Scratch::default()
    }

    fn cost(&self, inputs: &[Spec], wanted: Inputs) -> Cost {
        let (count, bytes) = inputs.first().map_or((0, 0), |x| (x.elements(), x.bytes()));
        let per_element = if self.scaled { 2 } else { 1 };
        let gradients = usize::from(wanted.has(1)) + usize::from(wanted.has(2));
        Cost {
            forward: Work::new(per_element * count, 3 * bytes),
            backward: if self.scaled {
                Work::new(gradients * 2 * count, (1 + gradients) * bytes)
            } else {
                Work::default()
            },
        }
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
