//! `snow` and `fog`.

use engine::rng::Stream;

use super::Scale;
use super::colour::gray;
use super::motion::Motion;
use super::picture::{Draws, Effect, Picture, truncate, unit};
use super::zoom::Zoom;

/// `snow`: constants are mean and deviation of the flakes' noise, their enlargement, the threshold below which there is none,
/// radius and sigma of their motion, and the share of the image that is not whitened.
pub(super) struct Snow {
    mean: f64,
    deviation: f64,
    zoom: Zoom,
    threshold: f64,
    motion: Motion,
    kept: f64,
}

impl Snow {
    pub fn new([mean, deviation, factor, threshold, radius, sigma, kept]: [f64; 7], size: [usize; 2]) -> Self {
        let (zoom, motion) = (Zoom::new(factor, size), Motion::new(radius, sigma));
        Self { mean, deviation, zoom, threshold, motion, kept }
    }

    /// Flakes that fall steeply.
    fn layer(&self, size: [usize; 2], draws: &Draws) -> Vec<f64> {
        let noise = draws.normal(Stream::named("corruption.snow"), size[0] * size[1]);
        let noise: Vec<f64> = noise.into_iter().map(|z| self.mean + self.deviation * z).collect();
        let level = |value: &f64| if *value < self.threshold { 0 } else { truncate(value.min(1.0) * 255.0) };
        let flakes: Vec<u8> = self.zoom.apply(&noise).iter().map(level).collect();
        let degrees = draws.between(Stream::named("corruption.snow.angle"), -135.0, -45.0);
        unit(&self.motion.apply(&flakes, size, degrees))
    }
}

impl Effect for Snow {
    fn apply(&self, picture: &mut Picture, draws: &Draws) {
        let layer = self.layer(picture.size, draws);
        let image = picture.unit_f32();
        let gray = gray(&image, picture.channels);
        #[expect(clippy::cast_possible_truncation, reason = "the generator whitens in f32")]
        let (kept, rest) = (self.kept as f32, (1.0 - self.kept) as f32);
        let whitened = |(&x, gray): (&f32, &f32)| kept * x + rest * x.max(gray * 1.5 + 0.5);
        // Flakes, and the same flakes turned by half a circle.
        let values: Vec<f64> = image
            .chunks_exact(picture.area())
            .flat_map(|plane| plane.iter().zip(&gray).map(whitened).zip(layer.iter().zip(layer.iter().rev())))
            .map(|(x, (flake, turned))| f64::from(x) + flake + turned)
            .collect();
        picture.store(&values);
    }
}

/// `fog`: constants are its strength, and what its roughness is divided by from one scale to the next.
pub(super) struct Fog {
    strength: f64,
    decay: f64,
    side: usize,
}

impl Fog {
    /// The generators' maps have 32 and 256 pixels a side; larger images take the next power of 2.
    pub fn new([strength, decay]: [f64; 2], scale: Scale, [height, width]: [usize; 2]) -> Self {
        let least = if scale == Scale::Cifar { 32 } else { 256 };
        Self { strength, decay, side: height.max(width).next_power_of_two().max(least) }
    }
}

impl Effect for Fog {
    fn apply(&self, picture: &mut Picture, draws: &Draws) {
        let [_, width] = picture.size;
        let noise = draws.uniform(Stream::named("corruption.fog"), self.side * self.side);
        let map = diamond_square(self.side, self.decay, &noise);
        let mut values = picture.unit();
        let most = values.iter().copied().fold(0.0, f64::max);
        for plane in values.chunks_exact_mut(picture.area()) {
            for (line, fog) in plane.chunks_exact_mut(width).zip(map.chunks_exact(self.side)) {
                for (x, fog) in line.iter_mut().zip(fog) {
                    *x = (*x + self.strength * fog) * most / (most + self.strength);
                }
            }
        }
        picture.store(&values);
    }
}

/// A height map [side, side] in [0, 1] on a torus, from a uniform value of [0, 1) for each of its points. `side` is a power of 2.
///
/// Fournier, Fussell and Carpenter, "Computer rendering of stochastic models", 1982: midpoints are the mean of four neighbours
/// plus noise that lessens by `decay` with each halving.
pub(super) fn diamond_square(side: usize, decay: f64, uniform: &[f64]) -> Vec<f64> {
    let mut map = vec![0.0; side * side];
    let (mut step, mut roughness) = (side, 100.0_f64);
    while step >= 2 {
        let half = step / 2;
        // The generator multiplies by the roughness twice.
        let noise = |at: usize| roughness * (-roughness + (roughness - -roughness) * uniform[at]);
        let wrap = |at: usize| at % side;
        let grid = |first: usize| (first..side).step_by(step);
        let back = side - half;
        for (y, x) in grid(half).flat_map(|y| grid(half).map(move |x| (y, x))) {
            let (up, down, left, right) = (y - half, wrap(y + half), x - half, wrap(x + half));
            let at = |y: usize, x: usize| map[y * side + x];
            let sum = (at(up, left) + at(down, left)) + (at(up, right) + at(down, right));
            map[y * side + x] = sum / 4.0 + noise(y * side + x);
        }
        for (first_y, first_x) in [(0, half), (half, 0)] {
            for (y, x) in grid(first_y).flat_map(|y| grid(first_x).map(move |x| (y, x))) {
                let at = |y: usize, x: usize| map[wrap(y) * side + wrap(x)];
                let sum = (at(y + half, x) + at(y + back, x)) + (at(y, x + half) + at(y, x + back));
                map[y * side + x] = sum / 4.0 + noise(y * side + x);
            }
        }
        step = half;
        roughness /= decay;
    }
    let least = map.iter().copied().fold(f64::INFINITY, f64::min);
    let span = map.iter().copied().fold(f64::NEG_INFINITY, f64::max) - least;
    map.iter().map(|height| (height - least) / span).collect()
}

#[cfg(test)]
mod tests {
    use super::super::picture::real;
    use super::*;

    /// By hand, 2 x 2 with u = 1/2 everywhere but one: no noise, then one summit.
    #[test]
    fn the_smallest_map() {
        // Centre: 0 + 100 (-100 + 200 u) = 5000 at u = 3/4; edges: its half from two sides of the torus, noise 0.
        let map = diamond_square(2, 2.0, &[0.5, 0.5, 0.5, 0.75]);
        assert_eq!(map, [0.0, 0.5, 0.5, 1.0]);
    }

    #[test]
    fn roughness_lessens_by_the_decay_and_maps_fill_the_range() {
        let uniform: Vec<f64> = (0..1024_u32)
            .map(|i| f64::from(i.wrapping_mul(i).wrapping_mul(2_654_435_761) >> 16) * (1000.0 / 65_536.0) / 1000.0)
            .collect();
        let rough = |decay: f64| {
            let map = diamond_square(32, decay, &uniform);
            assert!(map.iter().all(|h| (0.0..=1.0).contains(h)) && map.contains(&0.0) && map.contains(&1.0));
            map.windows(2).map(|pair| (pair[0] - pair[1]).abs()).sum::<f64>() / real(map.len())
        };
        assert!(rough(3.0) < rough(2.0) && rough(2.0) < rough(1.4));
    }
}
