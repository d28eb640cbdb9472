//! Launches on wgpu.

use std::cell::Cell;
use std::ops::Range;

use engine::device::source::Source;
use engine::device::webgpu::{AdapterKind, Caps};
use engine::{Arg, Backward, Buf, Forward, Kernel, Result, Spec, WgpuExec};

use super::rows_per_sum;
use crate::common::gpu::{grad_rows, grad_whole, source, word};

static FORWARD: Source = source("kernels/src/layer_norm/forward.wgsl", include_str!("forward.wgsl"));
static BACKWARD: Source = source("kernels/src/layer_norm/backward.wgsl", include_str!("backward.wgsl"));
static SHUFFLED_FORWARD: Source =
    source("kernels/src/layer_norm/forward.subgroup.wgsl", include_str!("forward.subgroup.wgsl"));
static SHUFFLED_BACKWARD: Source =
    source("kernels/src/layer_norm/backward.subgroup.wgsl", include_str!("backward.subgroup.wgsl"));

/// How rows of a width are gone over on an adapter.
struct Mapping {
    width: usize,
    /// Parts of a row: four elements each, or one.
    parts: usize,
    /// Lanes that share a row.
    lanes: usize,
    /// Sums over them by shuffles: on software, where a barrier costs more than a row.
    shuffled: bool,
}

impl Mapping {
    fn new(caps: Caps, width: usize) -> Self {
        let software = caps.kind == AdapterKind::Software;
        if software && width.is_multiple_of(4) && caps.subgroup.is_some_and(|size| size >= 8) {
            return Self { width, parts: width / 4, lanes: 8, shuffled: true };
        }
        let lanes = if software { 1 } else { width.next_power_of_two().min(64) };
        Self { width, parts: width, lanes, shuffled: false }
    }

    fn forward(&self) -> Kernel {
        if self.shuffled { Kernel::new(&SHUFFLED_FORWARD, "main") } else { self.told(Kernel::new(&FORWARD, "main")) }
    }

    fn backward(&self, entry: &'static str) -> Kernel {
        Kernel::new(if self.shuffled { &SHUFFLED_BACKWARD } else { &BACKWARD }, entry)
    }

    /// A kernel that must be told how many lanes share a row.
    fn told(&self, kernel: Kernel) -> Kernel {
        if self.shuffled { kernel } else { kernel.with("LANES", word(self.lanes)) }
    }

    /// Workgroups that go over so many rows.
    fn groups(&self, rows: usize) -> usize {
        rows.div_ceil(64 / self.lanes)
    }

    /// Parameters of backward's kernels for `rows` rows; the others tell of blocks of rows and their sums.
    fn params(&self, rows: usize, [block, blocks, first, which]: [usize; 4]) -> [u32; 7] {
        [rows, self.parts, self.width, block, blocks, first, which].map(word)
    }
}

/// Bytes for the sums of blocks: blocks end with a part, where the adapter's limit divides the rows, and a part has more than
/// half of what fits.
pub(super) fn scratch(x: Spec, caps: Caps) -> usize {
    let limit = usize::try_from(caps.max_binding).unwrap_or(usize::MAX);
    let parts = if x.bytes() > limit { x.bytes() / (limit / 2).max(1) } else { 0 };
    let rows = x.shape.rows();
    (rows.div_ceil(rows_per_sum(rows)) + parts) * 2 * x.shape.last() * x.dtype.size()
}

pub(super) fn forward(eps: f32, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let spec = io.output.spec();
    let mapping = Mapping::new(exec.caps(), spec.shape.last());
    let [x, weight, bias] = [io.inputs[0].rows()?, io.inputs[1].whole()?, io.inputs[2].whole()?];
    let mean = Arg::or_nothing(io.extras.first().map(|mean| mean.rows()))?;
    let rstd = Arg::or_nothing(io.extras.get(1).map(|rstd| rstd.rows()))?;
    let kernel = mapping.forward().when("KEEP", io.extras.len() == 2);
    let params = |part: Range<usize>| [word(part.len()), word(mapping.parts), word(mapping.width), eps.to_bits()];
    let args = [x, weight, bias, io.output.rows()?, mean, rstd];
    exec.launch_rows(&kernel, spec.shape.rows(), &args, |rows| mapping.groups(rows), params)
}

pub(super) fn backward(exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let spec = io.d_output.spec();
    let (rows, mapping) = (spec.shape.rows(), Mapping::new(exec.caps(), spec.shape.last()));
    let [d_x, d_weight, d_bias] = &*io.d_inputs else { return Ok(()) };
    if let Some((dx, add)) = grad_rows(d_x.as_ref())? {
        let kernel = mapping.told(mapping.backward("rows")).when("ADD", add);
        let [mean, rstd] = [io.extras[0].rows()?, io.extras[1].rows()?];
        let args = [io.d_output.rows()?, io.inputs[0].rows()?, mean, rstd, io.inputs[1].whole()?, dx];
        let params = |part: Range<usize>| mapping.params(part.len(), [0; 4]);
        exec.launch_rows(&kernel, rows, &args, |rows| mapping.groups(rows), params)?;
    }
    if d_weight.is_none() && d_bias.is_none() {
        return Ok(());
    }
    let blocks = block_sums(exec, io, &mapping, d_weight.is_some())?;
    for (which, grad) in [d_weight, d_bias].into_iter().enumerate() {
        if let Some((gradient, add)) = grad_whole(grad.as_ref())? {
            let kernel = mapping.backward("total").when("ADD", add);
            let args = [io.scratch.whole()?, gradient];
            exec.launch(&kernel, &mapping.params(rows, [0, blocks, 0, which]), &args, mapping.parts.div_ceil(64))?;
        }
    }
    Ok(())
}

/// Sums over blocks of rows for the gradients of weight and bias; for the bias alone nothing but dy is read. Returns how many
/// blocks there are.
fn block_sums(exec: &mut WgpuExec, io: &Backward, mapping: &Mapping, weight: bool) -> Result<usize> {
    let rows = io.d_output.spec().shape.rows();
    let kernel = mapping.backward("blocks").when("WEIGHT", weight);
    let of_weight = |buf: &Buf| if weight { buf.rows() } else { Ok(Arg::Nothing) };
    let statistics = |at: usize| io.extras.get(at).map_or(Ok(Arg::Nothing), of_weight);
    let args = [io.d_output.rows()?, of_weight(&io.inputs[0])?, statistics(0)?, statistics(1)?, io.scratch.whole()?];
    let (block, done) = (rows_per_sum(rows), Cell::new(0));
    let params = |part: Range<usize>| {
        let blocks = part.len().div_ceil(block);
        mapping.params(part.len(), [block, blocks, done.replace(done.get() + blocks), 0])
    };
    exec.launch_rows(&kernel, rows, &args, |rows| (rows.div_ceil(block) * mapping.parts).div_ceil(64), params)?;
    Ok(done.get())
}
