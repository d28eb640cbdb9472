//! Launches on CUDA.

use engine::device::cuda::{Caps, CudaExec, Grid, Kernel, Param};
use engine::device::source::Source;
use engine::{Backward, Buf, Forward, Result, Spec};

use crate::common::cuda::{grad_at, source, warp_per_row};

static FORWARD: Source = source("kernels/src/layer_norm/forward.cu", include_str!("forward.cu"));
static BACKWARD: Source = source("kernels/src/layer_norm/backward.cu", include_str!("backward.cu"));

/// How rows of a width are gone over: the kernels that hold them in the registers of a warp, for dx alone and with sums.
/// `None` where they are too wide.
fn in_registers(width: usize) -> Option<[&'static str; 2]> {
    let quads = width.is_multiple_of(4);
    match width {
        0..=256 if quads => Some(["quads_2", "sums_quads_2"]),
        257..=384 if quads => Some(["quads_3", "sums_quads_3"]),
        385..=768 if quads => Some(["quads_6", "sums_quads_6"]),
        769..=1024 if quads => Some(["quads_8", "sums_quads_8"]),
        0..=256 => Some(["ones_2", "sums_ones_2"]),
        257..=1024 => Some(["ones_8", "sums_ones_8"]),
        _ => None,
    }
}

/// How many partial sums the gradients of weight and bias are added from, and for wide rows how many rows each covers.
struct Sums {
    count: usize,
    rows: usize,
}

impl Sums {
    /// As many as keep the device's processors busy at once.
    fn new(rows: usize, width: usize, caps: Caps) -> Self {
        let processors = usize::try_from(caps.processors).unwrap_or(1).max(1);
        if in_registers(width).is_some() {
            // Blocks of eight warps; a processor holds the registers of so many.
            let blocks = processors * if width <= 384 { 3 } else { 1 };
            return Self { count: rows.div_ceil(8).min(blocks), rows: 0 };
        }
        let most = (16 * processors).div_ceil(width.div_ceil(32));
        let each = rows.div_ceil(most).max(32);
        Self { count: rows.div_ceil(each), rows: each }
    }
}

/// Bytes for partial sums.
pub(super) fn scratch(x: Spec, caps: Caps) -> usize {
    let width = x.shape.last();
    Sums::new(x.shape.rows(), width, caps).count * 2 * width * size_of::<f32>()
}

pub(super) fn forward(eps: f32, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let spec = io.output.spec();
    let (rows, width) = (spec.shape.rows(), spec.shape.last());
    let [x, weight, bias] = [io.inputs[0].address()?, io.inputs[1].address()?, io.inputs[2].address()?];
    let mean = Param::or_null(io.extras.first().map(|mean| mean.address()))?;
    let rstd = Param::or_null(io.extras.get(1).map(|rstd| rstd.address()))?;
    let params = [x, weight, bias, io.output.address()?, mean, rstd, rows.into(), width.into(), eps.into()];
    let (entry, grid) = match in_registers(width) {
        Some([entry, _]) => (entry, warp_per_row(rows)),
        None => ("wide", Grid::new(rows, 256)),
    };
    exec.launch(Kernel::new(&FORWARD, entry, spec.dtype), grid, &params)
}

/// The address of what the launch keeps, else null.
fn kept(buf: Option<&Buf>) -> Result<Param> {
    Param::or_null(buf.filter(|buf| buf.is_kept()).map(Buf::address))
}

/// What all kernels of a backward pass read, in their order: dy, x, mean, rstd.
fn read(io: &Backward) -> Result<[Param; 4]> {
    let [mean, rstd] = [kept(io.extras.first())?, kept(io.extras.get(1))?];
    Ok([io.d_output.address()?, kept(io.inputs.first())?, mean, rstd])
}

pub(super) fn backward(exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let [d_x, d_weight, d_bias] = &*io.d_inputs else { return Ok(()) };
    let spec = io.d_output.spec();
    let (rows, width) = (spec.shape.rows(), spec.shape.last());
    let summed = d_weight.is_some() || d_bias.is_some();
    let sums = Sums::new(rows, width, exec.caps());
    if let Some([alone, with_sums]) = in_registers(width) {
        let (dx, add) = grad_at(d_x.as_ref())?.unwrap_or((Param::NULL, false));
        let [dy, x, mean, rstd] = read(io)?;
        let weight = kept(io.inputs.get(1))?;
        let (entry, grid, partial) = if summed {
            (with_sums, Grid::new(sums.count, 256), io.scratch.address()?)
        } else {
            (alone, warp_per_row(rows), Param::NULL)
        };
        let params = [dy, x, mean, rstd, weight, dx, partial, rows.into(), width.into(), add.into()];
        exec.launch(Kernel::new(&BACKWARD, entry, spec.dtype), grid, &params)?;
    } else {
        wide(exec, io, summed.then_some(&sums))?;
    }
    if !summed {
        return Ok(());
    }
    let (weight, add_weight) = grad_at(d_weight.as_ref())?.unwrap_or((Param::NULL, false));
    let (bias, add_bias) = grad_at(d_bias.as_ref())?.unwrap_or((Param::NULL, false));
    let partial = io.scratch.address()?;
    let params = [partial, weight, bias, sums.count.into(), width.into(), add_weight.into(), add_bias.into()];
    exec.launch(Kernel::new(&BACKWARD, "total", spec.dtype), Grid::new(width.div_ceil(32), 256).times(2), &params)
}

/// dx and partial sums of rows that no warp's registers hold.
fn wide(exec: &mut CudaExec, io: &Backward, sums: Option<&Sums>) -> Result<()> {
    let spec = io.d_output.spec();
    let (rows, width) = (spec.shape.rows(), spec.shape.last());
    let [dy, x, mean, rstd] = read(io)?;
    if let Some((dx, add)) = grad_at(io.d_inputs[0].as_ref())? {
        let params = [dy, x, mean, rstd, io.inputs[1].address()?, dx, width.into(), add.into()];
        exec.launch(Kernel::new(&BACKWARD, "wide", spec.dtype), Grid::new(rows, 256), &params)?;
    }
    let Some(sums) = sums else { return Ok(()) };
    let params = [dy, x, mean, rstd, io.scratch.address()?, rows.into(), width.into(), sums.rows.into()];
    let grid = Grid::new(width.div_ceil(32), 256).times(sums.count);
    exec.launch(Kernel::new(&BACKWARD, "wide_sums", spec.dtype), grid, &params)
}
