//! `zoom_blur`, and the enlargement of the centre that it shares with `snow`.

use super::picture::{Draws, Effect, Picture, real, whole};

/// Enlarges the centre of a plane to the size of the plane: scipy's `zoom` of order 1, then cropped.
pub(super) struct Zoom {
    rows: Vec<Tap>,
    columns: Vec<Tap>,
}

/// Where a value of one axis comes from: two neighbours and their weights, or nothing.
struct Tap {
    from: [usize; 2],
    weights: [f64; 2],
}

impl Zoom {
    /// `factor` is at least 1.
    pub fn new(factor: f64, [height, width]: [usize; 2]) -> Self {
        Self { rows: taps(factor, height), columns: taps(factor, width) }
    }

    /// The enlarged plane.
    pub fn apply(&self, plane: &[f64]) -> Vec<f64> {
        let width = self.columns.len();
        let mut out = Vec::with_capacity(plane.len());
        for row in &self.rows {
            let lines = row.from.map(|y| &plane[y * width..(y + 1) * width]);
            out.extend(self.columns.iter().map(|column| {
                let value =
                    |line: usize, at: usize| lines[line][column.from[at]] * row.weights[line] * column.weights[at];
                value(0, 0) + value(0, 1) + value(1, 0) + value(1, 1)
            }));
        }
        out
    }
}

/// One axis: a centre of `ceil(side / factor)` pixels is stretched by `factor`, and the middle of the result kept.
fn taps(factor: f64, side: usize) -> Vec<Tap> {
    let kept = whole((real(side) / factor).ceil()).clamp(1, side);
    let first = (side - kept) / 2;
    let stretched = whole((real(kept) * factor).round_ties_even()).max(side);
    let trim = (stretched - side) / 2;
    let step = if stretched > 1 { real(kept - 1) / real(stretched - 1) } else { 1.0 };
    let tap = |at: usize| {
        let place = real(at) * step;
        // Rounding may carry the last one beyond the end, where scipy finds nothing.
        if place > real(kept - 1) {
            return Tap { from: [first; 2], weights: [0.0; 2] };
        }
        let low = whole(place);
        let near = 1.0 - (place - real(low));
        Tap { from: [first + low, first + (low + 1).min(kept - 1)], weights: [near, 1.0 - near] }
    };
    (trim..trim + side).map(tap).collect()
}

/// `zoom_blur`: constants are the factor to stop before, and the step from 1 up to it.
pub(super) struct ZoomBlur {
    zooms: Vec<Zoom>,
}

impl ZoomBlur {
    pub fn new([stop, step]: [f64; 2], size: [usize; 2]) -> Self {
        Self { zooms: factors(stop, step).into_iter().map(|factor| Zoom::new(factor, size)).collect() }
    }
}

/// NumPy's `arange(1, stop, step)`, whose length and values rounding decides: 1.06 and 1.11 include the end.
pub(super) fn factors(stop: f64, step: f64) -> Vec<f64> {
    let count = whole(((stop - 1.0) / step).ceil());
    let step = (1.0 + step) - 1.0;
    (0..count).map(|at| 1.0 + real(at) * step).collect()
}

impl Effect for ZoomBlur {
    /// In f32, as the generator.
    fn apply(&self, picture: &mut Picture, _: &Draws) {
        #[expect(clippy::cast_possible_truncation, reason = "the generator works in f32")]
        let narrow = |value: f64| value as f32;
        let image: Vec<f32> = picture.unit().into_iter().map(narrow).collect();
        let wide: Vec<f64> = image.iter().map(|&value| f64::from(value)).collect();
        let mut sums = vec![0.0_f32; image.len()];
        let area = picture.area();
        for zoom in &self.zooms {
            for (sums, plane) in sums.chunks_exact_mut(area).zip(wide.chunks_exact(area)) {
                for (sum, value) in sums.iter_mut().zip(zoom.apply(plane)) {
                    *sum += narrow(value);
                }
            }
        }
        let count = narrow(real(self.zooms.len() + 1));
        let values: Vec<f32> = image.iter().zip(sums).map(|(x, sum)| (x + sum) / count).collect();
        picture.store_f32(&values);
    }
}
