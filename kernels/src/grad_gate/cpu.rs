//! Fast loops over blocks of elements.

use engine::rng::Stream;
use engine::{Backward, Buf, DType, Forward, Mode, Result};

use crate::common::grad::{put_all, put_zeros};
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block, rows_per_block};
use crate::common::random;

pub(super) fn forward<T: Float>(mut io: Forward) -> Result<()> {
    pass::<T>(io.inputs[0].host()?, Mode::Write, io.output.host()?);
    Ok(())
}

pub(super) fn backward<T: Float>(stream: Stream, io: Backward) -> Result<()> {
    let Some(Some(dx)) = io.d_inputs.first_mut() else { return Ok(()) };
    let uniform = random::philox(io.inputs[1], stream)?.uniform(0, 0);
    if f64::from(uniform) <= scalar(io.inputs[2])? {
        pass::<T>(io.d_output.host()?, dx.mode, dx.buf.host()?);
    } else {
        put_zeros::<T>(dx.mode, dx.buf.host()?);
    }
    Ok(())
}

/// A probability is f32 beside values of either type.
fn scalar(buf: Buf) -> Result<f64> {
    Ok(if buf.spec().dtype == DType::F64 { buf.host::<f64>()?[0] } else { f64::from(buf.host::<f32>()?[0]) })
}

fn pass<T: Float>(x: &[T], mode: Mode, y: &mut [T]) {
    let block = rows_per_block(1);
    for_each_block(blocks(y, block), |index, y| put_all(mode, y, &x[index * block..][..y.len()]));
}
