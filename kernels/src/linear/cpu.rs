//! One packed product per pass; activation, bias and their gradients ride along in its prologue and epilogue.

use engine::{Backward, Forward, Inputs, Mode, Result, Scratch, Spec};

use super::{Linear, Sizes};
use crate::common::gemm::{Epilogue, Gemm, Mat, MatMut, gemm, gemm_scratch};
use crate::common::math::Float;

pub(super) fn scratch(inputs: &[Spec], wanted: Inputs, workers: usize) -> Scratch {
    let Sizes { m, n, k } = Sizes::of(inputs);
    let size = inputs.first().map_or(4, |x| x.dtype.size());
    let elements =
        |m, n, k| if size == 8 { gemm_scratch::<f64>(m, n, k, workers) } else { gemm_scratch::<f32>(m, n, k, workers) };
    let dx = if wanted.has(0) { elements(m, k, n) } else { 0 };
    let dw = if wanted.has(1) { elements(n, k, m) } else { 0 };
    Scratch { forward: size * elements(m, n, k), backward: size * dx.max(dw) }
}

pub(super) fn forward<T: Float>(op: &Linear, mut io: Forward) -> Result<()> {
    let (x, weight) = (io.inputs[0], io.inputs[1]);
    let Sizes { m, n, k } = Sizes::of(&[x.spec(), weight.spec()]);
    let bias = io.inputs.get(2).map(|bias| bias.host::<T>()).transpose()?;
    let derivative = match io.extras.first_mut() {
        Some(extra) => Some(MatMut::rows(extra.host::<T>()?, n)),
        None => None,
    };
    let (a, b) = (Mat::rows(x.host::<T>()?, k), Mat::rows(weight.host::<T>()?, k).transposed());
    let epilogue = Epilogue { bias, activation: op.activation, derivative, ..Epilogue::default() };
    let c = MatMut::rows(io.output.host::<T>()?, n);
    gemm(Gemm { epilogue, ..Gemm::new(m, n, k, a, b, c) }, io.scratch.scratch())
}

pub(super) fn backward<T: Float>(mut io: Backward) -> Result<()> {
    let (x, weight) = (io.inputs[0], io.inputs[1]);
    let Sizes { m, n, k } = Sizes::of(&[x.spec(), weight.spec()]);
    let dy = io.d_output.host::<T>()?;
    let (d_x, rest) = io.d_inputs.split_at_mut(1);
    let (d_weight, d_bias) = rest.split_at_mut(1);
    if let Some(Some(grad)) = d_x.first_mut() {
        let accumulate = grad.mode == Mode::Add;
        let factor = grad.times.map(|times| Ok(Mat::rows(times.host::<T>()?, k))).transpose()?;
        let c = MatMut::rows(grad.buf.host::<T>()?, k);
        let product = Gemm::new(m, k, n, Mat::rows(dy, n), Mat::rows(weight.host::<T>()?, k), c);
        let epilogue = Epilogue { factor, ..Epilogue::default() };
        gemm(Gemm { accumulate, epilogue, ..product }, io.scratch.scratch())?;
    }
    let mut d_bias = d_bias.first_mut().and_then(Option::as_mut);
    if let Some(Some(grad)) = d_weight.first_mut() {
        let accumulate = grad.mode == Mode::Add;
        let (accumulate_sums, a_row_sums) = match d_bias.take() {
            Some(bias) => (bias.mode == Mode::Add, Some(bias.buf.host::<T>()?)),
            None => (false, None),
        };
        let c = MatMut::rows(grad.buf.host::<T>()?, k);
        let product = Gemm::new(n, k, m, Mat::rows(dy, n).transposed(), Mat::rows(x.host::<T>()?, k), c);
        gemm(Gemm { accumulate, a_row_sums, accumulate_sums, ..product }, io.scratch.scratch())?;
    }
    if let Some(bias) = d_bias {
        let mode = bias.mode;
        column_sums(dy, mode, bias.buf.host::<T>()?);
    }
    Ok(())
}

/// The bias gradient alone, where nobody wants the weight's.
fn column_sums<T: Float>(dy: &[T], mode: Mode, sums: &mut [T]) {
    if mode == Mode::Write {
        sums.fill(T::ZERO);
    }
    for row in dy.chunks_exact(sums.len().max(1)) {
        for (sum, &dy) in sums.iter_mut().zip(row) {
            *sum += dy;
        }
    }
}
