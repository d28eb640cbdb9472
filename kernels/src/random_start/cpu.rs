//! Samples over the threads.

use engine::rng::Philox;
use engine::{Result, UpdateIo};

use super::{RandomStart, Start};
use crate::common::attack::into_box;
use crate::common::flat::{scalar_at, sum_squares};
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};
use crate::common::random::{Law, fill, philox};
use crate::common::simd::simd;
use crate::common::specs::per_sample_elements;

pub(super) fn run<T: Float>(update: &RandomStart, io: UpdateIo) -> Result<()> {
    let width = per_sample_elements(&io.inputs[0].spec());
    let (x, ids) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<u32>()?);
    let eps = scalar_at::<T>(&io.inputs[2], 0)?;
    let philox = philox(io.inputs[3], update.stream)?;
    let Some(delta) = io.state.first_mut() else { return Ok(()) };
    for_each_block(blocks(delta.host::<T>()?, width), |sample, delta| {
        let factor = draw(update.start, philox, ids[sample], eps, delta);
        scale(delta, factor, &x[sample * width..(sample + 1) * width]);
    });
    Ok(())
}

/// Draws the direction of one sample's perturbation and returns its length.
fn draw<T: Float>(start: Start, philox: Philox, id: u32, eps: T, delta: &mut [T]) -> T {
    let normal = Law::Normal { mean: 0.0, std: 1.0 };
    match start {
        Start::Zero => {
            delta.fill(T::ZERO);
            T::ONE
        }
        Start::Uniform => {
            fill(philox, Law::Uniform { low: -1.0, width: 2.0 }, id, 0, delta);
            eps
        }
        Start::Normal(std) => {
            fill(philox, normal, id, 0, delta);
            T::from_f32(std)
        }
        Start::L2 => {
            fill(philox, normal, id, 0, delta);
            let norm = sum_squares(delta).sqrt();
            let radius = eps.to_f64() * f64::from(philox.uniform(id, delta.len()));
            if norm > 0.0 { T::from_f64(radius / norm) } else { T::ZERO }
        }
    }
}

simd! {
    fn scale<T: Float>(delta: &mut [T], factor: T, x: &[T]) {
        for (delta, &x) in delta.iter_mut().zip(x) {
            *delta = into_box(factor * *delta, x);
        }
    }
}
