//! Slabs as buffers; pooled reads.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use wgpu::{BufferDescriptor, BufferUsages};

use super::{ALIGNMENT, Gpu, lock};
use crate::device::{Memory, Slab};
use crate::error::{Error, Result};

/// Host sizes are wide enough for every buffer.
pub(super) fn bytes(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Device memory.
pub struct WgpuSlab {
    gpu: Gpu,
    id: u32,
    bytes: usize,
}

impl WgpuSlab {
    /// One without memory: no buffer has its number.
    pub(in crate::device) fn imagined(gpu: &Gpu, bytes: usize) -> Self {
        Self { gpu: gpu.clone(), id: u32::MAX, bytes }
    }

    pub(in crate::device) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The place at `offset`, which the caller has checked against the size.
    pub(in crate::device) fn at(&self, offset: usize) -> WgpuPlace {
        WgpuPlace { slab: self.id, offset: bytes(offset) }
    }

    /// A number that no other slab of the device has.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }
}

impl Drop for WgpuSlab {
    fn drop(&mut self) {
        if let Some(buffer) = lock(&self.gpu.inner.slabs).remove(&self.id) {
            // Recordings of other plans may still hold it: they are recorded anew before they run again.
            buffer.destroy();
        }
    }
}

/// A place in a [`WgpuSlab`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct WgpuPlace {
    pub slab: u32,
    pub offset: u64,
}

impl Gpu {
    pub(super) fn slab(&self, id: u32) -> Result<wgpu::Buffer> {
        let buffer = lock(&self.inner.slabs).get(&id).cloned();
        buffer.ok_or_else(|| Error::new("wgpu", "the memory of a buffer is gone").with("slab", id))
    }

    /// The slab of a constant table: equal tables share one.
    pub(super) fn constant(&self, data: Vec<u8>) -> Result<u32> {
        let mut constants = lock(&self.inner.constants);
        if let Some(&id) = constants.get(&data) {
            return Ok(id);
        }
        let id = self.new_slab(bytes(data.len().max(1).next_multiple_of(ALIGNMENT)))?;
        self.inner.queue.write_buffer(&self.slab(id)?, 0, &data);
        constants.insert(data, id);
        Ok(id)
    }

    /// The number of a new buffer of zeros.
    fn new_slab(&self, size: u64) -> Result<u32> {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let descriptor = BufferDescriptor { label: Some("slab"), size, usage, mapped_at_creation: false };
        let buffer = self
            .guarded("a slab", || self.inner.device.create_buffer(&descriptor))
            .map_err(|error| error.with("bytes", size))?;
        let id = self.inner.next_slab.fetch_add(1, Ordering::Relaxed);
        lock(&self.inner.slabs).insert(id, buffer);
        Ok(id)
    }

    fn checked(slab: &Slab, offset: usize, count: usize) -> Result<&WgpuSlab> {
        let Slab::Wgpu(slab) = slab else { return Err(Error::new("wgpu", "the memory is another device's")) };
        let end = offset.checked_add(count).filter(|&end| end <= slab.bytes);
        if end.is_none() || !offset.is_multiple_of(4) || !count.is_multiple_of(4) {
            return Err(Error::new("slab", "the range does not lie in the memory, or not on whole words")
                .with("offset", offset)
                .with("bytes", count)
                .with("slab", slab.bytes));
        }
        Ok(slab)
    }

    /// A mappable buffer of at least `size` bytes, from the pool where there is one.
    fn staging(&self, size: u64) -> wgpu::Buffer {
        let mut pool = lock(&self.inner.staging);
        let fits = pool.iter().enumerate().filter(|(_, buffer)| buffer.size() >= size).min_by_key(|(_, b)| b.size());
        match fits.map(|(at, _)| at) {
            Some(at) => pool.swap_remove(at),
            None => self.inner.device.create_buffer(&BufferDescriptor {
                label: Some("staging"),
                size: size.next_power_of_two(),
                usage: BufferUsages::COPY_DST | BufferUsages::MAP_READ,
                mapped_at_creation: false,
            }),
        }
    }

    /// Copies what lies in `buffer` from `offset` on to the host, after all submitted work.
    pub(super) fn read_buffer(&self, buffer: &wgpu::Buffer, offset: u64, out: &mut [u8]) -> Result<()> {
        let size = bytes(out.len());
        let staging = self.staging(size);
        let mut encoder = self.inner.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, offset, &staging, 0, size);
        self.submit(encoder.finish())?;
        let slice = staging.slice(..size);
        let (sender, receiver) = channel();
        slice.map_async(wgpu::MapMode::Read, move |outcome| {
            // The receiver waits below: it is gone only where waiting failed.
            drop(sender.send(outcome));
        });
        let fail = |problem: String| Error::new("wgpu", format!("reading device memory failed: {problem}"));
        // Another thread's wait may have taken the answer along and be about to deliver it.
        let outcome = loop {
            self.wait(None)?;
            match receiver.recv_timeout(Duration::from_millis(100)) {
                Err(RecvTimeoutError::Timeout) => {}
                answered => break answered,
            }
        };
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(fail(error.to_string())),
            Err(error) => return Err(fail(error.to_string())),
        }
        {
            let view = slice.get_mapped_range().map_err(|error| fail(error.to_string()))?;
            out.copy_from_slice(&view);
        }
        staging.unmap();
        lock(&self.inner.staging).push(staging);
        self.inner.health.check()
    }
}

impl Memory for Gpu {
    fn alloc(&self, count: usize) -> Result<Slab> {
        self.inner.health.check()?;
        let size = bytes(count.max(1).next_multiple_of(ALIGNMENT));
        if size > self.inner.caps.max_buffer {
            return Err(Error::new("wgpu", "the adapter allows no buffer of this size")
                .with("bytes", size)
                .with("limit", self.inner.caps.max_buffer)
                .help("take a smaller batch or model")
                .too_large());
        }
        Ok(Slab::Wgpu(WgpuSlab { gpu: self.clone(), id: self.new_slab(size)?, bytes: count }))
    }

    fn write(&self, slab: &mut Slab, offset: usize, data: &[u8]) -> Result<()> {
        let slab = Self::checked(slab, offset, data.len())?;
        self.inner.queue.write_buffer(&self.slab(slab.id)?, bytes(offset), data);
        self.inner.health.check()
    }

    fn read(&self, slab: &Slab, offset: usize, out: &mut [u8]) -> Result<()> {
        let slab = Self::checked(slab, offset, out.len())?;
        if out.is_empty() {
            return Ok(());
        }
        self.read_buffer(&self.slab(slab.id)?, bytes(offset), out)
    }

    fn fill(&self, slab: &mut Slab, range: Range<usize>, byte: u8) -> Result<()> {
        let data = vec![byte; range.len()];
        self.write(slab, range.start, &data)
    }
}
