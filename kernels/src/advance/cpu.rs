//! One word each.

use engine::{BufMut, DType, Real, Result, UpdateIo, real};

use super::NAME;

pub(super) fn run(io: UpdateIo) -> Result<()> {
    for counter in io.state {
        let dtype = counter.spec().dtype;
        if dtype == DType::U32 {
            match counter.host::<u32>()? {
                [count] | [_, _, count, _] => *count = count.wrapping_add(1),
                _ => {}
            }
        } else {
            real!(dtype, NAME, T => increment::<T>(counter))?;
        }
    }
    Ok(())
}

fn increment<T: Real>(counter: &mut BufMut) -> Result<()> {
    if let Some(count) = counter.host::<T>()?.first_mut() {
        *count += T::ONE;
    }
    Ok(())
}
