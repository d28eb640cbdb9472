//! Devices: where memory lies and kernels run.
//!
//! [`Device`] is an enum, and so is everything that depends on it: adding a backend is adding a variant and following the
//! compiler. The only virtual interface is [`Memory`].

pub mod arena;
pub mod cpu;
pub mod cuda;
pub mod source;
pub mod timing;
pub mod webgpu;

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::time::Duration;

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::shape::Spec;

/// A place to compute.
#[derive(Clone)]
pub enum Device {
    /// The host's processor.
    Cpu(cpu::Cpu),
    /// An NVIDIA GPU.
    Cuda(cuda::Cuda),
    /// A GPU that wgpu reaches.
    Wgpu(webgpu::Gpu),
}

/// What decides how much working memory a launch needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// The host's processor.
    Cpu {
        /// Threads that work on one launch.
        workers: usize,
    },
    /// An NVIDIA GPU.
    Cuda(cuda::Caps),
    /// A GPU that wgpu reaches.
    Wgpu(webgpu::Caps),
}

impl Device {
    /// The host's processor with `threads` threads; all of them for `None`.
    ///
    /// # Errors
    /// The thread pool can't be started.
    pub fn cpu(threads: Option<usize>) -> Result<Self> {
        Ok(Self::Cpu(cpu::Cpu::new(threads)?))
    }

    /// An NVIDIA GPU.
    ///
    /// # Errors
    /// A library is missing, there is none, or it or its driver is too old.
    pub fn cuda(options: &cuda::Options) -> Result<Self> {
        Ok(Self::Cuda(cuda::Cuda::new(options)?))
    }

    /// A GPU that Vulkan, Metal or DX12 reaches.
    ///
    /// # Errors
    /// There is none, or it refuses.
    pub fn wgpu(options: &webgpu::Options) -> Result<Self> {
        Ok(Self::Wgpu(webgpu::Gpu::new(options)?))
    }

    /// Short name: `cpu`, `cuda` or `wgpu`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cpu(_) => "cpu",
            Self::Cuda(_) => "cuda",
            Self::Wgpu(_) => "wgpu",
        }
    }

    /// What it is, for people.
    pub fn description(&self) -> String {
        match self {
            Self::Cpu(cpu) => cpu.description(),
            Self::Cuda(cuda) => cuda.description(),
            Self::Wgpu(gpu) => gpu.description(),
        }
    }

    /// What decides how much working memory its launches need.
    pub fn target(&self) -> Target {
        match self {
            Self::Cpu(cpu) => Target::Cpu { workers: cpu.threads() },
            Self::Cuda(cuda) => Target::Cuda(cuda.caps()),
            Self::Wgpu(gpu) => Target::Wgpu(gpu.caps()),
        }
    }

    /// Threads of the host that compute; `None` where another processor does.
    pub fn threads(&self) -> Option<usize> {
        match self {
            Self::Cpu(cpu) => Some(cpu.threads()),
            Self::Cuda(_) | Self::Wgpu(_) => None,
        }
    }

    /// Waits until all that was launched is done. On the host that is always so.
    ///
    /// # Errors
    /// The device failed.
    pub fn finish(&self) -> Result<()> {
        match self {
            Self::Cpu(_) => Ok(()),
            Self::Cuda(cuda) => cuda.finish(),
            Self::Wgpu(gpu) => gpu.finish(),
        }
    }

    /// Refuses element types that the device does not compute in.
    pub(crate) fn check_dtype(&self, dtype: DType) -> Result<()> {
        match self {
            Self::Cpu(_) => Ok(()),
            Self::Cuda(_) | Self::Wgpu(_) if matches!(dtype, DType::F32 | DType::I32 | DType::U32) => Ok(()),
            Self::Cuda(_) if dtype == DType::Bf16 => Ok(()),
            Self::Cuda(_) | Self::Wgpu(_) => {
                Err(Error::new(self.name(), "the element type is not computed on this device")
                    .with("dtype", dtype)
                    .help("f32, i32 or u32, with CUDA bf16 as well; f64 runs on the CPU: --device cpu"))
            }
        }
    }

    /// What memory can be had.
    pub(crate) fn limits(&self) -> Limits {
        match self {
            Self::Cpu(_) => Limits { slab: usize::MAX, free: usize::MAX },
            Self::Cuda(cuda) => Limits { slab: usize::MAX, free: cuda.free_memory() },
            Self::Wgpu(gpu) => {
                Limits { slab: usize::try_from(gpu.caps().max_buffer).unwrap_or(usize::MAX), free: usize::MAX }
            }
        }
    }

    /// Whether it computes with tensors of a type.
    pub fn computes(&self, dtype: DType) -> bool {
        self.check_dtype(dtype).is_ok()
    }

    /// The type in which a network's activations and the weights that it reads are stored: f32, or bf16 where that was asked for.
    /// Arithmetic, losses and the parameters that an optimizer moves are f32 either way.
    pub fn storage(&self) -> DType {
        match self {
            Self::Cpu(_) | Self::Wgpu(_) => DType::F32,
            Self::Cuda(cuda) => cuda.storage(),
        }
    }

    /// Alignment of every buffer in bytes.
    pub fn alignment(&self) -> usize {
        match self {
            Self::Cpu(_) => cpu::ALIGNMENT,
            Self::Cuda(_) => cuda::ALIGNMENT,
            Self::Wgpu(_) => webgpu::ALIGNMENT,
        }
    }

    /// A slab without memory, for launches that are recorded and never run; `None` where launches run at once.
    pub(crate) fn imagined(&self, bytes: usize) -> Option<Slab> {
        match self {
            Self::Cpu(_) => None,
            Self::Cuda(cuda) => Some(Slab::Cuda(cuda::CudaSlab::imagined(cuda, bytes))),
            Self::Wgpu(gpu) => Some(Slab::Wgpu(webgpu::WgpuSlab::imagined(gpu, bytes))),
        }
    }

    pub(crate) fn memory(&self) -> &dyn Memory {
        match self {
            Self::Cpu(cpu) => cpu,
            Self::Cuda(cuda) => cuda,
            Self::Wgpu(gpu) => gpu,
        }
    }

    /// Whether launches are recorded when a plan is made, and submitted when it is replayed.
    pub(crate) fn records(&self) -> bool {
        match self {
            Self::Cpu(_) => false,
            Self::Cuda(_) | Self::Wgpu(_) => true,
        }
    }

    /// Whether replays go launch by launch and wait for each.
    pub(crate) fn blocking(&self) -> bool {
        match self {
            Self::Cpu(_) | Self::Wgpu(_) => false,
            Self::Cuda(cuda) => cuda.blocking(),
        }
    }

    pub(crate) fn exec(&self) -> Exec {
        match self {
            Self::Cpu(cpu) => Exec::Cpu(cpu::CpuExec { workers: cpu.threads() }),
            Self::Cuda(cuda) => Exec::Cuda(cuda::CudaExec::new(cuda.clone())),
            Self::Wgpu(gpu) => Exec::Wgpu(webgpu::WgpuExec::new(gpu.clone())),
        }
    }

    /// Runs `work` where kernels run: inside it, replays start without waking the device up each time.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match self {
            Self::Cpu(cpu) => cpu.run(work),
            Self::Cuda(_) | Self::Wgpu(_) => work(),
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description())
    }
}

