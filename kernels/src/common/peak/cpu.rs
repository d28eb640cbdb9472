//! The host's processor: multiply-adds on all its threads, copies between memories.

use std::hint::black_box;
use std::time::{Duration, Instant};

use engine::Result;

use super::{Peak, rate};
use crate::common::parallel::{blocks, for_each, for_each_block, threads};
use crate::common::simd::{self, Level, simd};

/// Elements that a copy moves: 256 MiB, beyond any cache.
const COPY: usize = 64 << 20;
/// Elements of a vector, and vectors in flight: enough for two units of four cycles, few enough to stay in registers.
const LANES: usize = 16;
const VECTORS: usize = 10;
/// Multiply-adds of each element in one run.
const ROUNDS: usize = 1 << 16;

/// Measures on every thread of the current pool at once, about `time` for each figure; the best of several runs counts.
pub(super) fn measure(time: Duration) -> Result<Peak> {
    let fused = simd::level() != Level::Portable;
    let multiply = || for_each(threads(), |_| _ = black_box(multiply_adds(black_box(0.999), black_box(0.5), fused)));
    let (from, mut to) = (vec![1.0_f32; COPY], vec![0.0_f32; COPY]);
    let part = COPY.div_ceil(threads());
    let mut copy = || {
        for_each_block(blocks(&mut to, part), |i, to| {
            to.copy_from_slice(black_box(&from[i * part..i * part + to.len()]));
        });
    };
    Ok(Peak {
        flops: rate(2 * LANES * VECTORS * ROUNDS * threads(), time, || timed(multiply))?,
        bytes: rate(8 * COPY, time, || timed(&mut copy))?,
    })
}

fn timed(mut run: impl FnMut()) -> Result<Duration> {
    let start = Instant::now();
    run();
    Ok(start.elapsed())
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
    fn the_loop_computes_what_it_says() {
        // x = x / 2 + 1 tends to 2.
        let sum = multiply_adds(0.5, 1.0, simd::level() != Level::Portable);
        #[expect(clippy::cast_precision_loss, reason = "a small count")]
        let expected = 2.0 * (LANES * VECTORS) as f32;
        assert_eq!(sum, expected);
    }
}
