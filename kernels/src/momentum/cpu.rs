//! Samples over the threads.

use engine::{Error, Result, UpdateIo};

use super::NAME;
use crate::common::flat::scalar_at;
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};
use crate::common::simd::simd;
use crate::common::specs::per_sample_elements;

pub(super) fn run<T: Float>(io: UpdateIo) -> Result<()> {
    let width = per_sample_elements(&io.inputs[0].spec());
    let (g, decay) = (io.inputs[0].host::<T>()?, scalar_at::<T>(&io.inputs[1], 0)?);
    let [velocity] = io.state else { return Err(Error::new(NAME, "needs one state")) };
    for_each_block(blocks(velocity.host::<T>()?, width), |sample, velocity| {
        let g = &g[sample * width..][..width];
        let mean = sum_abs(g) / T::from_usize(width).to_f64();
        if mean > 0.0 && mean.is_finite() {
            add(velocity, g, decay, mean);
        } else {
            velocity.iter_mut().for_each(|velocity| *velocity = decay * *velocity);
        }
    });
    Ok(())
}

simd! {
    fn sum_abs<T: Float>(x: &[T]) -> f64 {
        let mut lanes = [0.0_f64; 32];
        let mut parts = x.chunks_exact(lanes.len());
        for part in &mut parts {
            for (lane, &x) in lanes.iter_mut().zip(part) {
                *lane += x.to_f64().abs();
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(parts.remainder()) {
            *lane += x.to_f64().abs();
        }
        lanes.iter().sum()
    }

    // Divided in f64: of tiny gradients, neither the mean's reciprocal nor the mean need be a normal f32.
    fn add<T: Float>(velocity: &mut [T], g: &[T], decay: T, mean: f64) {
        for (velocity, &g) in velocity.iter_mut().zip(g) {
            *velocity = decay * *velocity + T::from_f64(g.to_f64() / mean);
        }
    }
}
