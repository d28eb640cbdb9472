//! What this machine reaches at most, measured: the yardstick of benches.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::parallel::{blocks, for_each, for_each_block, threads};
use super::simd::{self, Level, simd};

/// Measured ceilings of all threads of a pool together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// f32 FLOP per second of independent multiply-adds in registers, each counting two; fused where the machine fuses them.
    pub flops: f64,
    /// Bytes per second, read and written, of copies far larger than the caches.
    pub bytes: f64,
}

/// Elements that a copy moves: 256 MiB, beyond any cache.
const COPY: usize = 64 << 20;
/// Elements of a vector, and vectors in flight: enough for two units of four cycles, few enough to stay in registers.
const LANES: usize = 16;
const VECTORS: usize = 10;
/// Multiply-adds of each element in one run.
const ROUNDS: usize = 1 << 16;

/// Measures on every thread of the current pool at once, about `time` for each figure; the best of several runs counts.
pub fn measure(time: Duration) -> Peak {
    let fused = simd::level() != Level::Portable;
    let multiply = || for_each(threads(), |_| _ = black_box(multiply_adds(black_box(0.999), black_box(0.5), fused)));
    let (from, mut to) = (vec![1.0_f32; COPY], vec![0.0_f32; COPY]);
    let part = COPY.div_ceil(threads());
    let copy = || {
        for_each_block(blocks(&mut to, part), |i, to| {
            to.copy_from_slice(black_box(&from[i * part..i * part + to.len()]));
        });
    };
    Peak { flops: rate(2 * LANES * VECTORS * ROUNDS * threads(), time, multiply), bytes: rate(8 * COPY, time, copy) }
}

/// The highest rate of `amount` per run, over as many runs as fit into `time`, at least three.
fn rate(amount: usize, time: Duration, mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 3 || start.elapsed() < time {
        let begin = Instant::now();
        run();
        best = best.min(begin.elapsed().as_secs_f64());
        runs += 1;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of work")]
    let amount = amount as f64;
    amount / best.max(1e-9)
}

simd! {
    /// [`ROUNDS`] dependent steps x = x a + b of [`VECTORS`] independent vectors; the sum, so that nothing is left out.
    fn multiply_adds(a: f32, b: f32, fused: bool) -> f32 {
        let mut x = [[1.0_f32; LANES]; VECTORS];
        if fused {
            for _ in 0..ROUNDS {
                for vector in &mut x {
                    for lane in vector {
                        *lane = lane.mul_add(a, b);
                    }
                }
            }
        } else {
            for _ in 0..ROUNDS {
                for vector in &mut x {
                    for lane in vector {
                        *lane = *lane * a + b;
                    }
                }
            }
        }
        x.iter().flatten().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_computes_what_it_says_and_rates_count_work_over_the_best_time() {
        // x = x / 2 + 1 tends to 2.
        let sum = multiply_adds(0.5, 1.0, simd::level() != Level::Portable);
        #[expect(clippy::cast_precision_loss, reason = "a small count")]
        let expected = 2.0 * (LANES * VECTORS) as f32;
        assert_eq!(sum, expected);
        let mut runs = 0;
        let rate = rate(100, Duration::ZERO, || runs += 1);
        assert!(runs == 3 && rate > 0.0 && rate.is_finite());
    }
}
