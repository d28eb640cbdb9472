//! The host's processor: aligned memory, a thread pool, and typed views of buffers.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use rayon::prelude::*;

use super::{Buf, BufMut, Builtin, Memory, Place, Slab};
use crate::dtype::{Element, Real};
use crate::error::{Error, Result};
use crate::real;
use crate::shape::Spec;

/// Alignment of buffers: a cache line, and the width of an AVX-512 register.
pub const ALIGNMENT: usize = 64;

/// The host's processor with a thread pool of its own.
#[derive(Clone)]
pub struct Cpu {
    pool: Arc<rayon::ThreadPool>,
}

impl Cpu {
    /// A processor with `threads` threads; all of them for `None`.
    ///
    /// # Errors
    /// `threads` is 0, or the pool can't be started.
    pub fn new(threads: Option<usize>) -> Result<Self> {
        if threads == Some(0) {
            return Err(Error::new("--threads", "0 threads can't compute").help("give 1 or more"));
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.unwrap_or(0))
            .thread_name(|index| format!("vitrum-{index}"))
            .build()
            .map_err(|error| Error::new("cpu", format!("can't start the thread pool: {error}")))?;
        Ok(Self { pool: Arc::new(pool) })
    }

    /// Size of the pool.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    pub(super) fn description(&self) -> String {
        format!("cpu, {} threads, {}", self.threads(), simd_name())
    }

    pub(super) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }
}

fn simd_name() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return "AVX-512";
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            return "AVX2";
        }
    }
    "portable SIMD"
}

/// What CPU kernels know of the machine.
pub struct CpuExec {
    /// Threads of the pool in which the kernel runs.
    pub workers: usize,
}

/// Zeroed, aligned host memory.
pub struct HostSlab {
    start: NonNull<u8>,
    layout: Layout,
    bytes: usize,
}

// SAFETY: the slab owns its memory like a Box<[u8]>; views of it are made only under a borrow of the store.
unsafe impl Send for HostSlab {}
// SAFETY: shared access only reads: places are written through only by launches, under `&mut Store`.
unsafe impl Sync for HostSlab {}

impl HostSlab {
    fn new(bytes: usize) -> Result<Self> {
        let out_of_memory = || Error::new("cpu", "out of memory").with("bytes", bytes);
        let layout = Layout::from_size_align(bytes.max(1), ALIGNMENT).map_err(|_| out_of_memory())?;
        // SAFETY: the layout's size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(out_of_memory)?;
        Ok(Self { start, layout, bytes })
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The place at `offset`, which the caller has checked against the size.
    pub(super) fn at(&self, offset: usize) -> HostPlace {
        HostPlace(self.start.as_ptr().wrapping_add(offset))
    }

    fn slice(&self, range: Range<usize>) -> Result<&[u8]> {
        // SAFETY: `start` is valid for `bytes` initialised bytes while self lives, and `&self` admits no writer.
        let all = unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) };
        all.get(range.clone()).ok_or_else(|| outside(&range, self.bytes))
    }

    fn slice_mut(&mut self, range: Range<usize>) -> Result<&mut [u8]> {
        let bytes = self.bytes;
        // SAFETY: as in `slice`, and `&mut self` makes this the only view.
        let all = unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), bytes) };
        all.get_mut(range.clone()).ok_or_else(|| outside(&range, bytes))
    }
}

fn elsewhere() -> Error {
    Error::new("cpu", "the memory is another device's")
}

fn outside(range: &Range<usize>, bytes: usize) -> Error {
    Error::new("slab", "the range does not lie in the memory").with("range", format!("{range:?}")).with("slab", bytes)
}

impl Drop for HostSlab {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// An address in a [`HostSlab`].
#[derive(Clone, Copy)]
pub(crate) struct HostPlace(*mut u8);

// SAFETY: an address is plain data; whoever dereferences it holds the launch's borrow of the store.
unsafe impl Send for HostPlace {}
// SAFETY: as above.
unsafe impl Sync for HostPlace {}

impl Memory for Cpu {
    fn alloc(&self, bytes: usize) -> Result<Slab> {
        Ok(Slab::Host(HostSlab::new(bytes)?))
    }

    fn write(&self, slab: &mut Slab, offset: usize, bytes: &[u8]) -> Result<()> {
        let Slab::Host(slab) = slab else { return Err(elsewhere()) };
        slab.slice_mut(offset..offset.saturating_add(bytes.len()))?.copy_from_slice(bytes);
        Ok(())
    }

