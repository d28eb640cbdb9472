//! Fast loops.

use engine::{Backward, Forward, Mode, Real, Result};

pub(super) fn forward<T: Real>(mut io: Forward) -> Result<()> {
    let (x, branch) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?);
    let gamma = io.inputs.get(2).map(|gamma| gamma.host::<T>()).transpose()?;
    let y = io.output.host::<T>()?;
    match gamma {
        None => {
            for ((y, &x), &f) in y.iter_mut().zip(x).zip(branch) {
                *y = x + f;
            }
        }
        Some(gamma) => {
            let width = gamma.len();
            for ((y, x), f) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(branch.chunks_exact(width)) {
                for ((y, &x), (&f, &g)) in y.iter_mut().zip(x).zip(f.iter().zip(gamma)) {
                    *y = x + g * f;
                }
            }
        }
    }
    Ok(())
}

pub(super) fn backward<T: Real>(io: Backward) -> Result<()> {
    let dy = io.d_output.host::<T>()?;
    let width = io.d_output.spec().shape.last();
    let (branch, gamma) = (io.inputs[1], io.inputs[2]);
    if let Some(Some(grad)) = io.d_inputs.get_mut(1) {
        let gamma = gamma.host::<T>()?;
        let mode = grad.mode;
        for (d, dy) in grad.buf.host::<T>()?.chunks_exact_mut(width).zip(dy.chunks_exact(width)) {
            for ((d, &dy), &g) in d.iter_mut().zip(dy).zip(gamma) {
                *d = if mode == Mode::Add { *d + g * dy } else { g * dy };
            }
        }
    }
    if let Some(Some(grad)) = io.d_inputs.get_mut(2) {
        let branch = branch.host::<T>()?;
        let d_gamma = grad.buf.host::<T>()?;
        if grad.mode == Mode::Write {
            d_gamma.fill(T::ZERO);
        }
        for (dy, f) in dy.chunks_exact(width).zip(branch.chunks_exact(width)) {
            for ((d, &dy), &f) in d_gamma.iter_mut().zip(dy).zip(f) {
                *d += dy * f;
            }
        }
    }
    Ok(())
}
