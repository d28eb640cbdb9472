//! Descent of images in [0, 1]: Adam, on the gradient or on its sign, with total variation and a box.
//!
//! The state lies with the host in f64: a step costs little beside the model's pass, and is the same on every device.

use engine::rng::{Philox, Stream};
use serde::{Deserialize, Serialize};

/// How images descend.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Descent {
    /// Steps.
    pub steps: u32,
    /// Learning rate, in pixels of [0, 1].
    pub lr: f64,
    /// Weight of the total variation.
    pub tv: f64,
    /// Whether Adam sees the gradient's sign only ("Inverting Gradients", 2003.14053).
    pub signed: bool,
    /// Whether the rate falls to a tenth after 3/8, 5/8 and 7/8 of the steps, as there.
    pub decay: bool,
}

impl Descent {
    /// The learning rate of a step.
    pub fn rate(&self, step: u32) -> f64 {
        let passed = [3, 5, 7].iter().filter(|&&part| 8 * u64::from(step) >= part * u64::from(self.steps)).count();
        if self.decay { self.lr * 0.1_f64.powi(i32::try_from(passed).unwrap_or(0)) } else { self.lr }
    }
}

/// Images [n, c, h, w] on their way.
#[derive(Clone, Debug)]
pub struct Images {
    /// Pixels in [0, 1].
    pub pixels: Vec<f64>,
    dims: [usize; 3],
    first: Vec<f64>,
    second: Vec<f64>,
    step: u32,
}

impl Images {
    /// Uniform noise in [0, 1], for each image a function of the seed and its id.
    pub fn noise(seed: u64, ids: &[u32], dims: [usize; 3]) -> Self {
        let philox = Philox::new(seed, 0, Stream::named("privacy.start"));
        let volume: usize = dims.iter().product();
        let pixels: Vec<f64> =
            ids.iter().flat_map(|&id| (0..volume).map(move |i| f64::from(philox.uniform(id, i)))).collect();
        Self { first: vec![0.0; pixels.len()], second: vec![0.0; pixels.len()], pixels, dims, step: 0 }
    }

    /// One step of Adam (betas 0.9 and 0.999, eps 1e-8) against `gradient`, that of the total variation added, then the box.
    pub fn step(&mut self, gradient: &[f64], how: &Descent) {
        let mut gradient = gradient.to_vec();
        let volume: usize = self.dims.iter().product::<usize>().max(1);
        if how.tv != 0.0 {
            for (image, gradient) in self.pixels.chunks_exact(volume).zip(gradient.chunks_exact_mut(volume)) {
                add_variation(image, self.dims, how.tv, gradient);
            }
        }
        let rate = how.rate(self.step);
        self.step += 1;
        let power = i32::try_from(self.step).unwrap_or(i32::MAX);
        let (unbias1, unbias2) = (1.0 - 0.9_f64.powi(power), 1.0 - 0.999_f64.powi(power));
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((pixel, (first, second)), gradient) in self.pixels.iter_mut().zip(moments).zip(gradient) {
            let g = match how.signed {
                true if gradient == 0.0 => 0.0,
                true => gradient.signum(),
                false => gradient,
            };
            *first = 0.9 * *first + 0.1 * g;
            *second = 0.999 * *second + 0.001 * g * g;
            *pixel = (*pixel - rate * (*first / unbias1) / ((*second / unbias2).sqrt() + 1e-8)).clamp(0.0, 1.0);
        }
    }

    /// As the model reads them.
    pub fn f32(&self) -> Vec<f32> {
        self.pixels.iter().map(|&pixel| crate::nullspace::exact::rounded(pixel)).collect()
    }
}

/// Total variation of an image [c, h, w]: the mean absolute difference of neighbours across, plus that of neighbours down.
pub fn variation(image: &[f64], dims: [usize; 3]) -> f64 {
    let mut total = 0.0;
    neighbours(dims, |a, b, share| total += share * (image[b] - image[a]).abs());
    total
}

/// Adds `weight` times the gradient of [`variation`]; 0 where neighbours are equal.
fn add_variation(image: &[f64], dims: [usize; 3], weight: f64, gradient: &mut [f64]) {
    neighbours(dims, |a, b, share| {
        let difference = image[b] - image[a];
        if difference != 0.0 {
            let slope = weight * share * difference.signum();
            gradient[b] += slope;
            gradient[a] -= slope;
        }
    });
}

/// Calls `see` with every pair of neighbours and one over the number of pairs in that direction.
fn neighbours([channels, height, width]: [usize; 3], mut see: impl FnMut(usize, usize, f64)) {
    let share = |pairs: usize| 1.0 / pairs.max(1) as f64;
    let across = share(channels * height * width.saturating_sub(1));
    let down = share(channels * height.saturating_sub(1) * width);
    for at in 0..channels * height * width {
        if at % width + 1 < width {
            see(at, at + 1, across);
        }
        if at / width % height + 1 < height {
            see(at, at + width, down);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOW: Descent = Descent { steps: 8, lr: 0.1, tv: 0.0, signed: false, decay: true };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_gradient_of_the_variation_is_that_of_differences(seed: u64, h in 1_usize..5, w in 1_usize..5) {
            let dims = [2, h, w];
            let image = Images::noise(seed, &[3], dims).pixels;
            let mut gradient = vec![0.0; image.len()];
            add_variation(&image, dims, 0.7, &mut gradient);
            for at in 0..image.len() {
                let moved = |step: f64| {
                    let mut other = image.clone();
                    other[at] += step;
                    variation(&other, dims)
                };
                // Piecewise linear: exact, unless a neighbour lies within the step.
                let slope = 0.7 * (moved(1e-9) - moved(-1e-9)) / 2e-9;
                prop_assert!((slope - gradient[at]).abs() < 1e-5, "{slope} {}", gradient[at]);
            }
        }

        #[test]
        fn images_stay_in_the_box_and_do_not_depend_on_one_another(seed: u64) {
            let dims = [1, 3, 4];
            let how = Descent { tv: 0.1, ..HOW };
            let gradient: Vec<f64> = (0..24).map(|i| f64::from(i) - 11.5).collect();
            let mut both = Images::noise(seed, &[5, 9], dims);
            let mut second = Images::noise(seed, &[9], dims);
            for _ in 0..30 {
                both.step(&gradient, &how);
                second.step(&gradient[12..], &how);
            }
            prop_assert!(both.pixels.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
            prop_assert_eq!(&both.pixels[12..], &second.pixels[..]);
        }
    }

    #[test]
    fn a_quadratic_reaches_its_minimum() {
        for signed in [false, true] {
            let how = Descent { steps: 400, signed, ..HOW };
            let mut images = Images::noise(1, &[0], [1, 2, 2]);
            let target = [0.2, 0.4, -1.0, 0.9];
            for _ in 0..how.steps {
                let gradient: Vec<f64> = images.pixels.iter().zip(target).map(|(p, t)| 2.0 * (p - t)).collect();
                images.step(&gradient, &how);
            }
            let near = images.pixels.iter().zip([0.2, 0.4, 0.0, 0.9]).all(|(p, t)| (p - t).abs() < 5e-3);
            assert!(near, "{:?}", images.pixels);
        }
    }

    #[test]
    fn rates_fall_three_times() {
        let rates: Vec<f64> = (0..8).map(|step| HOW.rate(step)).collect();
        let powers = [0, 0, 0, 1, 1, 2, 2, 3].map(|power| 0.1 * 0.1_f64.powi(power));
        assert_eq!(rates, powers);
        assert_eq!(Descent { decay: false, ..HOW }.rate(7), 0.1);
    }
}
