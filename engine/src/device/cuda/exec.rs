//! What an op calls to launch a kernel.

use std::ffi::c_void;
use std::sync::{Arc, PoisonError};

use bytemuck::{Pod, Zeroable};
use cudarc::driver::CudaFunction;
use cudarc::driver::sys::CUfunction_attribute_enum as FunctionAttribute;
use cudarc::nvrtc::Ptx;

use super::pieces::Pieces;
use super::{Caps, Cuda, failed, nvrtc};
use crate::device::source::Source;
use crate::device::{Buf, BufMut, Place};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::shape::Spec;

/// Most blocks along y; along x there are 2^31 - 1.
const MOST_Y: usize = 65_535;

/// Most threads of a block, on every GPU.
const MOST_THREADS: u32 = 1024;

/// Shared memory that a kernel may have without asking for more.
const SHARED: usize = 48 * 1024;

/// A `__global__` function of a source, for tensors that are stored in a type.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    source: &'static Source,
    entry: &'static str,
    storage: DType,
}

/// What tells compiled kernels apart.
pub(super) type Key = (&'static str, &'static str, DType);

impl Kernel {
    /// Function `entry` of `source`; its tensors (`real` in the source) are stored in `storage`: f32 or bf16.
    pub fn new(source: &'static Source, entry: &'static str, storage: DType) -> Self {
        Self { source, entry, storage }
    }

    fn name(&self) -> String {
        format!("{} {}", self.source.file, self.entry)
    }

    pub(super) fn key(&self) -> Key {
        (self.source.file, self.entry, self.storage)
    }
}

/// Blocks, threads of each, and bytes of dynamic shared memory of each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grid {
    x: usize,
    y: usize,
    threads: u32,
    shared: usize,
}

impl Grid {
    /// `blocks` blocks of `threads` threads.
    pub fn new(blocks: usize, threads: u32) -> Self {
        Self { x: blocks, y: 1, threads, shared: 0 }
    }

    /// Blocks of 256 threads with at least one thread for each of `count` elements.
    pub fn each(count: usize) -> Self {
        Self::new(count.div_ceil(256), 256)
    }

    /// So many times as many blocks, told apart by `blockIdx.y`.
    #[must_use]
    pub fn times(mut self, y: usize) -> Self {
        self.y = y;
        self
    }

    /// With `bytes` of dynamic shared memory.
    #[must_use]
    pub fn shared(mut self, bytes: usize) -> Self {
        self.shared = bytes;
        self
    }
}

/// A parameter of a kernel: an address or a number of at most 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(transparent)]
pub struct Param(pub(super) u64);

impl Param {
    /// No buffer: an optional one that is absent.
    pub const NULL: Self = Self(0);

    /// The buffer's address, or [`Param::NULL`].
    ///
    /// # Errors
    /// Those of asking for it.
    pub fn or_null(address: Option<Result<Self>>) -> Result<Self> {
        address.unwrap_or(Ok(Self::NULL))
    }

    pub(super) fn is_multiple_of(self, bytes: u64) -> bool {
        self.0.is_multiple_of(bytes)
    }

    /// As a number; `other` for [`Param::NULL`].
    pub(super) fn or_if_null(self, other: usize) -> u64 {
        if self == Self::NULL { Self::from(other).0 } else { self.0 }
    }

    /// The address `bytes` behind this one.
    #[must_use]
    pub fn after(self, bytes: usize) -> Self {
        Self(self.0.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX)))
    }
}

/// For parameters of type `size_t`, and of `unsigned` where the value fits.
impl From<usize> for Param {
    fn from(value: usize) -> Self {
        Self(u64::try_from(value).unwrap_or(u64::MAX))
    }
}

impl From<u32> for Param {
    fn from(value: u32) -> Self {
        Self(u64::from(value))
    }
}

impl From<f32> for Param {
    fn from(value: f32) -> Self {
        Self(u64::from(value.to_bits()))
    }
}

