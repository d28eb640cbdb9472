//! Samples over the threads.

use engine::{Forward, Result};

use super::ProjectConflict;
use crate::common::flat::sum_squares;
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};
use crate::common::simd::simd;
use crate::common::specs::per_sample_elements;

pub(super) fn forward<T: Float>(op: &ProjectConflict, mut io: Forward) -> Result<()> {
    let width = per_sample_elements(&io.output.spec());
    let (sum, g, h) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?, io.inputs[2].host::<T>()?);
    let weight = T::from_f32(op.weight);
    for_each_block(blocks(io.output.host::<T>()?, width), |sample, y| {
        let at = sample * width..(sample + 1) * width;
        let (sum, g, h) = (&sum[at.clone()], &g[at.clone()], &h[at]);
        let c = T::from_f64(op.coefficient(product(g, h), sum_squares(g)));
        add(sum, g, h, weight, c, y);
    });
    Ok(())
}

simd! {
    fn product<T: Float>(x: &[T], y: &[T]) -> f64 {
        let mut lanes = [0.0_f64; 32];
        let (mut xs, mut ys) = (x.chunks_exact(lanes.len()), y.chunks_exact(lanes.len()));
        for (x, y) in (&mut xs).zip(&mut ys) {
            for ((lane, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
                *lane += x.to_f64() * y.to_f64();
            }
        }
        for ((lane, &x), &y) in lanes.iter_mut().zip(xs.remainder()).zip(ys.remainder()) {
            *lane += x.to_f64() * y.to_f64();
        }
        lanes.iter().sum()
    }

    fn add<T: Float>(sum: &[T], g: &[T], h: &[T], weight: T, c: T, y: &mut [T]) {
        for (((y, &sum), &g), &h) in y.iter_mut().zip(sum).zip(g).zip(h) {
            *y = sum + weight * (h - c * g);
        }
    }
}
