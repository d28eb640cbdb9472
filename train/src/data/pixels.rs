//! Resizing, cropping and colour conversion of byte images.

use engine::{Error, Result};
use image::imageops::{self, FilterType};
use image::{GrayImage, RgbImage};
use rayon::prelude::*;

use super::memory;

/// Filter of a resize. Both are antialiased when they shrink, as Pillow's are and torch's tensor resize without
/// `antialias` is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Cubic convolution with a = -0.5 (Catmull-Rom).
    #[default]
    Bicubic,
    /// Triangle filter.
    Bilinear,
}

impl Interpolation {
    fn filter(self) -> FilterType {
        match self {
            Self::Bicubic => FilterType::CatmullRom,
            Self::Bilinear => FilterType::Triangle,
        }
    }
}

/// Luma of ITU-R BT.601, as Pillow's mode L and torchvision's `Grayscale` compute it (to rounding).
fn luma(red: u8, green: u8, blue: u8) -> u8 {
    let sum = 299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue);
    u8::try_from((sum + 500) / 1000).unwrap_or(u8::MAX)
}

/// Resizes the shorter side to `floor(size / crop_pct)`, crops the central `size` x `size` (torchvision's `Resize` and
/// `CenterCrop`, which timm's evaluation uses), and writes `[1, size, size]` or `[3, size, size]`: what `out` holds.
pub(super) fn fit(
    image: &RgbImage,
    size: u32,
    crop_pct: f32,
    interpolation: Interpolation,
    out: &mut [u8],
) -> Result<()> {
    let (width, height) = image.dimensions();
    let (shorter, longer) = (width.min(height), width.max(height));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; saturates, checked below")]
    let edge = ((f64::from(size) / f64::from(crop_pct)) as u32).max(size);
    let long = u64::from(edge) * u64::from(longer) / u64::from(shorter.max(1));
    let long = u32::try_from(long).ok().filter(|long| u64::from(*long) * u64::from(edge) <= 1 << 28);
    let (Some(long), true) = (long, shorter > 0) else {
        return Err(Error::new("resize", "the image is too large or too narrow to resize")
            .with("image", format!("{width}x{height}"))
            .with("shorter side", edge));
    };
    let (new_width, new_height) = if width <= height { (edge, long) } else { (long, edge) };
    let resized;
    let source = if (new_width, new_height) == (width, height) {
        image
    } else {
        resized = imageops::resize(image, new_width, new_height, interpolation.filter());
        &resized
    };
    let (left, top) = (centre(new_width, size), centre(new_height, size));
    let cropped = imageops::crop_imm(source, left, top, size, size).to_image();
    write_planes(cropped.pixels().map(|pixel| pixel.0), out, size as usize * size as usize);
    Ok(())
}

/// Start of a central crop; halves round to even, as Python's `round` does.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and whole / 2")]
fn centre(whole: u32, part: u32) -> u32 {
    (f64::from(whole.saturating_sub(part)) / 2.0).round_ties_even() as u32
}

/// Interleaved RGB to planes: three of them, or one of luma.
fn write_planes(pixels: impl Iterator<Item = [u8; 3]>, out: &mut [u8], plane: usize) {
    let gray = out.len() == plane;
    for (position, [red, green, blue]) in pixels.enumerate() {
        if gray {
            if let Some(value) = out.get_mut(position) {
                *value = luma(red, green, blue);
            }
            continue;
        }
        for (channel, byte) in [red, green, blue].into_iter().enumerate() {
            if let Some(value) = out.get_mut(channel * plane + position) {
                *value = byte;
            }
        }
    }
}

/// Converts `[c, h, w]` images to `to`, in parallel: resize without cropping, gray to RGB or RGB to gray.
pub(super) fn convert_all(
    name: &str,
    images: &[&[u8]],
    from: [usize; 3],
    to: [usize; 3],
    interpolation: Interpolation,
) -> Result<Vec<u8>> {
    let volume = to.iter().product();
    let total = memory::check(name, images.len(), volume)?;
    let mut out = vec![0; total];
    out.par_chunks_exact_mut(volume)
        .zip(images.par_iter())
        .try_for_each(|(target, image)| convert(image, from, to, interpolation, target))?;
    Ok(out)
}