/// For parameters of type `double`.
impl From<f64> for Param {
    fn from(value: f64) -> Self {
        Self(value.to_bits())
    }
}

/// For parameters of type `bool`.
impl From<bool> for Param {
    fn from(value: bool) -> Self {
        Self(u64::from(value))
    }
}

/// A parameter of a kernel that is longer than 8 bytes: a struct, a [`TensorMap`](super::TensorMap).
#[derive(Clone, Debug)]
pub struct Whole(Vec<u64>);

impl Whole {
    /// What `value` holds, laid out as the kernel's parameter.
    pub fn of<P: Pod>(value: &P) -> Self {
        Self(bytemuck::pod_collect_to_vec(bytemuck::bytes_of(value)))
    }

    pub(super) fn from_words(words: Vec<u64>) -> Self {
        Self(words)
    }
}

fn address(place: Option<Place>, spec: Spec) -> Result<Param> {
    match place {
        Some(Place::Cuda(place)) => Ok(Param(place.0)),
        Some(Place::Host(_) | Place::Wgpu(_)) => {
            Err(Error::new("buffer", "the buffer lies on another device").with("buffer", spec))
        }
        None => Err(Error::new("buffer", "a kernel reads a value that is not kept")
            .with("value", spec)
            .help("name it in the op's keeps()")),
    }
}

impl Buf<'_> {
    /// Its address, for a kernel on CUDA.
    ///
    /// # Errors
    /// It lies elsewhere, or backward reads what `keeps` did not name.
    pub fn address(&self) -> Result<Param> {
        address(self.place, self.spec)
    }
}

impl BufMut<'_> {
    /// Its address, for a kernel on CUDA.
    ///
    /// # Errors
    /// It lies elsewhere.
    pub fn address(&self) -> Result<Param> {
        address(Some(self.place), self.spec)
    }
}

pub(super) struct Pending {
    pub function: Arc<CudaFunction>,
    pub name: String,
    pub grid: (u32, u32, u32),
    pub threads: u32,
    pub shared: u32,
    pub params: Params,
    /// Of a launch that others may still join.
    pub pieces: Option<Pieces>,
}

pub(super) enum Params {
    /// One each: the driver reads as many bytes as the kernel's parameter has, and numbers lie at the lower end.
    Each(Vec<u64>),
    /// Longer ones.
    Wholes(Vec<Whole>),
}

impl Params {
    /// Where each parameter lies.
    pub fn pointers(&self) -> Vec<*mut c_void> {
        let pointer = |word: &u64| std::ptr::from_ref(word).cast_mut().cast::<c_void>();
        match self {
            Self::Each(params) => params.iter().map(pointer).collect(),
            Self::Wholes(params) => params.iter().filter_map(|Whole(words)| words.first().map(pointer)).collect(),
        }
    }
}

/// Collects the launches of ops.
pub struct CudaExec {
    pub(super) cuda: Cuda,
    pub(super) pending: Vec<Pending>,
    /// Number of pending kernels at the end of each of the plan's launches.
    pub(super) ends: Vec<usize>,
    /// The plan's launches that ops had something to say about.
    pub(super) notes: Vec<(usize, String)>,
    /// Launches don't join.
    pub(super) apart: bool,
}

impl CudaExec {
    pub(in crate::device) fn new(cuda: Cuda) -> Self {
        Self { cuda, pending: Vec::new(), ends: Vec::new(), notes: Vec::new(), apart: false }
    }

    /// What kernels may rely on.
    pub fn caps(&self) -> Caps {
        self.cuda.caps()
    }

