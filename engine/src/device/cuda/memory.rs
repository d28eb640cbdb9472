//! Slabs: plain allocations of the driver.

use std::ops::Range;

use cudarc::driver::result;

use super::{Cuda, failed};
use crate::device::{Memory, Slab};
use crate::error::{Error, Result};

/// Device memory.
pub struct CudaSlab {
    cuda: Cuda,
    id: u32,
    start: u64,
    bytes: usize,
}

impl CudaSlab {
    /// One without memory: its addresses count from 0, and nothing is freed.
    pub(in crate::device) fn imagined(cuda: &Cuda, bytes: usize) -> Self {
        Self { cuda: cuda.clone(), id: cuda.new_slab_id(), start: 0, bytes }
    }

    pub(in crate::device) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The place at `offset`, which the caller has checked against the size.
    pub(in crate::device) fn at(&self, offset: usize) -> CudaPlace {
        CudaPlace(self.start.saturating_add(u64::try_from(offset).unwrap_or(u64::MAX)))
    }

    /// A number that no other slab of the device has.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }
}

impl Drop for CudaSlab {
    fn drop(&mut self) {
        if self.start != 0 && self.cuda.bind().is_ok() {
            // SAFETY: nobody else frees it, and the driver waits for the work that uses it. A failure is an earlier one's.
            let _ = unsafe { result::free_sync(self.start) };
        }
    }
}

/// An address in device memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CudaPlace(pub u64);

impl Cuda {
    /// Zeroed memory that belongs to the caller.
    pub(super) fn allocate(&self, bytes: usize) -> Result<u64> {
        self.bind()?;
        let fail = |error| failed("allocating memory", error).with("bytes", bytes);
        // SAFETY: the size is not 0; the caller frees it, or keeps it for the device's life.
        let start = unsafe { result::malloc_sync(bytes) }.map_err(fail)?;
        // SAFETY: the range has just been allocated.
        unsafe { result::memset_d8_async(start, 0, bytes, self.inner.stream.cu_stream()) }.map_err(fail)?;
        Ok(start)
    }

    /// Copies host bytes to an address, behind all launched work.
    pub(super) fn upload(&self, address: u64, data: &[u8]) -> Result<()> {
        self.bind()?;
        // SAFETY: callers have checked the range; the driver has read pageable memory when it returns.
        unsafe { result::memcpy_htod_async(address, data, self.inner.stream.cu_stream()) }
            .map_err(|error| failed("copying to the device", error))
    }

    fn checked(slab: &Slab, offset: usize, count: usize) -> Result<u64> {
        let Slab::Cuda(slab) = slab else { return Err(Error::new("cuda", "the memory is another device's")) };
        if offset.checked_add(count).is_none_or(|end| end > slab.bytes) {
            return Err(Error::new("slab", "the range does not lie in the memory")
                .with("offset", offset)
                .with("bytes", count)
                .with("slab", slab.bytes));
        }
        Ok(slab.at(offset).0)
    }
}

impl Memory for Cuda {
    fn alloc(&self, bytes: usize) -> Result<Slab> {
        let start = if bytes == 0 { 0 } else { self.allocate(bytes)? };
        Ok(Slab::Cuda(CudaSlab { cuda: self.clone(), id: self.new_slab_id(), start, bytes }))
    }

    fn write(&self, slab: &mut Slab, offset: usize, data: &[u8]) -> Result<()> {
        let address = Self::checked(slab, offset, data.len())?;
        if data.is_empty() { Ok(()) } else { self.upload(address, data) }
    }

    fn read(&self, slab: &Slab, offset: usize, out: &mut [u8]) -> Result<()> {
        let address = Self::checked(slab, offset, out.len())?;
        if out.is_empty() {
            return Ok(());
        }
        self.bind()?;
        // SAFETY: the range lies in the slab, and we wait for the copy before `out` is used.
        unsafe { result::memcpy_dtoh_async(out, address, self.inner.stream.cu_stream()) }
            .map_err(|error| failed("reading device memory", error))?;
        self.finish()
    }

    fn fill(&self, slab: &mut Slab, range: Range<usize>, byte: u8) -> Result<()> {
        let address = Self::checked(slab, range.start, range.len())?;
        if range.is_empty() {
            return Ok(());
        }
        self.bind()?;
        // SAFETY: the range lies in the slab.
        unsafe { result::memset_d8_async(address, byte, range.len(), self.inner.stream.cu_stream()) }
            .map_err(|error| failed("filling device memory", error))
    }
}
