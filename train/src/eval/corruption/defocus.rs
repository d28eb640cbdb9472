//! `defocus_blur`.

use super::filter::reflect_101;
use super::picture::{Draws, Effect, Picture, whole};

/// A correlation kernel, as its taps that are not 0. Constants are radius and the deviation that softens the edge.
pub(super) struct Defocus {
    taps: Vec<(isize, isize, f64)>, // dy, dx, weight
}

impl Defocus {
    pub fn new([radius, soft]: [f64; 2]) -> Self {
        // Small disks lie in a field of 17 x 17, larger ones in the smallest that holds them; so do OpenCV's kernel sizes differ.
        let (reach, soft_reach) = if radius <= 8.0 { (8, 1) } else { (whole(radius).cast_signed(), 2) };
        let side = 2 * reach.cast_unsigned() + 1;
        let offsets = || (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dy, dx)));
        #[expect(clippy::cast_precision_loss, reason = "at most 200")]
        let inside = |(dy, dx): (isize, isize)| (dy * dy + dx * dx) as f64 <= radius * radius;
        let disk: Vec<f32> = offsets().map(|at| if inside(at) { 1.0 } else { 0.0 }).collect();
        let total: f32 = disk.iter().sum();
        let disk: Vec<f32> = disk.iter().map(|value| value / total).collect();
        let kernel = soften(&disk, side, soft, soft_reach);
        let taps = offsets().zip(kernel).filter(|&(_, weight)| weight != 0.0);
        Self { taps: taps.map(|((dy, dx), weight)| (dy, dx, f64::from(weight))).collect() }
    }
}

/// OpenCV's `GaussianBlur` of a square f32 plane: rows first, in f32, mirrored at the centre of the border pixels.
fn soften(plane: &[f32], side: usize, sigma: f64, reach: isize) -> Vec<f32> {
    #[expect(clippy::cast_precision_loss, reason = "at most 2")]
    let weight = |distance: isize| libm::exp(-0.5 / (sigma * sigma) * (distance * distance) as f64);
    let total: f64 = (-reach..=reach).map(weight).sum();
    #[expect(clippy::cast_possible_truncation, reason = "the kernel is stored in f32")]
    let weights: Vec<f32> = (0..=reach).map(|distance| (weight(distance) / total) as f32).collect();
    let pass = |plane: &[f32], step: usize| -> Vec<f32> {
        let sum = |at: usize| {
            let place = at / step % side;
            let value = |place: usize, to: usize| plane[at + to * step - place * step];
            let centre = value(place, place) * weights[0];
            weights.iter().enumerate().skip(1).fold(centre, |sum, (distance, weight)| {
                let (place, distance) = (place.cast_signed(), distance.cast_signed());
                let mirrored = |to: isize| value(place.cast_unsigned(), reflect_101(to, side));
                sum + (mirrored(place - distance) + mirrored(place + distance)) * weight
            })
        };
        (0..plane.len()).map(sum).collect()
    };
    pass(&pass(plane, 1), side)
}

impl Effect for Defocus {
    fn apply(&self, picture: &mut Picture, _: &Draws) {
        let [height, width] = picture.size;
        let values = picture.unit();
        let mut out = vec![0.0; values.len()];
        for (out, plane) in out.chunks_exact_mut(height * width).zip(values.chunks_exact(height * width)) {
            for (y, out) in out.chunks_exact_mut(width).enumerate() {
                for &(dy, dx, weight) in &self.taps {
                    let from = reflect_101(y.cast_signed() + dy, height) * width;
                    add_shifted(out, &plane[from..from + width], dx, weight);
                }
            }
        }
        picture.store(&out);
    }
}

/// `out[x] += weight * row[x + dx]`, mirrored at both ends.
fn add_shifted(out: &mut [f64], row: &[f64], dx: isize, weight: f64) {
    let width = row.len();
    let (skip, start) = (dx.min(0).unsigned_abs().min(width), dx.max(0).cast_unsigned().min(width));
    let inner = width.saturating_sub(skip.max(start));
    for (out, value) in out.iter_mut().skip(skip).zip(row.iter().skip(start)).take(inner) {
        *out += weight * value;
    }
    for x in (0..skip).chain(skip + inner..width) {
        out[x] += weight * row[reflect_101(x.cast_signed() + dx, width)];
    }
}
