//! What a device reaches at most, measured: the yardstick of benches.

mod cpu;
mod gpu;

use std::time::{Duration, Instant};

use engine::{Device, Result};

/// Measured ceilings of a whole device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// f32 FLOP per second of independent multiply-adds in registers, each counting two; fused where the device fuses them.
    pub flops: f64,
    /// Bytes per second, read and written, of copies far larger than the caches.
    pub bytes: f64,
}

/// Measures for about `time` for each figure; the best of several runs counts. `share` divides the work of a run on a GPU, for
/// emulators: on one it is 1.
///
/// # Errors
/// The device failed.
pub fn measure(device: &Device, time: Duration, share: usize) -> Result<Peak> {
    match device {
        Device::Cpu(_) => device.run(|| cpu::measure(time)),
        Device::Cuda(_) | Device::Wgpu(_) => gpu::measure(device, time, share),
    }
}

/// The highest rate of `amount` per run, over as many runs as fit into `time`, at least three; `run` gives its own time.
fn rate(amount: usize, time: Duration, mut run: impl FnMut() -> Result<Duration>) -> Result<f64> {
    let start = Instant::now();
    let mut best = Duration::MAX;
    let mut runs = 0;
    while runs < 3 || start.elapsed() < time {
        best = best.min(run()?);
        runs += 1;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of work")]
    let amount = amount as f64;
    Ok(amount / best.as_secs_f64().max(1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_count_work_over_the_best_time() {
        let mut runs = 0;
        let seconds = |runs: u64| Duration::from_secs(if runs == 2 { 4 } else { 9 });
        let rate = rate(100, Duration::ZERO, || {
            runs += 1;
            Ok(seconds(runs))
        });
        assert_eq!((runs, rate.unwrap()), (3, 25.0));
    }
}