/// Memory of a device: what the engine itself asks of a backend.
pub trait Memory {
    /// `bytes` of zeroed memory.
    ///
    /// # Errors
    /// Out of memory.
    fn alloc(&self, bytes: usize) -> Result<Slab>;
    /// Copies host bytes to `offset`.
    ///
    /// # Errors
    /// The range does not lie in the slab, or the device failed.
    fn write(&self, slab: &mut Slab, offset: usize, bytes: &[u8]) -> Result<()>;
    /// Copies from `offset` to host bytes, after all launched work.
    ///
    /// # Errors
    /// The range does not lie in the slab, or the device failed.
    fn read(&self, slab: &Slab, offset: usize, bytes: &mut [u8]) -> Result<()>;
    /// Sets every byte of `range`.
    ///
    /// # Errors
    /// The range does not lie in the slab, or the device failed.
    fn fill(&self, slab: &mut Slab, range: Range<usize>, byte: u8) -> Result<()>;
}

/// A piece of device memory.
pub enum Slab {
    /// Host memory.
    Host(cpu::HostSlab),
    /// Memory of an NVIDIA GPU.
    Cuda(cuda::CudaSlab),
    /// A buffer of a GPU.
    Wgpu(webgpu::WgpuSlab),
}

/// What a device allows.
pub(crate) struct Limits {
    /// Most bytes of one slab.
    pub slab: usize,
    /// Bytes that nobody has taken, where the device tells.
    pub free: usize,
}

impl Slab {
    /// Its size.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Host(slab) => slab.bytes(),
            Self::Cuda(slab) => slab.bytes(),
            Self::Wgpu(slab) => slab.bytes(),
        }
    }

    /// Which piece of memory it is, where launches are recorded: others are recorded for another one.
    pub(crate) fn id(&self) -> Option<u32> {
        match self {
            Self::Host(_) => None,
            Self::Cuda(slab) => Some(slab.id()),
            Self::Wgpu(slab) => Some(slab.id()),
        }
    }

    /// The place of `bytes` bytes at `offset`.
    pub(crate) fn place(&self, offset: usize, bytes: usize) -> Result<Place> {
        if offset.checked_add(bytes).is_none_or(|end| end > self.bytes()) {
            return Err(Error::new("slab", "a buffer reaches beyond its memory")
                .with("offset", offset)
                .with("bytes", bytes)
                .with("slab", self.bytes()));
        }
        match self {
            Self::Host(slab) => Ok(Place::Host(slab.at(offset))),
            Self::Cuda(slab) => Ok(Place::Cuda(slab.at(offset))),
            Self::Wgpu(slab) => Ok(Place::Wgpu(slab.at(offset))),
        }
    }
}

/// Where a buffer lies.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Host(cpu::HostPlace),
    Cuda(cuda::CudaPlace),
    Wgpu(webgpu::WgpuPlace),
}

