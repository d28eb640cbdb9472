//! Separable Gaussian filters, as scipy's `gaussian_filter` computes them to the last bit.

use super::picture::{Draws, Effect, Picture, real, whole};

/// What lies beyond the border.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Border {
    /// The border pixel: `a a | a b c | c c`.
    Nearest,
    /// The image mirrored at its edge: `b a | a b c | c b`.
    Reflect,
}

/// Position inside `0..length` of one that may lie outside, mirrored at the edge of the border pixels.
pub(super) fn reflect(at: isize, length: usize) -> usize {
    let length = length.cast_signed();
    let within = at.rem_euclid(2 * length);
    within.min(2 * length - 1 - within).cast_unsigned()
}

/// As [`reflect`], mirrored at the centre of the border pixels, which are not repeated.
pub(super) fn reflect_101(at: isize, length: usize) -> usize {
    let last = length.cast_signed() - 1;
    if last == 0 {
        return 0;
    }
    let within = at.rem_euclid(2 * last);
    within.min(2 * last - within).cast_unsigned()
}

/// Weights of a Gaussian at distances 0, 1, ...; both sides together sum to 1.
pub(super) struct Gaussian {
    weights: Vec<f64>,
    border: Border,
}

impl Gaussian {
    /// Standard deviation `sigma` pixels, cut at `truncate` of them.
    pub fn new(sigma: f64, truncate: f64, border: Border) -> Self {
        if sigma <= 0.0 {
            return Self { weights: vec![1.0], border };
        }
        let radius = whole(truncate * sigma + 0.5);
        let weight = |distance: usize| libm::exp(-0.5 / (sigma * sigma) * real(distance * distance));
        let mut weights: Vec<f64> = (0..=radius).map(weight).collect();
        let total: f64 = weights.iter().skip(1).rev().chain(&weights).sum();
        weights.iter_mut().for_each(|weight| *weight /= total);
        Self { weights, border }
    }

    /// The filtered plane, columns first.
    pub fn apply(&self, plane: &[f64], size: [usize; 2]) -> Vec<f64> {
        self.along_rows(&self.along_columns(plane, size), size[1])
    }

    /// As [`apply`](Self::apply) for f32: sums in f64, each pass rounded.
    pub fn apply_f32(&self, plane: &[f32], size: [usize; 2]) -> Vec<f32> {
        #[expect(clippy::cast_possible_truncation, reason = "rounded as stored in f32")]
        let round = |values: Vec<f64>| values.into_iter().map(|value| f64::from(value as f32)).collect::<Vec<_>>();
        let wide: Vec<f64> = plane.iter().map(|&value| f64::from(value)).collect();
        let down = round(self.along_columns(&wide, size));
        #[expect(clippy::cast_possible_truncation, reason = "rounded as stored in f32")]
        let narrow = |value: f64| value as f32;
        self.along_rows(&down, size[1]).into_iter().map(narrow).collect()
    }

    /// Taps from the outermost pair inward, after the centre: scipy's order, which truncation makes visible.
    fn pairs(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.weights.iter().copied().enumerate().skip(1).rev()
    }

    fn centre(&self) -> f64 {
        self.weights.first().copied().unwrap_or(1.0)
    }

    fn position(&self, at: isize, length: usize) -> usize {
        match self.border {
            Border::Nearest => at.clamp(0, length.cast_signed() - 1).cast_unsigned(),
            Border::Reflect => reflect(at, length),
        }
    }

    fn along_columns(&self, plane: &[f64], [height, width]: [usize; 2]) -> Vec<f64> {
        let row = |at: isize| {
            let y = self.position(at, height);
            &plane[y * width..(y + 1) * width]
        };
        let mut out: Vec<f64> = plane.iter().map(|value| value * self.centre()).collect();
        for (y, out) in out.chunks_exact_mut(width).enumerate() {
            let y = y.cast_signed();
            for (distance, weight) in self.pairs() {
                let distance = distance.cast_signed();
                for ((out, above), below) in out.iter_mut().zip(row(y - distance)).zip(row(y + distance)) {
                    *out += (above + below) * weight;
                }
            }
        }
        out
    }

    fn along_rows(&self, plane: &[f64], width: usize) -> Vec<f64> {
        let radius = self.weights.len() - 1;
        let positions: Vec<usize> =
            (0..width + 2 * radius).map(|at| self.position(at.cast_signed() - radius.cast_signed(), width)).collect();
        let mut out: Vec<f64> = plane.iter().map(|value| value * self.centre()).collect();
        for (out, row) in out.chunks_exact_mut(width).zip(plane.chunks_exact(width)) {
            let line: Vec<f64> = positions.iter().map(|&at| row[at]).collect();
            for (distance, weight) in self.pairs() {
                let (left, right) = (&line[radius - distance..], &line[radius + distance..]);
                for ((out, left), right) in out.iter_mut().zip(left).zip(right) {
                    *out += (left + right) * weight;
                }
            }
        }
        out
    }
}

/// `gaussian_blur`: constants are sigma.
pub(super) struct GaussianBlur(Gaussian);

impl GaussianBlur {
    pub fn new([sigma]: [f64; 1]) -> Self {
        Self(Gaussian::new(sigma, 4.0, Border::Nearest))
    }
}

impl Effect for GaussianBlur {
    fn apply(&self, picture: &mut Picture, _: &Draws) {
        let values = picture.unit();
        let blurred: Vec<f64> =
            values.chunks_exact(picture.area()).flat_map(|plane| self.0.apply(plane, picture.size)).collect();
        picture.store(&blurred);
    }
}
