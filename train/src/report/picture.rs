//! Pictures for a report and for files: images, and perturbations made visible.

use engine::{Error, Result};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

/// A captioned picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// What it is; lines are kept.
    pub caption: String,
    /// The PNG as a data URI.
    pub url: String,
    /// Height and width in pixels.
    pub size: [usize; 2],
}

/// A row of pictures that belong together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Strip {
    /// Heading; empty for none.
    pub title: String,
    /// From left to right.
    pub pictures: Vec<Picture>,
}

impl Strip {
    /// A row without pictures.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), pictures: Vec::new() }
    }

    /// Adds an image `[c, h, w]` in [0, 1], 1 or 3 channels; values beyond are clipped.
    ///
    /// # Errors
    /// As [`png`].
    pub fn image(mut self, image: &[f32], dims: [usize; 3], caption: impl Into<String>) -> Result<Self> {
        let url = format!("data:image/png;base64,{}", base64(&png(image, dims)?));
        let [_, height, width] = dims;
        self.pictures.push(Picture { caption: caption.into(), url, size: [height, width] });
        Ok(self)
    }

    /// Adds the content of a PNG file as it is.
    ///
    /// # Errors
    /// It is no PNG file.
    pub fn file(mut self, png: &[u8], caption: impl Into<String>) -> Result<Self> {
        // Signature, then the first chunk: length, "IHDR", width and height as big-endian u32.
        let side = |at: usize| -> Option<usize> {
            let bytes = png.get(at..at + 4)?.try_into().ok()?;
            usize::try_from(u32::from_be_bytes(bytes)).ok()
        };
        let is_png = png.starts_with(b"\x89PNG\r\n\x1a\n") && png.get(12..16) == Some(b"IHDR");
        let (true, Some(width), Some(height)) = (is_png, side(16), side(20)) else {
            return Err(Error::new("png", "is not a PNG file").with("bytes", png.len()));
        };
        let url = format!("data:image/png;base64,{}", base64(png));
        self.pictures.push(Picture { caption: caption.into(), url, size: [height, width] });
        Ok(self)
    }

    /// Adds a perturbation `[c, h, w]`: grey is 0, and its largest entry reaches black or white. The caption is followed by
    /// the amplification, as in `perturbation (× 16)`.
    ///
    /// # Errors
    /// As [`png`].
    pub fn perturbation(self, noise: &[f32], dims: [usize; 3], caption: impl AsRef<str>) -> Result<Self> {
        let gain = gain(noise);
        let shown: Vec<f32> = noise.iter().map(|v| 0.5 + gain * v).collect();
        self.image(&shown, dims, format!("{} (× {})", caption.as_ref(), round_figure(gain)))
    }

    /// Clean image, perturbation, and their sum: `[c, h, w]` each, with a caption for the first and the last, such as
    /// `cat 98%` and `dog 73%`.
    ///
    /// # Errors
    /// As [`png`].
    pub fn attack(
        title: impl Into<String>,
        clean: &[f32],
        attacked: &[f32],
        dims: [usize; 3],
        captions: [&str; 2],
    ) -> Result<Self> {
        let noise: Vec<f32> = clean.iter().zip(attacked).map(|(a, b)| b - a).collect();
        Self::new(title).image(clean, dims, captions[0])?.perturbation(&noise, dims, "difference")?.image(
            attacked,
            dims,
            captions[1],
        )
    }
}

/// The factor that takes the largest |entry| to one half; 1 where there is none.
fn gain(noise: &[f32]) -> f32 {
    let largest = noise.iter().fold(0.0_f32, |largest, v| largest.max(v.abs()));
    if largest > 0.0 && largest.is_finite() { 0.5 / largest } else { 1.0 }
}