    /// A line for the plan's listing: why this launch takes a general kernel and not a fast one.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push((self.ends.len(), text.into()));
    }

    /// A table that is the same in every replay, for kernels to read. Small: equal ones are kept once per device, and for as
    /// long as it lives.
    ///
    /// # Errors
    /// Out of memory.
    pub fn constant<T: Pod>(&self, values: &[T]) -> Result<Param> {
        let data: &[u8] = bytemuck::cast_slice(values);
        let mut constants = self.cuda.inner.constants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&address) = constants.get(data) {
            return Ok(Param(address));
        }
        let address = self.cuda.allocate(data.len().max(1))?;
        self.cuda.upload(address, data)?;
        constants.insert(data.to_vec(), address);
        Ok(Param(address))
    }

    /// Launches `kernel` with `params` in the order in which its source declares them. Nothing is launched for no blocks.
    ///
    /// # Errors
    /// The kernel does not compile, or the grid or the shared memory exceed what the device has.
    pub fn launch(&mut self, kernel: Kernel, grid: Grid, params: &[Param]) -> Result<()> {
        self.push(kernel, grid, Params::Each(params.iter().map(|param| param.0).collect()))
    }

    /// As [`CudaExec::launch`], of a kernel with one parameter, a struct.
    ///
    /// # Errors
    /// As [`CudaExec::launch`].
    pub fn launch_with<P: Pod>(&mut self, kernel: Kernel, grid: Grid, params: &P) -> Result<()> {
        self.launch_wholes(kernel, grid, vec![Whole::of(params)])
    }

    /// As [`CudaExec::launch`], of a kernel with several parameters of any length.
    ///
    /// # Errors
    /// As [`CudaExec::launch`].
    pub fn launch_wholes(&mut self, kernel: Kernel, grid: Grid, params: Vec<Whole>) -> Result<()> {
        self.push(kernel, grid, Params::Wholes(params))
    }

    pub(super) fn push(&mut self, kernel: Kernel, grid: Grid, params: Params) -> Result<()> {
        if grid.x == 0 || grid.y == 0 {
            return Ok(());
        }
        let Caps { shared: most_shared, .. } = self.caps();
        let (x, y, shared) = (i32::try_from(grid.x), u32::try_from(grid.y), u32::try_from(grid.shared));
        let (Ok(x), Ok(y), Ok(shared), true) = (x, y, shared, grid.y <= MOST_Y) else {
            return Err(Error::new(kernel.name(), "the launch has too many blocks")
                .with("grid", format!("{} x {}", grid.x, grid.y))
                .help("take a smaller batch"));
        };
        if grid.threads == 0 || grid.threads > MOST_THREADS {
            return Err(Error::new(kernel.name(), "a block has 1 to 1024 threads").with("threads", grid.threads));
        }
        if shared > most_shared {
            return Err(Error::new(kernel.name(), "the launch needs more shared memory than a block may have")
                .with("bytes", shared)
                .with("limit", most_shared));
        }
        let function = self.cuda.function(&kernel)?;
        if grid.shared > SHARED {
            let attribute = FunctionAttribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let bytes = i32::try_from(shared).unwrap_or(i32::MAX);
            function
                .set_attribute(attribute, bytes)
                .map_err(|error| failed("asking for shared memory", error).with("kernel", kernel.name()))?;
        }
        let grid_dim = (x.unsigned_abs(), y, 1);
        let (name, threads) = (kernel.name(), grid.threads);
        self.pending.push(Pending { function, name, grid: grid_dim, threads, shared, params, pieces: None });
        Ok(())
    }

    pub(in crate::device) fn end_launch(&mut self) {
        self.ends.push(self.pending.len());
    }
}

impl Cuda {
    /// A compiled kernel; each is compiled once per device.
    fn function(&self, kernel: &Kernel) -> Result<Arc<CudaFunction>> {
        let mut kernels = self.inner.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kernels.get(&kernel.key()) {
            return Ok(Arc::clone(found));
        }
        self.bind()?;
        let code = nvrtc::code(kernel.source, kernel.storage, self.caps().capability)?;
        let fail = |error| failed("the driver does not take the kernel", error).with("kernel", kernel.name());
        let module = self.inner.context.load_module(Ptx::from_binary(code)).map_err(fail)?;
        let function = Arc::new(module.load_function(kernel.entry).map_err(fail)?);
        kernels.insert(kernel.key(), Arc::clone(&function));
        Ok(function)
    }
}
