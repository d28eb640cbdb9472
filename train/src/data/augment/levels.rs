//! An image in 8-bit levels, which Pillow's operations are defined on.

use super::super::pixels::Interpolation;

/// Levels of 0..=255, `[c, h, w]`, c being 1 or 3.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Levels {
    now: Vec<u8>,
    before: Vec<u8>,
    dims: [usize; 3],
}

impl Levels {
    /// Takes an image in [0, 1]: each value becomes the nearest level, a half the upper one.
    pub fn load(&mut self, image: &[f32], dims: [usize; 3]) {
        self.dims = dims;
        self.now.clear();
        self.now.extend(image.iter().map(|value| truncate(value * 255.0 + 0.5)));
    }

    /// Writes the image back as a reader would give it: levels over 255.
    pub fn store(&self, image: &mut [f32]) {
        for (value, &level) in image.iter_mut().zip(&self.now) {
            *value = f32::from(level) / 255.0;
        }
    }

    #[cfg(test)]
    pub fn values(&self) -> &[u8] {
        &self.now
    }

    /// `[height, width]`.
    pub fn size(&self) -> [usize; 2] {
        [self.dims[1], self.dims[2]]
    }

    fn area(&self) -> usize {
        (self.dims[1] * self.dims[2]).max(1)
    }

    /// Sends the levels of each channel through a table that `table` makes of the channel's histogram.
    pub fn map(&mut self, table: impl Fn(&[u32; 256]) -> [u8; 256]) {
        let area = self.area();
        for plane in self.now.chunks_exact_mut(area) {
            let table = table(&histogram(plane));
            plane.iter_mut().for_each(|level| *level = at(&table, *level));
        }
    }

    /// Luma of each pixel, as Pillow converts to its mode L; gray images are their own.
    pub fn luma(&self) -> Vec<u8> {
        let mut planes = self.now.chunks_exact(self.area());
        let (Some(red), Some(green), Some(blue)) = (planes.next(), planes.next(), planes.next()) else {
            return self.now.clone();
        };
        // 16-bit fixed point, where the readers' luma rounds the exact sum: the bits of Pillow decide here.
        let luma = |((&r, &g), &b): ((&u8, &u8), &u8)| {
            let sum = 19_595 * u32::from(r) + 38_470 * u32::from(g) + 7_471 * u32::from(b);
            u8::try_from((sum + 0x8000) >> 16).unwrap_or(u8::MAX)
        };
        red.iter().zip(green).zip(blue).map(luma).collect()
    }

    /// `other + factor (level - other)` in f32, clipped and truncated, `other` being a value of each pixel or of each level:
    /// Pillow's `Image.blend`.
    pub fn blend<'a>(&mut self, factor: f32, other: impl Iterator<Item = &'a u8>) {
        for (level, &other) in self.now.iter_mut().zip(other) {
            let other = f32::from(other);
            *level = truncate(other + factor * (f32::from(*level) - other));
        }
    }

    /// Blends with the same plane for each channel.
    pub fn blend_plane(&mut self, factor: f32, plane: &[u8]) {
        self.blend(factor, plane.iter().cycle());
    }

    /// Pillow's filter `SMOOTH`: weight 5 in the middle of 3 x 3 weights of 1; the border stays.
    pub fn smoothed(&self) -> Vec<u8> {
        let [height, width] = self.size();
        let mut smooth = self.now.clone();
        for (plane, target) in self.now.chunks_exact(self.area()).zip(smooth.chunks_exact_mut(self.area())) {
            for y in 1..height.saturating_sub(1) {
                for x in 1..width.saturating_sub(1) {
                    let middle = y * width + x;
                    let row = |from: usize| plane.get(from..from + 3).unwrap_or_default().iter();
                    let around = row(middle - width - 1).chain(row(middle - 1)).chain(row(middle + width - 1));
                    let sum = around.map(|&level| u32::from(level)).sum::<u32>();
                    if let Some(level) = target.get_mut(middle) {
                        // Halves don't occur among thirteenths, so whole numbers round as Pillow's floats do.
                        let sum = sum + 4 * u32::from(*level);
                        *level = u8::try_from((2 * sum + 13) / 26).unwrap_or(u8::MAX);
                    }
                }
            }
        }
        smooth
    }

    /// Takes the pixel at (x, y) from `matrix` (x, y, 1), and `fill` where that is outside: Pillow's affine transform.
    pub fn warp(&mut self, matrix: [f64; 6], filter: Interpolation, fill: &[u8]) {
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.clear();
        self.now.resize(self.before.len(), 0);
        let (area, [height, width]) = (self.area(), self.size());
        let [a, b, c, d, e, f] = matrix;
        for position in 0..height * width {
            let (x, y) = (real(position % width) + 0.5, real(position / width) + 0.5);
            let from = [a * x + b * y + c, d * x + e * y + f];
            let inside = (0.0..real(width)).contains(&from[0]) && (0.0..real(height)).contains(&from[1]);
            let taps = inside.then(|| Taps::new(from, filter, [height, width]));
            let planes = self.before.chunks_exact(area).zip(self.now.chunks_exact_mut(area)).zip(fill);
            for ((plane, target), &fill) in planes {
                if let Some(level) = target.get_mut(position) {
                    *level = taps.as_ref().map_or(fill, |taps| taps.value(plane));
                }
            }
        }
    }
}

