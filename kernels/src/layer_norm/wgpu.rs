//! Launches on wgpu. One text per kernel, with two ways to add over a row's lanes (shuffles or workgroup memory) and two
//! widths of what a lane takes at a time.

use std::ops::Range;

use engine::device::source::{Library, Source};
use engine::device::webgpu::{AdapterKind, Caps};
use engine::{Arg, Backward, Buf, Forward, Kernel, Result, WgpuExec};

use super::rows_per_sum;
use crate::common::gpu::{grad_rows, grad_whole, word};

const INDEX: (&str, &str) = ("index.wgsl", include_str!("../common/wgsl/index.wgsl"));
const LANES: (&str, &str) = ("lanes.wgsl", include_str!("lanes.wgsl"));
const SHUFFLED_LANES: (&str, &str) = ("lanes.wgsl", include_str!("lanes.subgroup.wgsl"));
const PART: (&str, &str) = ("part.wgsl", include_str!("part.wgsl"));
const PART4: (&str, &str) = ("part.wgsl", include_str!("part4.wgsl"));

/// The op's kernels, for one way of going over rows.
struct Variant {
    forward: Source,
    backward: Source,
    sums: Source,
}

impl Variant {
    const fn new([forward, backward, sums]: [&'static str; 3], library: Library) -> Self {
        Self {
            forward: Source { file: forward, text: include_str!("forward.wgsl"), library },
            backward: Source { file: backward, text: include_str!("backward.wgsl"), library },
            sums: Source { file: sums, text: include_str!("sums.wgsl"), library },
        }
    }
}

/// Any width.
static SCALAR: Variant = Variant::new(
    ["kernels/src/layer_norm/forward.wgsl", "kernels/src/layer_norm/backward.wgsl", "kernels/src/layer_norm/sums.wgsl"],
    &[INDEX, LANES, PART],
);

/// Widths that are multiples of 4.
static FOURS: Variant = Variant::new(
    [
        "kernels/src/layer_norm/forward.wgsl (fours)",
        "kernels/src/layer_norm/backward.wgsl (fours)",
        "kernels/src/layer_norm/sums.wgsl (fours)",
    ],
    &[INDEX, LANES, PART4],
);

/// The same on software with subgroups of 8 or more, where a barrier costs more than a row.
static SHUFFLED: Variant = Variant::new(
    [
        "kernels/src/layer_norm/forward.wgsl (fours, subgroup)",
        "kernels/src/layer_norm/backward.wgsl (fours, subgroup)",
        "kernels/src/layer_norm/sums.wgsl (fours, subgroup)",
    ],
    &[INDEX, SHUFFLED_LANES, PART4],
);

/// How rows of a width are gone over on an adapter.
struct Mapping {
    variant: &'static Variant,
    /// Parts of a row.
    parts: usize,
    width: usize,
    /// Lanes that share a row.
    lanes: usize,
    /// Whether that is a constant of the kernels.
    shuffled: bool,
}

impl Mapping {
    fn new(caps: Caps, width: usize) -> Self {
        let fours = width.is_multiple_of(4);
        let software = caps.kind == AdapterKind::Software;
        let shuffled = fours && software && caps.subgroup.is_some_and(|size| size >= 8);
        let variant = match (shuffled, fours) {
            (true, _) => &SHUFFLED,
            (false, true) => &FOURS,
            (false, false) => &SCALAR,
        };
        let parts = if fours { width / 4 } else { width };
        let lanes = match (shuffled, software) {
            (true, _) => 8,
            (false, true) => 1,
            (false, false) => parts.next_power_of_two().min(64),
        };
        Self { variant, parts, width, lanes, shuffled }
    }

    /// A kernel that shares rows among lanes.
    fn kernel(&self, source: &'static Source) -> Kernel {
        let kernel = Kernel::new(source, "main");
        if self.shuffled { kernel } else { kernel.with("LANES", word(self.lanes)) }
    }

    /// Workgroups that go over so many rows.
    fn groups(&self, rows: usize) -> usize {
        rows.div_ceil(64 / self.lanes)
    }
}

pub(super) fn forward(eps: f32, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let spec = io.output.spec();
    let mapping = Mapping::new(exec.caps(), spec.shape.last());
    let [x, weight, bias] = [io.inputs[0].rows()?, io.inputs[1].whole()?, io.inputs[2].whole()?];
    let mean = Arg::or_nothing(io.extras.first().map(|mean| mean.rows()))?;
    let rstd = Arg::or_nothing(io.extras.get(1).map(|rstd| rstd.rows()))?;
    let kernel = mapping.kernel(&mapping.variant.forward).when("KEEP", io.extras.len() == 2);
    let params = |part: Range<usize>| [word(part.len()), word(mapping.parts), word(mapping.width), eps.to_bits()];
    let args = [x, weight, bias, io.output.rows()?, mean, rstd];
    exec.launch_rows(&kernel, spec.shape.rows(), &args, |rows| mapping.groups(rows), params)
}

pub(super) fn backward(exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let spec = io.d_output.spec();
    let mapping = Mapping::new(exec.caps(), spec.shape.last());
    let [d_x, d_weight, d_bias] = &*io.d_inputs else { return Ok(()) };
    if let Some((dx, add)) = grad_rows(d_x.as_ref())? {
        let kernel = mapping.kernel(&mapping.variant.backward).when("ADD", add);
        let [mean, rstd] = [io.extras[0].rows()?, io.extras[1].rows()?];
        let args = [io.inputs[0].rows()?, mean, rstd, io.d_output.rows()?, io.inputs[1].whole()?, dx];
        let params = |part: Range<usize>| [word(part.len()), word(mapping.parts), word(mapping.width), 0];
        exec.launch_rows(&kernel, spec.shape.rows(), &args, |rows| mapping.groups(rows), params)?;
    }
    if d_weight.is_some() || d_bias.is_some() {
        sums(exec, io, &mapping, d_weight.is_some())?;
    }
    for (which, grad) in [d_weight, d_bias].into_iter().enumerate() {
        if let Some((gradient, add)) = grad_whole(grad.as_ref())? {
            let kernel = Kernel::new(&mapping.variant.sums, "total").when("ADD", add);
            let params = sums_params(spec.shape.rows(), &mapping, which);
            exec.launch(&kernel, &params, &[io.scratch.whole()?, gradient], mapping.parts.div_ceil(64))?;
        }
    }
    Ok(())
}

/// Sums over blocks of rows for the gradients of weight and bias; for the bias alone nothing but dy is read.
fn sums(exec: &mut WgpuExec, io: &Backward, mapping: &Mapping, weight: bool) -> Result<()> {
    let rows = io.d_output.spec().shape.rows();
    let kernel = Kernel::new(&mapping.variant.sums, "blocks").when("WEIGHT", weight);
    let of_weight = |buf: &Buf| if weight { buf.whole() } else { Ok(Arg::Nothing) };
    let statistics = |at: usize| io.extras.get(at).map_or(Ok(Arg::Nothing), of_weight);
    let args = [io.scratch.whole()?, io.d_output.whole()?, of_weight(&io.inputs[0])?, statistics(0)?, statistics(1)?];
    let params = sums_params(rows, mapping, 0);
    let blocks = rows.div_ceil(rows_per_sum(rows));
    exec.launch(&kernel, &params, &args, (blocks * mapping.parts).div_ceil(64))
}

fn sums_params(rows: usize, mapping: &Mapping, which: usize) -> [u32; 5] {
    let block = rows_per_sum(rows);
    [rows, mapping.parts, block, rows.div_ceil(block), which].map(word)
}
