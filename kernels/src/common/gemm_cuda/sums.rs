//! Sums over rows, and of the parts of a divided product.

use engine::device::cuda::{CudaExec, Grid, Kernel, Param};
use engine::device::source::Source;
use engine::{DType, Result};

use crate::common::cuda::source;

static SUMS: Source = source("kernels/src/common/gemm_cuda/sums.cu", include_str!("sums.cu"));

/// `sums` `[rows, width]`, in order, into a total that may be added to.
pub(super) fn add_up(
    exec: &mut CudaExec,
    storage: DType,
    [rows, width]: [usize; 2],
    sums: Param,
    (total, add): (Param, bool),
) -> Result<()> {
    let params = [sums, total, rows.into(), width.into(), add.into()];
    exec.launch(Kernel::new(&SUMS, "total", storage), Grid::each(width), &params)
}

/// Sums over the rows of a matrix: the gradient of a bias.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColumnSums {
    /// How tensors are stored.
    pub storage: DType,
    pub rows: usize,
    pub width: usize,
    pub x: Param,
    pub sums: Param,
    /// Add to the sums.
    pub add: bool,
    /// Of [`ColumnSums::scratch`] bytes.
    pub scratch: Param,
}

impl ColumnSums {
    /// Rows that are summed at a time: about as many as there are parts.
    fn block(rows: usize) -> usize {
        rows.isqrt().next_multiple_of(64).max(64)
    }

    /// Bytes of working memory.
    pub fn scratch(rows: usize, width: usize) -> usize {
        rows.div_ceil(Self::block(rows)) * width * size_of::<f32>()
    }

    /// Launches them.
    ///
    /// # Errors
    /// The kernel does not compile.
    pub fn launch(&self, exec: &mut CudaExec) -> Result<()> {
        let Self { storage, rows, width, .. } = *self;
        let block = Self::block(rows);
        let parts = rows.div_ceil(block);
        let params = [self.x, self.scratch, rows.into(), width.into(), block.into()];
        let grid = Grid::new(width.div_ceil(32), 256).times(parts);
        exec.launch(Kernel::new(&SUMS, "part", storage), grid, &params)?;
        add_up(exec, storage, [parts, width], self.scratch, (self.sums, self.add))
    }
}
