//! NVIDIA GPUs: the driver and NVRTC, both opened at run time, and one CUDA graph per plan.
//!
//! | file | what |
//! |---|---|
//! | `library.rs` | where libcuda and libnvrtc are looked for |
//! | `nvrtc.rs` | CUDA C++ to machine code, kept on disk |
//! | `memory.rs` | slabs: plain allocations |
//! | `exec.rs` | what an op calls to launch a kernel |
//! | `pieces.rs` | launches that become one |
//! | `recording.rs` | a plan's launches, captured as a graph; times per launch |
//! | `tensor_map.rs` | what bulk copies (TMA) must know of a tensor |
//! | `builtin.rs` | the launches that the engine itself needs |
//!
//! Nothing of CUDA is needed to build. Ops run once, when the plan is made, and leave their launches in a recording; a
//! replay is one launch of its graph. All work of a device is in the order of its one stream.

mod builtin;
mod exec;
mod library;
mod memory;
mod nvrtc;
mod pieces;
mod recording;
mod tensor_map;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cudarc::driver::sys::{CUdevice_attribute as Attribute, CUevent_flags, cudaError_enum as Code};
use cudarc::driver::{CudaContext, CudaEvent, CudaFunction, CudaStream, DriverError, result};

pub(super) use builtin::builtin;
pub use exec::{CudaExec, Grid, Kernel, Param, Whole};
pub use library::searched;
pub(super) use memory::{CudaPlace, CudaSlab};
pub use nvrtc::{Compiled, compile, version as compiler};
pub use pieces::Piece;
pub(crate) use recording::Recording;
pub use tensor_map::{Boxes, Swizzle, TensorMap};

use crate::dtype::DType;
use crate::error::{Error, Result};

/// Alignment of buffers: that of the driver's own allocations.
pub const ALIGNMENT: usize = 256;

/// The oldest compute capability that kernels are written for: Ampere.
const OLDEST: u32 = 80;

/// The oldest driver, as the driver counts: CUDA 12.0.
const OLDEST_DRIVER: i32 = 12_000;

/// How to open a GPU.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Its number, as the driver counts.
    pub ordinal: usize,
    /// Wait for every launch of a replay, so that a failure names the launch. Slow.
    pub blocking: bool,
    /// Store a network's activations, and the weights that it reads, in bf16.
    pub bf16: bool,
}

/// What kernels may rely on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    /// Compute capability: 90 is 9.0.
    pub capability: u32,
    /// Multiprocessors.
    pub processors: u32,
    /// Most bytes of shared memory of a block.
    pub shared: u32,
}

/// What a GPU tells of itself.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// Bytes of memory.
    pub memory: usize,
    /// Bytes of the L2 cache.
    pub cache: usize,
    /// What the driver supports: (12, 8) for CUDA 12.8.
    pub driver: (i32, i32),
    /// What kernels may rely on.
    pub caps: Caps,
}

/// An opened GPU.
#[derive(Clone)]
pub struct Cuda {
    inner: Arc<Inner>,
}

struct Inner {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    report: Report,
    blocking: bool,
    storage: DType,
    next_slab: AtomicU32,
    kernels: Mutex<HashMap<exec::Key, Arc<CudaFunction>>>,
    /// Constant tables by content. They live as long as the device.
    constants: Mutex<HashMap<Vec<u8>, u64>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let constants = self.constants.get_mut().unwrap_or_else(PoisonError::into_inner);
        if self.context.bind_to_thread().is_ok() {
            for &address in constants.values() {
                // SAFETY: the device made them, and nothing that reads them is left. A failure is an earlier one's.
                let _ = unsafe { result::free_sync(address) };
            }
        }
    }
}

/// What a driver's failure means.
fn failed(what: &str, error: DriverError) -> Error {
    let name =
        error.error_string().map_or_else(|_| format!("{:?}", error.0), |text| text.to_string_lossy().into_owned());
    let failure = Error::new("cuda", format!("{what}: {name}"));
    match error.0 {
        Code::CUDA_ERROR_OUT_OF_MEMORY => failure.help("take a smaller batch or model").too_large(),
        Code::CUDA_ERROR_ILLEGAL_ADDRESS
        | Code::CUDA_ERROR_MISALIGNED_ADDRESS
        | Code::CUDA_ERROR_LAUNCH_FAILED
        | Code::CUDA_ERROR_LAUNCH_TIMEOUT
        | Code::CUDA_ERROR_ECC_UNCORRECTABLE
        | Code::CUDA_ERROR_DEVICE_UNAVAILABLE => failure.help(
            "a checkpoint that was written before is whole: train with --resume goes on from it; \
             with VITRUM_CUDA_BLOCKING=1 the failing launch is named",
        ),
        _ => failure,
    }
}

/// Time from one event, which has passed, to another.
fn between(start: &CudaEvent, end: &CudaEvent) -> Result<Duration> {
    let milliseconds = start.elapsed_ms(end).map_err(|error| failed("timing", error))?;
    Ok(Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) * 1e-3))
}