/// A buffer to read during one launch.
#[derive(Clone, Copy)]
pub struct Buf<'a> {
    spec: Spec,
    place: Option<Place>,
    life: PhantomData<&'a ()>,
}

impl Buf<'_> {
    pub(crate) fn new(spec: Spec, place: Option<Place>) -> Self {
        Self { spec, place, life: PhantomData }
    }

    /// Shape and dtype.
    pub fn spec(&self) -> Spec {
        self.spec
    }
}

/// A buffer to write during one launch. No other buffer of the launch overlaps it.
pub struct BufMut<'a> {
    spec: Spec,
    place: Place,
    life: PhantomData<&'a mut ()>,
}

impl BufMut<'_> {
    pub(crate) fn new(spec: Spec, place: Place) -> Self {
        Self { spec, place, life: PhantomData }
    }

    /// Shape and dtype.
    pub fn spec(&self) -> Spec {
        self.spec
    }
}

/// What runs a launch. Ops match on it exhaustively.
pub enum Exec {
    /// On the host's processor, inside the thread pool of its [`cpu::Cpu`].
    Cpu(cpu::CpuExec),
    /// On an NVIDIA GPU: launches are recorded, and run when the plan is replayed.
    Cuda(cuda::CudaExec),
    /// On a GPU that wgpu reaches: launches are recorded, and run when the plan is replayed.
    Wgpu(webgpu::WgpuExec),
}

/// A plan's launches as a device replays them.
pub(crate) enum Recording {
    Cuda(cuda::Recording),
    Wgpu(webgpu::Recording),
}

impl Recording {
    /// Starts the plan's launches `launches`, without waiting for them.
    pub fn submit(&self, launches: Range<usize>) -> Result<()> {
        match self {
            Self::Cuda(recording) => recording.submit(launches),
            Self::Wgpu(recording) => recording.submit(launches),
        }
    }

    /// Replays once; the time that the device takes for `launches`, right before which `before` runs. `None` where only launches
    /// are measured, one by one.
    pub fn time(&mut self, launches: Range<usize>, before: &mut dyn FnMut() -> Result<()>) -> Result<Option<Duration>> {
        match self {
            Self::Cuda(recording) => recording.time(launches, before).map(Some),
            Self::Wgpu(_) => Ok(None),
        }
    }

    /// Runs all launches and measures each.
    pub fn profile(&self) -> Result<Vec<Duration>> {
        match self {
            Self::Cuda(recording) => recording.profile(),
            Self::Wgpu(recording) => recording.profile(),
        }
    }

    /// What ops said about launches, by the launch's number.
    pub fn notes(&self) -> &[(usize, String)] {
        match self {
            Self::Cuda(recording) => recording.notes(),
            Self::Wgpu(_) => &[],
        }
    }
}

/// Launches that the engine itself needs. It knows no other operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Builtin {
    /// Ones: the gradient of a loss with respect to itself.
    Ones,
    /// Zeros: the gaps of a flat gradient.
    Zeros,
    /// `target = source`.
    Copy,
    /// `target += source`.
    Add,
    /// `target *= source`: an activation's slope, where no op multiplied by it.
    Multiply,
}

impl Builtin {
    /// The source of those that have one.
    ///
    /// # Errors
    /// It is missing.
    fn source<T>(self, source: Option<T>) -> Result<Option<T>> {
        match self {
            Self::Ones | Self::Zeros => Ok(None),
            Self::Copy | Self::Add | Self::Multiply => match source {
                Some(source) => Ok(Some(source)),
                None => Err(Error::new("builtin", "copy, add and multiply need a source")),
            },
        }
    }
}

impl Exec {
    /// Ends one launch of a plan: what was recorded since the last one belongs to it.
    pub(crate) fn end_launch(&mut self) {
        match self {
            Self::Cpu(_) => {}
            Self::Cuda(exec) => exec.end_launch(),
            Self::Wgpu(exec) => exec.end_launch(),
        }
    }

    /// Every launch of the plan stays as it is: somebody looks at memory between them.
    pub(crate) fn keep_apart(&mut self) {
        match self {
            Self::Cuda(exec) => exec.keep_apart(),
            Self::Cpu(_) | Self::Wgpu(_) => {}
        }
    }

    /// What was recorded; `None` where kernels have run already.
    pub(crate) fn finish(self) -> Result<Option<Recording>> {
        match self {
            Self::Cpu(_) => Ok(None),
            Self::Cuda(exec) => exec.finish().map(|recording| Some(Recording::Cuda(recording))),
            Self::Wgpu(exec) => exec.finish().map(|recording| Some(Recording::Wgpu(recording))),
        }
    }

    pub(crate) fn builtin(&mut self, what: Builtin, target: BufMut, source: Option<Buf>) -> Result<()> {
        match self {
            Self::Cpu(_) => cpu::builtin(what, target, source),
            Self::Cuda(exec) => cuda::builtin(exec, what, &target, source),
            Self::Wgpu(exec) => webgpu::builtin(exec, what, &target, source),
        }
    }
}