    fn read(&self, slab: &Slab, offset: usize, bytes: &mut [u8]) -> Result<()> {
        let Slab::Host(slab) = slab else { return Err(elsewhere()) };
        bytes.copy_from_slice(slab.slice(offset..offset.saturating_add(bytes.len()))?);
        Ok(())
    }

    fn fill(&self, slab: &mut Slab, range: Range<usize>, byte: u8) -> Result<()> {
        let Slab::Host(slab) = slab else { return Err(elsewhere()) };
        slab.slice_mut(range)?.fill(byte);
        Ok(())
    }
}

impl<'a> Buf<'a> {
    /// The elements on the host.
    ///
    /// # Errors
    /// `T` is not the element type, or backward reads what `keeps` did not name.
    pub fn host<T: Element>(&self) -> Result<&'a [T]> {
        let place = match self.place {
            Some(Place::Host(place)) => place,
            Some(Place::Cuda(_) | Place::Wgpu(_)) => return Err(elsewhere()),
            None => {
                return Err(Error::new("buffer", "a kernel reads a value that is not kept")
                    .with("value", self.spec)
                    .help("name it in the op's keeps()"));
            }
        };
        is::<T>(self.spec)?;
        // SAFETY: the planner laid the buffer inside its slab (checked by `Slab::place`), aligned to ALIGNMENT; the slab
        // outlives 'a, its bytes are initialised, T is plain data, and no writable buffer of the launch overlaps it.
        Ok(unsafe { std::slice::from_raw_parts(place.0.cast::<T>(), self.spec.elements()) })
    }

    /// Whether the value is there to be read: `false` for an input that [`crate::Keeps`] does not name.
    pub fn is_kept(&self) -> bool {
        self.place.is_some()
    }
}

impl BufMut<'_> {
    /// The elements on the host.
    ///
    /// # Errors
    /// `T` is not the element type.
    pub fn host<T: Element>(&mut self) -> Result<&mut [T]> {
        let Place::Host(place) = self.place else { return Err(elsewhere()) };
        is::<T>(self.spec)?;
        // SAFETY: as for `Buf::host`; no other buffer of the launch overlaps this one (checked when the plan is made), and
        // the borrow of self makes this its only view.
        Ok(unsafe { std::slice::from_raw_parts_mut(place.0.cast::<T>(), self.spec.elements()) })
    }

    /// Working memory as elements of any type: scratch has no element type of its own. Empty where it is not the host's.
    pub fn scratch<T: Element>(&mut self) -> &mut [T] {
        let Place::Host(place) = self.place else { return &mut [] };
        let elements = self.spec.bytes() / size_of::<T>();
        // SAFETY: as for `host`; the bytes are initialised (zeroed at allocation) and T admits every bit pattern.
        unsafe { std::slice::from_raw_parts_mut(place.0.cast::<T>(), elements) }
    }
}

fn is<T: Element>(spec: Spec) -> Result<()> {
    if T::DTYPE == spec.dtype {
        return Ok(());
    }
    Err(Error::new("buffer", format!("a kernel asks for {} elements", T::DTYPE)).with("buffer", spec))
}

pub(super) fn builtin(what: Builtin, target: BufMut, source: Option<Buf>) -> Result<()> {
    real!(target.spec.dtype, "builtin", T => builtin_in::<T>(what, target, source))
}

fn builtin_in<T: Real>(what: Builtin, mut target: BufMut, source: Option<Buf>) -> Result<()> {
    let source = what.source(source)?.map(|source| source.host::<T>()).transpose()?.unwrap_or(&[]);
    let target = target.host::<T>()?;
    match what {
        Builtin::Ones => target.fill(T::ONE),
        Builtin::Zeros => target.fill(T::ZERO),
        Builtin::Copy => each_block(target, source, |target, source| target.copy_from_slice(source)),
        Builtin::Add => each_pair(target, source, |target, source| *target += source),
        Builtin::Multiply => each_pair(target, source, |target, source| *target *= source),
    }
    Ok(())
}

fn each_pair<T: Real>(target: &mut [T], source: &[T], work: impl Fn(&mut T, T) + Sync) {
    each_block(target, source, |target, source| {
        for (target, &source) in target.iter_mut().zip(source) {
            work(target, source);
        }
    });
}

/// Runs `work` on blocks of both slices, on all threads.
fn each_block<T: Real>(target: &mut [T], source: &[T], work: impl Fn(&mut [T], &[T]) + Sync) {
    const BLOCK: usize = 1 << 15;
    target.par_chunks_mut(BLOCK).zip(source.par_chunks(BLOCK)).for_each(|(target, source)| work(target, source));
}
