//! What an op calls to launch a kernel.

use std::ops::Range;
use std::sync::Arc;

use bytemuck::Pod;

use super::kernel::Pipeline;
use super::{Caps, Gpu, Kernel, memory};
use crate::device::{Buf, BufMut, Place};
use crate::error::{Error, Result};
use crate::shape::Spec;

/// Most buffers of a kernel: WebGPU's limit at its strictest.
const MAX_BUFFERS: usize = 8;

/// Rows of a window are cut at multiples of this, so that every part begins at an allowed offset.
const ROW_STEP: usize = super::ALIGNMENT / 4;

/// A range of device memory.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub(super) slab: Option<u32>,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    spec: Spec,
}

/// What a binding of a kernel is bound to.
#[derive(Clone, Copy, Debug)]
pub enum Arg {
    /// A whole buffer.
    Whole(Window),
    /// A buffer of rows, one per row of the launch: where it exceeds the adapter's limit, part by part.
    Rows(Window),
    /// No buffer: an optional input that is absent.
    Nothing,
}

impl Arg {
    /// The buffer, or [`Arg::Nothing`].
    ///
    /// # Errors
    /// Those of making it.
    pub fn or_nothing(arg: Option<Result<Self>>) -> Result<Self> {
        arg.unwrap_or(Ok(Self::Nothing))
    }
}

fn window(place: Option<Place>, spec: Spec) -> Result<Window> {
    match place {
        Some(Place::Wgpu(place)) => {
            Ok(Window { slab: Some(place.slab), offset: place.offset, bytes: memory::bytes(spec.bytes()), spec })
        }
        Some(Place::Host(_) | Place::Cuda(_)) => {
            Err(Error::new("buffer", "the buffer lies on another device").with("buffer", spec))
        }
        None => Err(Error::new("buffer", "a kernel reads a value that is not kept")
            .with("value", spec)
            .help("name it in the op's keeps()")),
    }
}

impl Buf<'_> {
    /// The buffer as a whole, for a kernel on wgpu.
    ///
    /// # Errors
    /// It lies elsewhere, or backward reads what `keeps` did not name.
    pub fn whole(&self) -> Result<Arg> {
        Ok(Arg::Whole(window(self.place, self.spec)?))
    }

    /// The buffer row by row, for a kernel on wgpu.
    ///
    /// # Errors
    /// As [`Buf::whole`].
    pub fn rows(&self) -> Result<Arg> {
        Ok(Arg::Rows(window(self.place, self.spec)?))
    }
}

impl BufMut<'_> {
    /// The buffer as a whole, for a kernel on wgpu.
    ///
    /// # Errors
    /// It lies elsewhere.
    pub fn whole(&self) -> Result<Arg> {
        Ok(Arg::Whole(window(Some(self.place), self.spec)?))
    }

    /// The buffer row by row, for a kernel on wgpu.
    ///
    /// # Errors
    /// It lies elsewhere.
    pub fn rows(&self) -> Result<Arg> {
        Ok(Arg::Rows(window(Some(self.place), self.spec)?))
    }
}

/// The gaps of a flat gradient, which begin anywhere: the buffer from the aligned offset before it on, and how many words later
/// it begins. `None` for a buffer that is aligned, as all others are.
pub(super) fn from_aligned(buf: &BufMut) -> Result<Option<(Arg, u32)>> {
    let window = window(Some(buf.place), buf.spec)?;
    let before = window.offset % memory::bytes(super::ALIGNMENT);
    let aligned = Window { offset: window.offset - before, bytes: window.bytes + before, ..window };
    Ok((before > 0).then(|| (Arg::Whole(aligned), u32::try_from(before / 4).unwrap_or(u32::MAX))))
}

pub(super) struct Pending {
    pub pipeline: Arc<Pipeline>,
    pub name: String,
    pub windows: Vec<Window>,
    /// Where its parameters begin in [`WgpuExec::params`], and how many bytes they are.
    pub params: Range<u64>,
    pub groups: [u32; 3],
}

/// Collects the launches of ops.
pub struct WgpuExec {
    pub(super) gpu: Gpu,
    pub(super) pending: Vec<Pending>,
    pub(super) params: Vec<u8>,
    /// Number of pending dispatches at the end of each of the plan's launches.
    pub(super) ends: Vec<usize>,
}

