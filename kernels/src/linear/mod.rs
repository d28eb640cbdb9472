//! Linear layer with a fused activation: `y = act(x W' + b)`.
//!
//! `x` [.., k], `W` [n, k] as PyTorch stores it, `b` `[n]`, `y` [.., n]. With `a = x W' + b` and `da = dy * act'(a)`:
//! `dx = da W`, `dW = da' x`, `db = sum over rows of da`. GELU is `a * Phi(a)` with the exact normal distribution function
//! (erf), as timm's; ReLU's gradient at 0 is 0.
//!
//! Kept for backward: `x` for dW, `W` for dx, and the slope `act'(a)` where there is an activation: forward has
//! it at hand. `dy act'(a)` is made where dy is: the product that gives dx multiplies by the slope of the layer before.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{
    Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, Work, real,
};

pub use crate::activation::Activation;

const NAME: &str = "linear";

#[derive(Debug)]
pub(crate) struct Linear {
    activation: Option<Activation>,
}

/// Records `act(x W' + b)`: `x` [.., k], `weight` [n, k], `bias` `[n]` -> [.., n].
///
/// # Errors
/// Inner widths or dtypes differ.
pub fn linear(
    tape: &mut Tape,
    x: Value,
    weight: Value,
    bias: Option<Value>,
    activation: Option<Activation>,
) -> Result<Value> {
    let mut inputs = vec![x, weight];
    inputs.extend(bias);
    tape.record(Linear { activation }, &inputs)
}

/// Rows, output width and inner width of a linear layer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sizes {
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

impl Sizes {
    pub fn of(inputs: &[Spec]) -> Self {
        match inputs {
            [x, weight, ..] => Self { m: x.shape.rows(), n: weight.shape.rows(), k: x.shape.last() },
            _ => Self::default(),
        }
    }
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        let [x, weight, ..] = inputs else {
            return Err(Error::new(NAME, "takes two or three inputs").with("inputs", inputs.len()));
        };
        let mut error = Error::new(NAME, "the shapes do not fit").with("x", x).with("weight", weight);
        let mut fits = x.dtype.is_float() && x.dtype == weight.dtype && x.shape.rank() >= 1;
        fits &= weight.shape.rank() == 2 && weight.shape.last() == x.shape.last();
        if let Some(bias) = inputs.get(2) {
            error = error.with("bias", bias);
            fits &= bias.dims() == [weight.shape.rows()] && bias.dtype == x.dtype;
        }
        if !fits {
            return Err(error.help("x is [.., k], weight [n, k], bias [n], all of one float type"));
        }
        Ok(Spec { shape: x.shape.with_last(weight.shape.rows())?, dtype: x.dtype })
    }

    fn differentiable(&self, inputs: &[Spec]) -> Inputs {
        Inputs::first(inputs.len())
    }

    fn keeps(&self, inputs: &[Spec], wanted: Inputs) -> Result<Keeps> {
        let extras = if self.activation.is_some() { vec![self.output(inputs)?] } else { Vec::new() };
        let kept = Inputs::NONE.and_if(wanted.has(1), 0).and_if(wanted.has(0), 1);
        Ok(Keeps { inputs: kept, slope: !extras.is_empty(), extras, multiplies: Inputs::of(&[0]), ..Keeps::default() })
    }

    fn scratch(&self, inputs: &[Spec], wanted: Inputs, target: Target) -> Scratch {
        match target {
            Target::Cpu { workers } => cpu::scratch(inputs, wanted, workers),
            Target::Cuda(caps) => cuda::scratch(inputs, wanted, caps),
            Target::Wgpu(caps) => wgpu::scratch(inputs, wanted, caps),
        }
    }

    fn cost(&self, inputs: &[Spec], wanted: Inputs) -> Cost {
        let Sizes { m, n, k } = Sizes::of(inputs);
        let size = inputs.first().map_or(4, |x| x.dtype.size());
        let product = 2 * m * n * k;
        let gradients = usize::from(wanted.has(0)) + usize::from(wanted.has(1));
        let bytes = (m * k + n * k + m * n) * size;
        Cost { forward: Work::new(product, bytes), backward: Work::new(gradients * product, gradients * bytes) }
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
            Exec::Cpu(_) => real!(io.d_output.spec().dtype, NAME, T => cpu::backward::<T>(io)),
            Exec::Cuda(exec) => cuda::backward(exec, &io),
            Exec::Wgpu(exec) => wgpu::backward(exec, &io),
        }
    }
}
