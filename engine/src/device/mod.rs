//! Devices: where memory lies and kernels run.
//!
//! [`Device`] is an enum, and so is everything that depends on it: adding a backend is adding a variant and following the
//! compiler. The only virtual interface is [`Memory`].

pub mod arena;
pub mod cpu;

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::shape::Spec;

/// A place to compute.
#[derive(Clone)]
pub enum Device {
    /// The host's processor.
    Cpu(cpu::Cpu),
}

impl Device {
    /// The host's processor with `threads` threads; all of them for `None`.
    ///
    /// # Errors
    /// The thread pool can't be started.
    pub fn cpu(threads: Option<usize>) -> Result<Self> {
        Ok(Self::Cpu(cpu::Cpu::new(threads)?))
    }

    /// Short name: `cpu`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cpu(_) => "cpu",
        }
    }

    /// What it is, for people.
    pub fn description(&self) -> String {
        match self {
            Self::Cpu(cpu) => cpu.description(),
        }
    }

    /// How many workers run one launch: the measure of per-worker scratch.
    pub fn workers(&self) -> usize {
        match self {
            Self::Cpu(cpu) => cpu.threads(),
        }
    }

    /// Alignment of every buffer in bytes.
    pub fn alignment(&self) -> usize {
        match self {
            Self::Cpu(_) => cpu::ALIGNMENT,
        }
    }

    pub(crate) fn memory(&self) -> &dyn Memory {
        match self {
            Self::Cpu(cpu) => cpu,
        }
    }

    pub(crate) fn exec(&self) -> Exec {
        match self {
            Self::Cpu(cpu) => Exec::Cpu(cpu::CpuExec { workers: cpu.threads() }),
        }
    }

    /// Runs `work` where kernels run: inside it, replays start without waking the device up each time.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match self {
            Self::Cpu(cpu) => cpu.run(work),
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
}

impl Slab {
    /// Its size.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Host(slab) => slab.bytes(),
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
        }
    }
}

/// Where a buffer lies.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Host(cpu::HostPlace),
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
}

impl Exec {
    pub(crate) fn builtin(&mut self, what: Builtin, target: BufMut, source: Option<Buf>) -> Result<()> {
        match self {
            Self::Cpu(_) => cpu::builtin(what, target, source),
        }
    }
}