impl WgpuExec {
    pub(in crate::device) fn new(gpu: Gpu) -> Self {
        Self { gpu, pending: Vec::new(), params: Vec::new(), ends: Vec::new() }
    }

    /// What kernels may rely on.
    pub fn caps(&self) -> Caps {
        self.gpu.caps()
    }

    /// A table that is the same in every replay, for kernels to read. Small: equal ones are kept once per device, and for as
    /// long as it lives.
    ///
    /// # Errors
    /// Out of memory.
    pub fn constant<T: Pod>(&self, values: &[T]) -> Result<Arg> {
        let mut data = bytemuck::cast_slice(values).to_vec();
        data.resize(data.len().next_multiple_of(4), 0);
        let spec = Spec::words(data.len() / 4);
        let (offset, bytes) = (0, memory::bytes(data.len()));
        Ok(Arg::Whole(Window { slab: Some(self.gpu.constant(data)?), offset, bytes, spec }))
    }

    /// Launches `groups` workgroups of `kernel`, with `params` at binding 0 and `args` at bindings 1 and up.
    ///
    /// More than 65,535 groups are folded: a kernel finds its number as `workgroup_id.y * num_workgroups.x + workgroup_id.x`
    /// and must leave numbers beyond its own count alone.
    ///
    /// # Errors
    /// The kernel does not compile, a buffer exceeds the adapter's binding limit, or there are too many groups.
    pub fn launch<P: Pod>(&mut self, kernel: &Kernel, params: &P, args: &[Arg], groups: usize) -> Result<()> {
        let windows: Vec<Window> = args.iter().map(|&arg| self.whole(arg)).collect();
        self.push(kernel, bytemuck::bytes_of(params), windows, groups)
    }

    /// As [`WgpuExec::launch`], in as many parts as the adapter's binding limit demands: `params` and `groups` are asked for each
    /// range of rows, and in each part [`Arg::Rows`] is bound to those rows only.
    ///
    /// # Errors
    /// As [`WgpuExec::launch`]; a few rows alone exceed the limit.
    pub fn launch_rows<P: Pod>(
        &mut self,
        kernel: &Kernel,
        rows: usize,
        args: &[Arg],
        groups: impl Fn(usize) -> usize,
        params: impl Fn(Range<usize>) -> P,
    ) -> Result<()> {
        let step = self.rows_at_once(rows, args);
        let mut first = 0;
        while first < rows {
            let part = first..(first + step).min(rows);
            let windows = args.iter().map(|&arg| match arg {
                Arg::Rows(window) => part_of(window, rows, &part),
                _ => self.whole(arg),
            });
            let windows: Vec<Window> = windows.collect();
            self.push(kernel, bytemuck::bytes_of(&params(part.clone())), windows, groups(part.len()))?;
            first = part.end;
        }
        Ok(())
    }

    /// Launches one invocation per element of `args`, all of which are alike in length, in workgroups of 64.
    ///
    /// # Errors
    /// As [`WgpuExec::launch_rows`].
    pub fn launch_each<P: Pod>(
        &mut self,
        kernel: &Kernel,
        count: usize,
        args: &[Arg],
        params: impl Fn(Range<usize>) -> P,
    ) -> Result<()> {
        self.launch_rows(kernel, count, args, |count| count.div_ceil(64), params)
    }

    /// How many rows one part may have: a multiple of [`ROW_STEP`] or, where fewer fit, of the fewest that are aligned.
    fn rows_at_once(&self, rows: usize, args: &[Arg]) -> usize {
        let limit = usize::try_from(self.gpu.caps().max_binding).unwrap_or(usize::MAX);
        let widest = args.iter().map(|arg| match arg {
            Arg::Rows(window) => window.spec.bytes().div_ceil(rows.max(1)),
            _ => 0,
        });
        let fit = limit / widest.max().unwrap_or(0).max(1);
        if fit >= rows {
            return rows.max(1);
        }
        let step =
            if fit >= ROW_STEP { ROW_STEP } else { args.iter().map(|&arg| row_step(rows, arg)).max().unwrap_or(1) };
        (fit / step * step).max(1)
    }

    fn whole(&self, arg: Arg) -> Window {
        match arg {
            Arg::Whole(window) | Arg::Rows(window) => window,
            Arg::Nothing => Window { slab: None, offset: 0, bytes: 16, spec: Spec::words(4) },
        }
    }

