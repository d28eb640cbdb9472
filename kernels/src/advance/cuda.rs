//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Grid, Kernel};
use engine::device::source::Source;
use engine::{DType, Result, UpdateIo};

use crate::common::cuda::source;

static UPDATE: Source = source("kernels/src/advance/update.cu", include_str!("update.cu"));

pub(super) fn run(exec: &mut CudaExec, io: &UpdateIo) -> Result<()> {
    for counter in &*io.state {
        let spec = counter.spec();
        // The step of a random state is its third word.
        let at = if spec.elements() == 1 { 0 } else { 2 };
        let kernel = match spec.dtype {
            DType::U32 => Kernel::new(&UPDATE, "integer", DType::F32),
            storage => Kernel::new(&UPDATE, "number", storage),
        };
        exec.launch(kernel, Grid::new(1, 32), &[counter.address()?.after(at * spec.dtype.size())])?;
    }
    Ok(())
}
