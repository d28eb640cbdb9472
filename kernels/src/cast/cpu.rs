//! On the processor, in every pair of float types: bf16 is storage of other backends, so this is for tests and files.

use engine::{Backward, Buf, BufMut, DType, Element, Error, Forward, Mode, Real, Result};
use half::bf16;

use super::NAME;

/// A float that can be cast.
trait Float: Element {
    fn wide(self) -> f64;
    fn narrow(value: f64) -> Self;
}

impl Float for bf16 {
    fn wide(self) -> f64 {
        self.to_f64()
    }
    fn narrow(value: f64) -> Self {
        Self::from_f64(value)
    }
}

impl Float for f32 {
    fn wide(self) -> f64 {
        Real::to_f64(self)
    }
    fn narrow(value: f64) -> Self {
        Self::from_f64(value)
    }
}

impl Float for f64 {
    fn wide(self) -> f64 {
        self
    }
    fn narrow(value: f64) -> Self {
        value
    }
}

pub(super) fn forward(mut io: Forward) -> Result<()> {
    convert(&io.inputs[0], &mut io.output, Mode::Write)
}

pub(super) fn backward(io: Backward) -> Result<()> {
    match io.d_inputs.first_mut().and_then(Option::as_mut) {
        Some(grad) => convert(&io.d_output, &mut grad.buf, grad.mode),
        None => Ok(()),
    }
}

fn convert(from: &Buf, to: &mut BufMut, mode: Mode) -> Result<()> {
    match from.spec().dtype {
        DType::F32 => convert_from::<f32>(from, to, mode),
        DType::F64 => convert_from::<f64>(from, to, mode),
        DType::Bf16 => convert_from::<bf16>(from, to, mode),
        other => Err(Error::new(NAME, "no float that can be cast").with("from", other)),
    }
}

fn convert_from<T: Float>(from: &Buf, to: &mut BufMut, mode: Mode) -> Result<()> {
    match to.spec().dtype {
        DType::F32 => loop_over::<T, f32>(from, to, mode),
        DType::F64 => loop_over::<T, f64>(from, to, mode),
        DType::Bf16 => loop_over::<T, bf16>(from, to, mode),
        other => Err(Error::new(NAME, "no float that can be cast to").with("to", other)),
    }
}

fn loop_over<T: Float, U: Float>(from: &Buf, to: &mut BufMut, mode: Mode) -> Result<()> {
    for (to, from) in to.host::<U>()?.iter_mut().zip(from.host::<T>()?) {
        *to = match mode {
            Mode::Write => U::narrow(from.wide()),
            Mode::Add => U::narrow(to.wide() + from.wide()),
        };
    }
    Ok(())
}