/// GPUs that the driver offers, whether Vitrum can use them or not.
///
/// # Errors
/// A library is missing, or the driver fails.
pub fn list() -> Result<Vec<Report>> {
    library::driver()?;
    result::init().map_err(|error| failed("the driver does not start", error))?;
    let count = result::device::get_count().map_err(|error| failed("counting devices", error))?;
    (0..usize::try_from(count).unwrap_or(0)).map(|ordinal| report(open_context(ordinal)?.as_ref())).collect()
}

fn open_context(ordinal: usize) -> Result<Arc<CudaContext>> {
    CudaContext::new(ordinal).map_err(|error| failed("the device can't be opened", error).with("device", ordinal))
}

fn report(context: &CudaContext) -> Result<Report> {
    let fail = |error| failed("asking the device", error);
    let attribute = |attribute| {
        let value = context.attribute(attribute).map_err(fail)?;
        u32::try_from(value).map_err(|_| Error::new("cuda", "the device reports a negative attribute"))
    };
    let (major, minor) = context.compute_capability().map_err(fail)?;
    let mut version = 0;
    // SAFETY: the pointer is valid for the call.
    unsafe { cudarc::driver::sys::cuDriverGetVersion(&raw mut version) }.result().map_err(fail)?;
    let caps = Caps {
        capability: u32::try_from(10 * major + minor).unwrap_or(0),
        processors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        shared: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
    };
    Ok(Report {
        name: context.name().map_err(fail)?,
        memory: context.total_mem().map_err(fail)?,
        cache: usize::try_from(attribute(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?).unwrap_or(0),
        driver: (version / 1000, version % 1000 / 10),
        caps,
    })
}

impl Cuda {
    /// Opens a GPU.
    ///
    /// # Errors
    /// The driver or NVRTC is missing, there is no such device, or it or the driver is too old.
    pub fn new(options: &Options) -> Result<Self> {
        library::driver()?;
        nvrtc::version()?;
        let context = open_context(options.ordinal)?;
        let report = report(&context)?;
        let (major, minor) = report.driver;
        if 1000 * major + 10 * minor < OLDEST_DRIVER {
            return Err(Error::new("cuda", "the driver is too old")
                .with("driver supports", format!("CUDA {major}.{minor}"))
                .help("update it to one of CUDA 12.0 or newer"));
        }
        if report.caps.capability < OLDEST {
            return Err(Error::new("cuda", "the GPU is too old")
                .with("device", &report.name)
                .with("compute capability", report.caps.capability)
                .help("80 (Ampere) or newer runs; older cards through --device wgpu"));
        }
        // SAFETY: all work goes to one stream, in order: no event has to keep two apart.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(|error| failed("making a stream", error))?;
        let inner = Inner {
            context,
            stream,
            report,
            blocking: options.blocking,
            storage: if options.bf16 { DType::Bf16 } else { DType::F32 },
            next_slab: AtomicU32::new(0),
            kernels: Mutex::default(),
            constants: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What the GPU tells of itself.
    pub fn report(&self) -> &Report {
        &self.inner.report
    }

    /// What kernels may rely on.
    pub fn caps(&self) -> Caps {
        self.inner.report.caps
    }

    /// Whether replays wait for every launch.
    pub(crate) fn blocking(&self) -> bool {
        self.inner.blocking
    }

    pub(super) fn storage(&self) -> DType {
        self.inner.storage
    }

    pub(super) fn description(&self) -> String {
        let Report { name, driver: (major, minor), caps, .. } = &self.inner.report;
        let storage = if self.inner.storage == DType::Bf16 { ", activations in bf16" } else { "" };
        format!("cuda, {name} (sm_{}), driver of CUDA {major}.{minor}{storage}", caps.capability)
    }

    /// Waits until the device has done all that was launched.
    ///
    /// # Errors
    /// It failed.
    pub fn finish(&self) -> Result<()> {
        self.inner.stream.synchronize().map_err(|error| failed("the device failed", error))
    }

    /// Time between two events, round what `work` launches.
    pub(super) fn time(&self, work: impl FnOnce() -> Result<()>) -> Result<Duration> {
        let start = self.event()?;
        work()?;
        let end = self.event()?;
        self.finish()?;
        between(&start, &end)
    }

    /// An event that lies behind all launched work.
    fn event(&self) -> Result<CudaEvent> {
        let fail = |error| failed("timing", error);
        let event = self.inner.context.new_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).map_err(fail)?;
        event.record(&self.inner.stream).map_err(fail)?;
        Ok(event)
    }

    /// Bytes of memory that nobody has taken.
    pub(super) fn free_memory(&self) -> usize {
        self.bind().ok().and_then(|()| result::mem_get_info().ok()).map_or(usize::MAX, |(free, _)| free)
    }

    /// Makes the device the calling thread's.
    fn bind(&self) -> Result<()> {
        self.inner.context.bind_to_thread().map_err(|error| failed("the device failed", error))
    }

    fn new_slab_id(&self) -> u32 {
        self.inner.next_slab.fetch_add(1, Ordering::Relaxed)
    }
}