fn round_figure(value: f32) -> String {
    if value >= 9.95 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// A PNG file of an image `[c, h, w]` in [0, 1] with 1 or 3 channels, 8 bits each, rounded to nearest; values beyond are
/// clipped.
///
/// # Errors
/// Another number of channels or of values, an empty image, or a value that is NaN.
pub fn png(image: &[f32], dims: [usize; 3]) -> Result<Vec<u8>> {
    let [channels, height, width] = dims;
    let error = |problem: &str| Error::new("png", problem).with("image [c, h, w]", format!("{dims:?}"));
    let color = match channels {
        1 => ExtendedColorType::L8,
        3 => ExtendedColorType::Rgb8,
        _ => return Err(error("draws images of 1 or 3 channels")),
    };
    let area = height.saturating_mul(width);
    if area == 0 || area.checked_mul(channels) != Some(image.len()) {
        return Err(error("the number of values does not match the shape").with("values", image.len()));
    }
    if let Some(at) = image.iter().position(|v| v.is_nan()) {
        return Err(error("a value is NaN").with("index", at));
    }
    let mut bytes = vec![0; image.len()];
    for (channel, plane) in image.chunks_exact(area).enumerate() {
        for (byte, value) in bytes.iter_mut().skip(channel).step_by(channels).zip(plane) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=255")]
            let level = (value.clamp(0.0, 1.0) * 255.0).round() as u8;
            *byte = level;
        }
    }
    let (Ok(wide), Ok(high)) = (u32::try_from(width), u32::try_from(height)) else {
        return Err(error("a side passes 2^32"));
    };
    let mut file = Vec::new();
    PngEncoder::new(&mut file)
        .write_image(&bytes, wide, high, color)
        .map_err(|e| error(&format!("can't encode: {e}")))?;
    Ok(file)
}

/// Base 64 with padding (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for position in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * position) & 63) as usize];
            text.push(if position <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_equals_the_vectors_of_rfc_4648() {
        let vectors =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
        vectors.into_iter().for_each(|(raw, text)| assert_eq!(base64(raw.as_bytes()), text));
        assert_eq!(base64(&[0xFB, 0xFF, 0xBF]), "+/+/");
    }

    #[test]
    fn png_decodes_to_the_rounded_levels() {
        let values: Vec<f32> = vec![0.0, 1.0, 0.5, 2.0, -1.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8];
        let back = image::load_from_memory(&png(&values, [3, 1, 4]).unwrap()).unwrap().into_rgb8();
        assert_eq!(back.dimensions(), (4, 1));
        // Channel c of pixel x is values[4 c + x].
        assert_eq!(back.get_pixel(0, 0).0, [0, 0, 102]);
        assert_eq!(back.get_pixel(3, 0).0, [255, 77, 204]);
        let image = Strip::new("").image(&values, [3, 1, 4], "a").unwrap();
        assert_eq!(Strip::new("").file(&png(&values, [3, 1, 4]).unwrap(), "a").unwrap(), image);
        assert!(Strip::new("").file(b"\x89PNG\r\n\x1a\n", "a").is_err() && Strip::new("").file(b"GIF", "a").is_err());
        let grey = image::load_from_memory(&png(&[0.5, 1.0], [1, 2, 1]).unwrap()).unwrap();
        assert_eq!(grey.into_luma8().into_raw(), [128, 255]);
    }

    #[test]
    fn bad_images_are_refused_and_perturbations_use_the_whole_range() {
        assert!(png(&[0.0; 8], [2, 2, 2]).is_err());
        assert!(png(&[0.0; 5], [1, 2, 2]).is_err());
        assert!(png(&[], [1, 0, 0]).is_err());
        assert!(png(&[f32::NAN], [1, 1, 1]).is_err());
        let strip = Strip::attack("", &[0.5, 0.5], &[0.5, 0.25], [1, 1, 2], ["a", "b"]).unwrap();
        let captions: Vec<&str> = strip.pictures.iter().map(|picture| picture.caption.as_str()).collect();
        assert_eq!(captions, ["a", "difference (× 2.0)", "b"]);
        assert_eq!(strip.pictures[1].url, Strip::new("").image(&[0.5, 0.0], [1, 1, 2], "").unwrap().pictures[0].url);
        assert!((gain(&[0.0]) - 1.0).abs() < f32::EPSILON);
    }
}
