//! Where a crop lies, and what it becomes at the size of the image.

use engine::rng::Philox;

/// Elements of the crop's stream: two for pad and crop, one for the flip, then four per try of the resized crop.
const CROP_ELEMENT: usize = 4;
const CROP_TRIES: usize = 10;

pub(super) fn copy_to(scratch: &mut Vec<f32>, image: &[f32]) {
    scratch.clear();
    scratch.extend_from_slice(image);
}

/// `image(y, x) = source(y + down - pad, x + right - pad)`, 0 outside.
pub(super) fn shift_with_zeros(
    source: &[f32],
    image: &mut [f32],
    dims: [usize; 3],
    pad: usize,
    [down, right]: [usize; 2],
) {
    let [_, height, width] = dims;
    for (plane, target) in source.chunks_exact(height * width).zip(image.chunks_exact_mut(height * width)) {
        for (y, row) in target.chunks_exact_mut(width).enumerate() {
            let from = (y + down).checked_sub(pad).filter(|&from| from < height);
            let from = from.and_then(|from| plane.get(from * width..(from + 1) * width));
            for (x, value) in row.iter_mut().enumerate() {
                let column = (x + right).checked_sub(pad);
                *value = from.zip(column).and_then(|(row, column)| row.get(column)).copied().unwrap_or(0.0);
            }
        }
    }
}

/// Part of an image, pixels.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Crop {
    pub top: usize,
    pub left: usize,
    pub height: usize,
    pub width: usize,
}

/// Draws area and aspect ratio until the crop fits; after ten tries the largest central crop of allowed ratio.
pub(super) fn resized_crop(draw: &Philox, id: u32, [height, width]: [usize; 2], (low, high): (f32, f32)) -> Crop {
    const LOG_RATIO: f64 = 0.287_682_072_451_780_9; // ln(4/3)
    #[expect(clippy::cast_precision_loss, reason = "sides in pixels")]
    let (h, w) = (height as f64, width as f64);
    let between = |element, low: f64, high: f64| low + (high - low) * f64::from(draw.uniform(id, element));
    let position = |element, room: usize| draw.below(id, element, u32::try_from(room + 1).unwrap_or(u32::MAX)) as usize;
    for attempt in 0..CROP_TRIES {
        let element = CROP_ELEMENT * (attempt + 1);
        let area = h * w * between(element, f64::from(low), f64::from(high));
        let ratio = libm::exp(between(element + 1, -LOG_RATIO, LOG_RATIO));
        let (crop_width, crop_height) = (side((area * ratio).sqrt()), side((area / ratio).sqrt()));
        if (1..=width).contains(&crop_width) && (1..=height).contains(&crop_height) {
            let top = position(element + 2, height - crop_height);
            let left = position(element + 3, width - crop_width);
            return Crop { top, left, height: crop_height, width: crop_width };
        }
    }
    let ratio = w / h;
    let crop_height = if ratio < 0.75 { side(w / 0.75).min(height) } else { height };
    let crop_width = if ratio > 4.0 / 3.0 { side(h * 4.0 / 3.0).min(width) } else { width };
    Crop { top: (height - crop_height) / 2, left: (width - crop_width) / 2, height: crop_height, width: crop_width }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive side in pixels")]
fn side(length: f64) -> usize {
    length.round() as usize
}

/// Bilinear, pixel centres at halves, edges repeated. A crop is never larger than the image, so nothing shrinks and no
/// antialiasing is due.
pub(super) fn resize(source: &[f32], image: &mut [f32], dims: [usize; 3], crop: Crop) {
    let [_, height, width] = dims;
    let (rows, columns) = (taps(crop.top, crop.height, height), taps(crop.left, crop.width, width));
    for (plane, target) in source.chunks_exact(height * width).zip(image.chunks_exact_mut(height * width)) {
        let value = |y: usize, x: usize| plane.get(y * width + x).copied().unwrap_or(0.0);
        for (out_row, &(y0, y1, down)) in target.chunks_exact_mut(width).zip(&rows) {
            for (out, &(x0, x1, right)) in out_row.iter_mut().zip(&columns) {
                let top = value(y0, x0) + (value(y0, x1) - value(y0, x0)) * right;
                let bottom = value(y1, x0) + (value(y1, x1) - value(y1, x0)) * right;
                *out = top + (bottom - top) * down;
            }
        }
    }
}

/// For each of `out` positions the two source positions and the weight of the second.
fn taps(start: usize, length: usize, out: usize) -> Vec<(usize, usize, f32)> {
    #[expect(clippy::cast_precision_loss, reason = "sides in pixels")]
    let scale = length as f32 / out as f32;
    let last = length.saturating_sub(1);
    let tap = |position: usize| {
        #[expect(clippy::cast_precision_loss, reason = "sides in pixels")]
        let at = ((position as f32 + 0.5) * scale - 0.5).clamp(0.0, last as f32);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and last")]
        let low = at as usize;
        #[expect(clippy::cast_precision_loss, reason = "sides in pixels")]
        let weight = at - low as f32;
        (start + low, start + (low + 1).min(last), weight)
    };
    (0..out).map(tap).collect()
}
