//! A sample per task.

use engine::{Backward, Error, Forward, Result};

use super::{MarkKey, NAME};
use crate::common::grad::{put_all, put_zeros};
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};

pub(super) fn forward<T: Float>(op: &MarkKey, mut io: Forward) -> Result<()> {
    let dims = op.dims(&io.output.spec())?;
    let (qkv, keys) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<i32>()?);
    let token = |key: i32| usize::try_from(key).unwrap_or(usize::MAX);
    if let Some((sample, key)) = keys.iter().enumerate().find(|&(_, &key)| token(key) >= dims.n) {
        return Err(Error::new(NAME, "a key names no token")
            .with("key", key)
            .with("sample", sample)
            .with("tokens", dims.n)
            .help("keys lie in 0..tokens"));
    }
    let sample_len = dims.n * 3 * dims.w;
    for_each_block(blocks(io.output.host::<T>()?, sample_len), |sample, y| {
        let rows = y.chunks_exact_mut(3 * dims.w).zip(qkv[sample * sample_len..].chunks_exact(3 * dims.w));
        for (at, (y, qkv)) in rows.enumerate() {
            let (y, v) = y.split_at_mut(2 * dims.w);
            y.copy_from_slice(&qkv[..2 * dims.w]);
            v.fill(T::ZERO);
            if at == token(keys[sample]) {
                v.iter_mut().step_by(dims.d).for_each(|v| *v = T::ONE);
            }
        }
    });
    Ok(())
}

pub(super) fn backward<T: Float>(op: &MarkKey, io: Backward) -> Result<()> {
    let Some(Some(dx)) = io.d_inputs.first_mut() else { return Ok(()) };
    let (dims, mode) = (op.dims(&io.d_output.spec())?, dx.mode);
    let dy = io.d_output.host::<T>()?;
    let sample_len = dims.n * 3 * dims.w;
    for_each_block(blocks(dx.buf.host::<T>()?, sample_len), |sample, dx| {
        let rows = dx.chunks_exact_mut(3 * dims.w).zip(dy[sample * sample_len..].chunks_exact(3 * dims.w));
        for (dx, dy) in rows {
            let (dx, dv) = dx.split_at_mut(2 * dims.w);
            put_all(mode, dx, dy);
            put_zeros(mode, dv);
        }
    });
    Ok(())
}