fn histogram(plane: &[u8]) -> [u32; 256] {
    let mut counts = [0; 256];
    for &level in plane {
        if let Some(count) = counts.get_mut(usize::from(level)) {
            *count += 1;
        }
    }
    counts
}

fn at(table: &[u8; 256], level: u8) -> u8 {
    table.get(usize::from(level)).copied().unwrap_or(level)
}

/// The level at or below a value.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "Pillow truncates; it saturates")]
fn truncate(value: f32) -> u8 {
    value as u8
}

/// A side or a position as a number: far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "sides and positions in pixels")]
pub(super) fn real(value: usize) -> f64 {
    value as f64
}

/// The neighbours of a point that a filter reads, two or four each way, and how far the point lies past the second last but
/// one of them.
struct Taps {
    filter: Interpolation,
    columns: [usize; 4],
    rows: [usize; 4], // starts of rows in a plane
    past: [f64; 2],
}

impl Taps {
    fn new([x, y]: [f64; 2], filter: Interpolation, [height, width]: [usize; 2]) -> Self {
        let (columns, right) = neighbours(x, filter, width);
        let (rows, down) = neighbours(y, filter, height);
        Self { filter, columns, rows: rows.map(|row| row * width), past: [right, down] }
    }

    fn value(&self, plane: &[u8]) -> u8 {
        let along = |&row: &usize| {
            let level = |column: usize| f64::from(plane.get(row + column).copied().unwrap_or(0));
            self.combine(self.columns.map(level), self.past[0])
        };
        let [first, second, third, fourth] = &self.rows;
        let values = match self.filter {
            Interpolation::Bilinear => [along(first), along(second), 0.0, 0.0],
            Interpolation::Bicubic => [along(first), along(second), along(third), along(fourth)],
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "Pillow truncates; it saturates")]
        let level = self.combine(values, self.past[1]) as u8;
        level
    }

    /// The order of operations is Pillow's: its results are truncated, so that a last bit can be a level.
    fn combine(&self, [a, b, c, d]: [f64; 4], past: f64) -> f64 {
        match self.filter {
            Interpolation::Bilinear => a + (b - a) * past,
            Interpolation::Bicubic => {
                let (slope, curve, cube) = (-a + c, 2.0 * (a - b) + c - d, -a + b - c + d);
                b + past * (slope + past * (curve + past * cube))
            }
        }
    }
}

/// Positions beyond the border are those at it.
fn neighbours(at: f64, filter: Interpolation, side: usize) -> ([usize; 4], f64) {
    let centred = at - 0.5;
    let low = centred.floor();
    let first = match filter {
        Interpolation::Bilinear => low,
        Interpolation::Bicubic => low - 1.0,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the side")]
    let position = |step: f64| ((first + step).max(0.0) as usize).min(side - 1);
    ([0.0, 1.0, 2.0, 3.0].map(position), centred - low)
}
