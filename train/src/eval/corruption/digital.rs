//! `brightness`, `contrast`, `saturate` and `pixelate`.

use super::colour::{to_hsv, to_rgb};
use super::picture::{Draws, Effect, Picture, real, whole};

/// `brightness`: constants are what V rises by.
pub(super) struct Brightness {
    by: f64,
}

impl Brightness {
    pub fn new([by]: [f64; 1]) -> Self {
        Self { by }
    }
}

impl Effect for Brightness {
    fn apply(&self, picture: &mut Picture, _: &Draws) {
        let mut values = picture.unit();
        if picture.channels == 1 {
            values.iter_mut().for_each(|x| *x += self.by); // gray: V is the level itself
        } else {
            recolour(&mut values, |[hue, saturation, v]| [hue, saturation, (v + self.by).clamp(0.0, 1.0)]);
        }
        picture.store(&values);
    }
}

/// `saturate`: constants are factor and offset of S.
pub(super) struct Saturate {
    factor: f64,
    offset: f64,
}

impl Saturate {
    pub fn new([factor, offset]: [f64; 2]) -> Self {
        Self { factor, offset }
    }
}

impl Effect for Saturate {
    fn apply(&self, picture: &mut Picture, _: &Draws) {
        if picture.channels == 1 {
            return;
        }
        let mut values = picture.unit();
        recolour(&mut values, |[hue, s, v]| [hue, (s * self.factor + self.offset).clamp(0.0, 1.0), v]);
        picture.store(&values);
    }
}

/// Changes each pixel of `[3, h, w]` in HSV.
fn recolour(values: &mut [f64], change: impl Fn([f64; 3]) -> [f64; 3]) {
    let area = values.len() / 3;
    let (red, rest) = values.split_at_mut(area);
    let (green, blue) = rest.split_at_mut(area);
    for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
        [*r, *g, *b] = to_rgb(change(to_hsv([*r, *g, *b])));
    }
}

/// `contrast`: constants are the factor.
pub(super) struct Contrast {
    factor: f64,
}

impl Contrast {
    pub fn new([factor]: [f64; 1]) -> Self {
        Self { factor }
    }
}

impl Effect for Contrast {
    fn apply(&self, picture: &mut Picture, _: &Draws) {
        let mut values = picture.unit();
        for plane in values.chunks_exact_mut(picture.area()) {
            let mean = plane.iter().sum::<f64>() / real(plane.len());
            plane.iter_mut().for_each(|x| *x = (*x - mean) * self.factor + mean);
        }
        picture.store(&values);
    }
}

/// `pixelate`: constants are the share of the sides.
pub(super) struct Pixelate {
    share: f64,
}

impl Pixelate {
    pub fn new([share]: [f64; 1]) -> Self {
        Self { share }
    }
}

impl Effect for Pixelate {
    fn apply(&self, picture: &mut Picture, _: &Draws) {
        let size = picture.size;
        let small = size.map(|side| whole(real(side) * self.share).max(1));
        picture.change_planes(|plane| box_resize(&box_resize(plane, size, small), small, size));
    }
}

/// Pillow's `resize` with `BOX` on 8-bit pixels: rows first, then columns, rounded to 8 bits after each.
fn box_resize(plane: &[u8], [height, width]: [usize; 2], [to_height, to_width]: [usize; 2]) -> Vec<u8> {
    let rows = box_weights(width, to_width);
    let wide: Vec<u8> = (0..height * to_width)
        .map(|at| {
            let (start, weights) = &rows[at % to_width];
            weighted(plane.iter().skip(at / to_width * width + start), weights)
        })
        .collect();
    let columns = box_weights(height, to_height);
    let pixel = |at: usize| {
        let (start, weights) = &columns[at / to_width];
        weighted(wide.iter().skip(start * to_width + at % to_width).step_by(to_width), weights)
    };
    (0..to_height * to_width).map(pixel).collect()
}

/// Fraction bits of the fixed-point weights.
const WEIGHT_BITS: u32 = 22;

fn weighted<'a>(pixels: impl Iterator<Item = &'a u8>, weights: &[u32]) -> u8 {
    let sum: u32 = pixels.zip(weights).map(|(&pixel, weight)| u32::from(pixel) * weight).sum();
    u8::try_from((sum + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS).unwrap_or(u8::MAX)
}

/// For each output pixel: the first input pixel, and the fixed-point weights from there on. Pixels whose centre lies in the box
/// weigh alike: there is no partial coverage.
fn box_weights(from: usize, to: usize) -> Vec<(usize, Vec<u32>)> {
    let scale = real(from) / real(to);
    let wide = scale.max(1.0);
    let weights_of = |out: usize| {
        let centre = (real(out) + 0.5) * scale;
        let start = whole(centre - 0.5 * wide + 0.5);
        let end = whole(centre + 0.5 * wide + 0.5).min(from);
        let inside = |at: usize| {
            let offset = (real(at) - centre + 0.5) * (1.0 / wide);
            offset > -0.5 && offset <= 0.5
        };
        let count = (start..end).filter(|&at| inside(at)).count();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 2^22")]
        let one = (0.5 + 1.0 / real(count) * f64::from(1_u32 << WEIGHT_BITS)) as u32;
        (start, (start..end).map(|at| if inside(at) { one } else { 0 }).collect())
    };
    (0..to).map(weights_of).collect()
}
