//! What measurements need of a device: its own time, and caches that hold nothing of use.

use std::time::{Duration, Instant};

use super::{Device, Slab};
use crate::error::Result;

impl Device {
    /// Time that the device takes for what `work` starts, from idle to done: between two events on CUDA, by the host's clock
    /// elsewhere.
    ///
    /// # Errors
    /// Those of `work` and of the device.
    pub fn time(&self, work: impl FnOnce() -> Result<()>) -> Result<Duration> {
        if let Self::Cuda(cuda) = self {
            return cuda.time(work);
        }
        self.finish()?;
        let start = Instant::now();
        work()?;
        self.finish()?;
        Ok(start.elapsed())
    }
}

/// Memory that is overwritten so that nothing else stays in a device's caches.
pub struct Flush {
    device: Device,
    slab: Slab,
}

impl Flush {
    /// At least `least` bytes, and twice the cache. `None` on devices whose caches are not known: the host and wgpu.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(device: &Device, least: usize) -> Result<Option<Self>> {
        let Device::Cuda(cuda) = device else { return Ok(None) };
        let slab = device.memory().alloc(least.max(2 * cuda.report().cache))?;
        Ok(Some(Self { device: device.clone(), slab }))
    }

    /// Its size.
    pub fn bytes(&self) -> usize {
        self.slab.bytes()
    }

    /// Overwrites it, behind all launched work and without waiting.
    ///
    /// # Errors
    /// The device failed.
    pub fn run(&mut self) -> Result<()> {
        let bytes = self.slab.bytes();
        self.device.memory().fill(&mut self.slab, 0..bytes, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_has_time_but_no_cache_to_flush() {
        let device = Device::cpu(Some(1)).unwrap();
        let pause = Duration::from_millis(2);
        let time = device.time(|| {
            std::thread::sleep(pause);
            Ok(())
        });
        assert!(time.unwrap() >= pause);
        assert!(Flush::new(&device, 1 << 10).unwrap().is_none());
    }
}