    fn push(&mut self, kernel: &Kernel, params: &[u8], windows: Vec<Window>, groups: usize) -> Result<()> {
        if groups == 0 {
            return Ok(());
        }
        let Caps { max_binding, max_groups, .. } = self.gpu.caps();
        if windows.len() > MAX_BUFFERS {
            return Err(Error::new(kernel.name(), "a kernel has at most 8 buffers").with("buffers", windows.len()));
        }
        if let Some(window) =
            windows.iter().find(|window| window.bytes > max_binding || !window.offset.is_multiple_of(256))
        {
            return Err(Error::new(kernel.name(), "a tensor exceeds what the adapter can bind at once")
                .with("tensor", window.spec)
                .with("bytes", window.bytes)
                .with("limit", max_binding)
                .with("offset", window.offset)
                .help("take a smaller batch, or an adapter with a larger limit: see `vitrum devices`")
                .too_large());
        }
        let pipeline = self.gpu.pipeline(kernel, windows.len())?;
        let start = self.params.len();
        self.params.extend_from_slice(params);
        let end = self.params.len();
        self.params.resize(end.next_multiple_of(super::ALIGNMENT), 0);
        let params = memory::bytes(start)..memory::bytes(start + (end - start).next_multiple_of(16).max(16));
        let groups = fold(groups, max_groups)
            .ok_or_else(|| Error::new(kernel.name(), "too many workgroups for the adapter").with("groups", groups))?;
        self.pending.push(Pending { pipeline, name: kernel.name(), windows, params, groups });
        Ok(())
    }

    /// Ends one of the plan's launches.
    pub(crate) fn end_launch(&mut self) {
        self.ends.push(self.pending.len());
    }
}

/// Fewest rows whose bytes are a multiple of the alignment.
fn row_step(rows: usize, arg: Arg) -> usize {
    let Arg::Rows(window) = arg else { return 1 };
    let row = window.spec.bytes() / rows.max(1);
    super::ALIGNMENT >> row.trailing_zeros().min(super::ALIGNMENT.trailing_zeros())
}

/// The rows `part` of `rows` of a window.
fn part_of(window: Window, rows: usize, part: &Range<usize>) -> Window {
    let row = window.bytes / memory::bytes(rows.max(1));
    let (first, count) = (memory::bytes(part.start), memory::bytes(part.len()));
    Window { offset: window.offset + first * row, bytes: count * row, ..window }
}

/// `groups` workgroups as a grid whose sides are at most `most`, near square where one row is not enough.
fn fold(groups: usize, most: u32) -> Option<[u32; 3]> {
    if let Some(count) = u32::try_from(groups).ok().filter(|&count| count <= most) {
        return Some([count, 1, 1]);
    }
    let width = u32::try_from(groups.isqrt() + 1).ok().filter(|&width| width <= most)?;
    let height = u32::try_from(groups.div_ceil(usize::try_from(width).ok()?)).ok().filter(|&height| height <= most)?;
    Some([width, height, 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn folded_grids_hold_every_group_and_little_more(groups in 1_usize..4_000_000_000) {
            let [x, y, z] = fold(groups, 65_535).unwrap();
            let cells = u64::from(x) * u64::from(y) * u64::from(z);
            prop_assert!(x <= 65_535 && y <= 65_535);
            prop_assert!(cells >= groups as u64 && cells < groups as u64 + u64::from(x));
        }
    }

    #[test]
    fn parts_begin_at_aligned_rows() {
        let rows = |width: usize| {
            let spec = Spec::new(crate::DType::F32, &[6, width]).unwrap();
            Arg::Rows(Window { slab: None, offset: 0, bytes: memory::bytes(spec.bytes()), spec })
        };
        assert_eq!([1, 3, 6, 48, 64, 192, 197 * 16].map(|width| row_step(6, rows(width))), [64, 64, 32, 4, 1, 1, 4]);
        assert_eq!(row_step(6, Arg::Nothing), 1);
    }

    #[test]
    fn folds_only_what_does_not_fit() {
        assert_eq!(fold(65_535, 65_535), Some([65_535, 1, 1]));
        assert_eq!(fold(65_536, 65_535), Some([257, 256, 1]));
        assert_eq!(fold(usize::MAX, 65_535), None);
    }
}
