//! `motion_blur`: ImageMagick's MotionBlur, by its formula.

use engine::rng::Stream;

use super::picture::{Draws, Effect, Picture, real, truncate, whole};

/// A one-sided Gaussian along a line: constants are radius and sigma.
pub(super) struct Motion {
    weights: Vec<f64>,
}

impl Motion {
    pub fn new(radius: f64, sigma: f64) -> Self {
        let width = 2 * whole(radius) + 1;
        let mut weights: Vec<f64> = (0..width).map(|at| libm::exp(-real(at * at) / (2.0 * sigma * sigma))).collect();
        let total: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= total);
        Self { weights }
    }

    /// The plane blurred in the direction of `degrees`, rounded to levels as ImageMagick does; the border pixel continues
    /// outward.
    pub fn apply(&self, plane: &[u8], [height, width]: [usize; 2], degrees: f64) -> Vec<u8> {
        let (sin, cos) = libm::sincos(degrees.to_radians());
        let inside = |at: usize, by: isize, length: usize| at.saturating_add_signed(by).min(length - 1);
        let mut sums = vec![0.0; plane.len()];
        for (at, weight) in self.weights.iter().enumerate() {
            #[expect(clippy::cast_possible_truncation, reason = "at most 40 pixels")]
            let offset = |share: f64| (real(at) * share - 0.5).ceil() as isize;
            let (dy, dx) = (offset(sin), offset(cos));
            let columns: Vec<usize> = (0..width).map(|x| inside(x, dx, width)).collect();
            for (y, sums) in sums.chunks_exact_mut(width).enumerate() {
                let from = inside(y, dy, height) * width;
                let row = &plane[from..from + width];
                for (sum, &x) in sums.iter_mut().zip(&columns) {
                    *sum += weight * f64::from(row[x]);
                }
            }
        }
        sums.into_iter().map(|sum| truncate(sum + 0.5)).collect()
    }
}

/// `motion_blur`: a direction within 45 degrees of the horizontal.
pub(super) struct MotionBlur(Motion);

impl MotionBlur {
    pub fn new([radius, sigma]: [f64; 2]) -> Self {
        Self(Motion::new(radius, sigma))
    }
}

impl Effect for MotionBlur {
    fn apply(&self, picture: &mut Picture, draws: &Draws) {
        let degrees = draws.between(Stream::named("corruption.motion_blur"), -45.0, 45.0);
        let size = picture.size;
        picture.change_planes(|plane| self.0.apply(plane, size, degrees));
    }
}
