//! Any GPU that Vulkan, Metal or DX12 reaches, through wgpu: buffers, pipelines, recorded replays.
//!
//! | file | what |
//! |---|---|
//! | `adapter.rs` | which adapters there are, and which one is taken |
//! | `memory.rs` | slabs as buffers; pooled reads |
//! | `kernel.rs` | WGSL sources to pipelines, each compiled once |
//! | `exec.rs` | what an op calls to launch a kernel |
//! | `recording.rs` | a plan's launches with their bind groups: one submission per replay, times per launch |
//! | `builtin.rs` | the launches that the engine itself needs |
//!
//! Ops run once, when the plan is made, and leave their launches in a recording; a replay submits it. Parameters of
//! kernels lie in one uniform buffer per recording, written once. Every tensor is bound read-write: all of a plan's values
//! are windows of one arena, and WebGPU forbids a buffer to be read-only and writable in one dispatch.

mod adapter;
mod builtin;
mod exec;
mod kernel;
mod memory;
mod recording;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wgpu::Features;

pub use adapter::{AdapterKind, AdapterReport, list, nothing_found};
pub(super) use builtin::builtin;
pub use exec::{Arg, WgpuExec, Window};
pub use kernel::Kernel;
pub(super) use memory::{WgpuPlace, WgpuSlab};
pub(crate) use recording::Recording;

use crate::error::{Error, Result};

/// Alignment of buffers: WebGPU's offset alignment at its strictest, so that a store's layout is the same everywhere.
pub const ALIGNMENT: usize = 256;

/// Submissions that may wait for the device before a replay blocks.
const IN_FLIGHT: usize = 4;

/// How to open an adapter.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A part of its name; the best one for `None`.
    pub adapter: Option<String>,
    /// Take it for another kind than it is: tests run the kernels of graphics cards on software.
    pub kind: Option<AdapterKind>,
    /// Pretend that bindings are limited to so many bytes.
    pub max_binding: Option<u64>,
    /// Pretend that buffers are limited to so many bytes.
    pub max_buffer: Option<u64>,
    /// Leave subgroup operations out.
    pub no_subgroups: bool,
    /// Let products round their operands to f16 where the adapter has it; sums stay in f32.
    pub f16: bool,
}

/// What kernels may rely on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    /// What the adapter is.
    pub kind: AdapterKind,
    /// Most bytes of one binding.
    pub max_binding: u64,
    /// Most bytes of one buffer.
    pub max_buffer: u64,
    /// Most workgroups in one dimension of a dispatch.
    pub max_groups: u32,
    /// Invocations of a subgroup, where its operations may be used.
    pub subgroup: Option<u32>,
    /// Whether products may round their operands to f16.
    pub f16: bool,
}

/// An opened adapter.
#[derive(Clone)]
pub struct Gpu {
    inner: Arc<Inner>,
}

struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    report: AdapterReport,
    caps: Caps,
    health: Arc<Health>,
    /// Buffers by slab number: a [`WgpuPlace`] names its buffer by it.
    slabs: Mutex<HashMap<u32, wgpu::Buffer>>,
    next_slab: AtomicU32,
    /// Slabs of constant tables, by content. They live as long as the device.
    constants: Mutex<HashMap<Vec<u8>, u32>>,
    pipelines: Mutex<HashMap<kernel::Key, Arc<kernel::Pipeline>>>,
    layouts: Mutex<HashMap<usize, kernel::Layout>>,
    staging: Mutex<Vec<wgpu::Buffer>>,
    in_flight: Mutex<VecDeque<wgpu::SubmissionIndex>>,
    /// Bound where an optional argument is absent.
    nothing: wgpu::Buffer,
}

/// The first thing that went wrong on the device outside of an error scope.
#[derive(Default)]
struct Health {
    failed: AtomicBool,
    problem: Mutex<Option<(&'static str, String)>>,
}

impl Health {
    fn report(&self, what: &'static str, problem: String) {
        lock(&self.problem).get_or_insert((what, problem));
        self.failed.store(true, Ordering::Release);
    }