fn convert(image: &[u8], from: [usize; 3], to: [usize; 3], interpolation: Interpolation, out: &mut [u8]) -> Result<()> {
    let planes = resize_planes(image, from, [to[1], to[2]], interpolation)?;
    let plane = to[1] * to[2];
    match (from[0], to[0]) {
        (have, want) if have == want => out.copy_from_slice(&planes),
        (1, _) => out.chunks_exact_mut(plane).for_each(|target| target.copy_from_slice(&planes)),
        (3, 1) => {
            let (red, rest) = planes.split_at(plane);
            let (green, blue) = rest.split_at(plane);
            for (((value, &r), &g), &b) in out.iter_mut().zip(red).zip(green).zip(blue) {
                *value = luma(r, g, b);
            }
        }
        (have, want) => {
            return Err(Error::new("convert", "no conversion between these numbers of channels")
                .with("have", have)
                .with("want", want));
        }
    }
    Ok(())
}

fn resize_planes(image: &[u8], from: [usize; 3], to: [usize; 2], interpolation: Interpolation) -> Result<Vec<u8>> {
    let [channels, height, width] = from;
    if [height, width] == to {
        return Ok(image.to_vec());
    }
    let narrow =
        |value: usize| u32::try_from(value).map_err(|_| Error::new("resize", "side too long").with("side", value));
    let [w, h, new_w, new_h] = [narrow(width)?, narrow(height)?, narrow(to[1])?, narrow(to[0])?];
    let mut out = Vec::with_capacity(channels * to[0] * to[1]);
    for plane in image.chunks_exact(height * width) {
        let gray = GrayImage::from_raw(w, h, plane.to_vec()).ok_or_else(|| {
            Error::new("resize", "the image does not fit its shape").with("shape", format!("{from:?}"))
        })?;
        out.extend(imageops::resize(&gray, new_w, new_h, interpolation.filter()).into_raw());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    fn fitted(image: &RgbImage, size: u32, crop_pct: f32, channels: u32, filter: Interpolation) -> Result<Vec<u8>> {
        let mut out = vec![0; (channels * size * size) as usize];
        fit(image, size, crop_pct, filter, &mut out).map(|()| out)
    }

    fn gradient(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            Rgb([u8::try_from(x * 255 / width).unwrap(), u8::try_from(y * 255 / height).unwrap(), 7])
        })
    }

    #[test]
    fn fit_takes_the_centre_and_keeps_channel_planes() {
        // No scaling: 40 x 20 at crop_pct 1 and size 20 keeps columns 10..30.
        let image = gradient(40, 20);
        let out = fitted(&image, 20, 1.0, 3, Interpolation::Bicubic).unwrap();
        for y in 0..20_u32 {
            for x in 0..20_u32 {
                let at = (y * 20 + x) as usize;
                assert_eq!([out[at], out[400 + at], out[800 + at]], image.get_pixel(x + 10, y).0);
            }
        }
        let gray = fitted(&image, 20, 1.0, 1, Interpolation::Bicubic).unwrap();
        let Rgb([r, g, b]) = *image.get_pixel(13, 5);
        assert_eq!(gray[5 * 20 + 3], luma(r, g, b));
    }

    #[test]
    fn an_extreme_aspect_ratio_is_an_error_and_not_a_memory_bomb() {
        let thin = RgbImage::new(60_000, 1);
        assert!(fitted(&thin, 224, 0.9, 3, Interpolation::Bilinear).unwrap_err().to_string().contains("60000x1"));
        assert!(fitted(&RgbImage::new(0, 0), 8, 0.9, 3, Interpolation::Bilinear).is_err());
    }

    proptest::proptest! {
        #[test]
        fn a_constant_image_stays_constant(width in 1_u32..50, height in 1_u32..50, size in 1_u32..40, value: u8, cubic: bool) {
            let image = RgbImage::from_pixel(width, height, Rgb([value; 3]));
            let filter = if cubic { Interpolation::Bicubic } else { Interpolation::Bilinear };
            let out = fitted(&image, size, 0.875, 3, filter).unwrap();
            proptest::prop_assert_eq!(out.len(), 3 * (size * size) as usize);
            proptest::prop_assert!(out.iter().all(|&byte| byte.abs_diff(value) <= 1), "{:?} from {}", out, value);
            let side = size as usize;
            let gray = convert_all("x", &[&out], [3, side, side], [1, 9, 9], filter).unwrap();
            proptest::prop_assert!(gray.iter().all(|&byte| byte.abs_diff(value) <= 2));
        }
    }

    #[test]
    fn luma_of_gray_is_itself_and_gray_repeats() {
        assert!((0..=255).all(|v| luma(v, v, v) == v));
        assert_eq!(luma(255, 0, 0), 76);
        let rgb = convert_all("x", &[&[1, 2, 3, 4]], [1, 2, 2], [3, 2, 2], Interpolation::Bicubic).unwrap();
        assert_eq!(rgb, [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]);
    }
}