    fn check(&self) -> Result<()> {
        if !self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        let problem = lock(&self.problem);
        let (what, text) = problem.as_ref().map_or(("failed", ""), |(what, text)| (*what, text.as_str()));
        Err(Error::new("wgpu", format!("the device {what}"))
            .with("driver says", text.trim())
            .help("a checkpoint that was written before is whole: train with --resume goes on from it"))
    }
}

/// A lock that outlives a panic elsewhere: what it guards is replaced as a whole or not at all.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gpu {
    /// Opens an adapter with all that its limits allow.
    ///
    /// # Errors
    /// There is none, or it refuses.
    pub fn new(options: &Options) -> Result<Self> {
        let (adapter, report) = adapter::choose(options.adapter.as_deref())?;
        let wanted = Features::SUBGROUP | Features::SHADER_F16 | Features::TIMESTAMP_QUERY;
        let limits = adapter.limits();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("vitrum"),
            required_features: adapter.features() & wanted,
            required_limits: limits.clone(),
            memory_hints: wgpu::MemoryHints::Performance,
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).map_err(|error| {
            Error::new("wgpu", format!("the adapter can't be opened: {error}")).with("adapter", &report.name)
        })?;
        let health = Arc::new(Health::default());
        let (lost, uncaptured) = (Arc::clone(&health), Arc::clone(&health));
        device.set_device_lost_callback(move |_, text| lost.report("was lost", text));
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| match error {
            wgpu::Error::OutOfMemory { .. } => uncaptured.report("is out of memory", error.to_string()),
            _ => uncaptured.report("reported an error", error.to_string()),
        }));
        let caps = Caps {
            kind: options.kind.unwrap_or(report.kind),
            max_binding: options.max_binding.unwrap_or(u64::MAX).min(report.max_binding),
            max_buffer: options.max_buffer.unwrap_or(u64::MAX).min(report.max_buffer),
            max_groups: limits.max_compute_workgroups_per_dimension,
            subgroup: report.subgroup.filter(|_| !options.no_subgroups),
            f16: options.f16 && report.f16,
        };
        let nothing = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("nothing"),
            size: memory::bytes(ALIGNMENT) * 8,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
        let inner = Inner {
            device,
            queue,
            report,
            caps,
            health,
            slabs: Mutex::default(),
            next_slab: AtomicU32::new(0),
            constants: Mutex::default(),
            pipelines: Mutex::default(),
            layouts: Mutex::default(),
            staging: Mutex::default(),
            in_flight: Mutex::default(),
            nothing,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Gives the device back: whatever still uses it fails as if it had been lost.
    pub fn destroy(&self) {
        self.inner.device.destroy();
    }

    /// What the adapter tells of itself.
    pub fn report(&self) -> &AdapterReport {
        &self.inner.report
    }

    /// What kernels may rely on.
    pub fn caps(&self) -> Caps {
        self.inner.caps
    }

    pub(super) fn description(&self) -> String {
        let AdapterReport { name, api, driver, kind, .. } = &self.inner.report;
        format!("wgpu, {name} ({kind}), {api}, {driver}")
    }

    /// Runs `work` and gives the error that the device raised during it, if any.
    fn guarded<R>(&self, what: &str, work: impl FnOnce() -> R) -> Result<R> {
        let memory = self.inner.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.inner.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = self.inner.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let result = work();
        let errors = [internal, validation, memory].map(|scope| pollster::block_on(scope.pop()));
        match errors.into_iter().flatten().next() {
            None => Ok(result),
            Some(wgpu::Error::OutOfMemory { .. }) => {
                Err(Error::new("wgpu", "out of memory").with("at", what).help("take a smaller batch").too_large())
            }
            Some(error) => Err(Error::new("wgpu", format!("{what}: {error}"))),
        }
    }

    /// Submits commands; waits where too many are under way already.
    fn submit(&self, commands: wgpu::CommandBuffer) -> Result<()> {
        let index = self.inner.queue.submit([commands]);
        let oldest = {
            let mut waiting = lock(&self.inner.in_flight);
            waiting.push_back(index);
            if waiting.len() > IN_FLIGHT { waiting.pop_front() } else { None }
        };
        match oldest {
            Some(index) => self.wait(Some(index)),
            None => self.inner.health.check(),
        }
    }

    /// Waits for a submission, or for all.
    fn wait(&self, submission_index: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let outcome = self.inner.device.poll(wgpu::PollType::Wait { submission_index, timeout: None });
        self.inner.health.check()?;
        outcome.map(|_| ()).map_err(|error| Error::new("wgpu", format!("waiting for the device failed: {error}")))
    }

    /// Waits until the device has done all that was submitted.
    ///
    /// # Errors
    /// It failed, or was lost.
    pub fn finish(&self) -> Result<()> {
        self.wait(None)
    }
}
