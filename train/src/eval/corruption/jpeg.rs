//! What JPEG of some quality leaves of an image: libjpeg's compression and decompression, to the last bit.
//!
//! ITU-T T.81 with the tables of its annex K, scaled by quality as libjpeg scales them; YCbCr with chroma halved in both
//! directions (4:2:0); "slow integer" transforms; chroma enlarged by a triangle filter ("fancy upsampling"). These are the
//! defaults of libjpeg-turbo and so of Pillow. Entropy coding loses nothing and is left out.

use super::dct;
use super::picture::{Draws, Effect, Picture};

/// Quantisation of luma at quality 50, row by row.
const LUMA: [u16; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, //
    12, 12, 14, 19, 26, 58, 60, 55, //
    14, 13, 16, 24, 40, 57, 69, 56, //
    14, 17, 22, 29, 51, 87, 80, 62, //
    18, 22, 37, 56, 68, 109, 103, 77, //
    24, 35, 55, 64, 81, 104, 113, 92, //
    49, 64, 78, 87, 103, 121, 120, 101, //
    72, 92, 95, 98, 112, 100, 103, 99,
];

/// Quantisation of chroma at quality 50.
const CHROMA: [u16; 64] = [
    17, 18, 24, 47, 99, 99, 99, 99, //
    18, 21, 26, 66, 99, 99, 99, 99, //
    24, 26, 56, 99, 99, 99, 99, 99, //
    47, 66, 99, 99, 99, 99, 99, 99, //
    99, 99, 99, 99, 99, 99, 99, 99, //
    99, 99, 99, 99, 99, 99, 99, 99, //
    99, 99, 99, 99, 99, 99, 99, 99, //
    99, 99, 99, 99, 99, 99, 99, 99,
];

/// `jpeg_compression`: constants are the quality.
pub(super) struct Jpeg {
    luma: [i32; 64],
    chroma: [i32; 64],
}

impl Jpeg {
    /// `quality` in 1..=100.
    pub fn new(quality: u32) -> Self {
        let quality = quality.clamp(1, 100);
        let percent = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
        let scaled =
            |table: [u16; 64]| table.map(|step| ((u32::from(step) * percent + 50) / 100).clamp(1, 255).cast_signed());
        Self { luma: scaled(LUMA), chroma: scaled(CHROMA) }
    }

    /// A plane of chroma, halved and quantised.
    fn chroma(&self, plane: &[u8], size: [usize; 2]) -> Vec<u8> {
        let [height, width] = size.map(|side| side.div_ceil(2));
        let whole = [height, width.next_multiple_of(8)];
        let plane = quantised(&halve(plane, size, whole), whole, &self.chroma);
        plane.chunks_exact(whole[1]).flat_map(|row| &row[..width]).copied().collect()
    }
}

impl Effect for Jpeg {
    fn apply(&self, picture: &mut Picture, _: &Draws) {
        let size = picture.size;
        if picture.channels == 1 {
            return picture.change_planes(|plane| quantised(plane, size, &self.luma));
        }
        let [y, cb, cr] = to_ycc(picture);
        let y = quantised(&y, size, &self.luma);
        let [cb, cr] = [cb, cr].map(|plane| enlarge(&self.chroma(&plane, size), size));
        from_ycc(picture, [&y, &cb, &cr]);
    }
}

/// Fraction bits of the colour matrices.
const MATRIX: u32 = 16;

const fn fixed(value: f64) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "constants below 2")]
    let rounded = (value * 65536.0 + 0.5) as i32;
    rounded
}

fn level(value: i32) -> u8 {
    u8::try_from(value.clamp(0, 255)).unwrap_or(0)
}

fn to_ycc(picture: &Picture) -> [Vec<u8>; 3] {
    let planes: Vec<&[u8]> = picture.planes().collect();
    let half = 1 << (MATRIX - 1);
    // Chroma is rounded a hair down, so that 255.5 stays a byte.
    let chroma = (128 << MATRIX) + half - 1;
    let row = |r: i32, g: i32, b: i32, offset: i32| {
        let pixels = planes[0].iter().zip(planes[1]).zip(planes[2]);
        let value = |((&red, &green), &blue): ((&u8, &u8), &u8)| {
            level((r * i32::from(red) + g * i32::from(green) + b * i32::from(blue) + offset) >> MATRIX)
        };
        pixels.map(value).collect()
    };
    [
        row(fixed(0.299), fixed(0.587), fixed(0.114), half),
        row(-fixed(0.168_735_892), -fixed(0.331_264_108), fixed(0.5), chroma),
        row(fixed(0.5), -fixed(0.418_687_589), -fixed(0.081_312_411), chroma),
    ]
}

fn from_ycc(picture: &mut Picture, [y, cb, cr]: [&[u8]; 3]) {
    let area = picture.area();
    let half = 1 << (MATRIX - 1);
    for at in 0..area {
        let luma = i32::from(y[at]);
        let (b, r) = (i32::from(cb[at]) - 128, i32::from(cr[at]) - 128);
        let green = (-fixed(0.344_14) * b - fixed(0.714_14) * r + half) >> MATRIX;
        picture.levels[at] = level(luma + ((fixed(1.402) * r + half) >> MATRIX));
        picture.levels[area + at] = level(luma + green);
        picture.levels[2 * area + at] = level(luma + ((fixed(1.772) * b + half) >> MATRIX));
    }
}

/// Means of 2 x 2 pixels, rounded up and down in turns. Rows are filled to whole blocks here, by the image's last pixels:
/// means of these are not what repeating the last mean would give.
fn halve(plane: &[u8], [height, width]: [usize; 2], [to_height, to_width]: [usize; 2]) -> Vec<u8> {
    let value = |y: usize, x: usize| u16::from(plane[y.min(height - 1) * width + x.min(width - 1)]);
    let mean = |y: usize, x: usize| {
        let sum: u16 = [(0, 0), (0, 1), (1, 0), (1, 1)].iter().map(|(dy, dx)| value(2 * y + dy, 2 * x + dx)).sum();
        let bias = if x.is_multiple_of(2) { 1 } else { 2 };
        u8::try_from((sum + bias) >> 2).unwrap_or(u8::MAX)
    };
    (0..to_height).flat_map(|y| (0..to_width).map(move |x| (y, x))).map(|(y, x)| mean(y, x)).collect()
}

/// Twice the size: each pixel is 9/16 of the nearest, 3/16 of the two beside it and 1/16 of the one across.
fn enlarge(plane: &[u8], [to_height, to_width]: [usize; 2]) -> Vec<u8> {
    let [height, width] = [to_height, to_width].map(|side| side.div_ceil(2));
    if width <= 2 {
        // libjpeg repeats pixels of so narrow a plane.
        return (0..to_height * to_width).map(|at| plane[at / to_width / 2 * width + at % to_width / 2]).collect();
    }
    let mut out = Vec::with_capacity(to_height * to_width);
    for y in 0..to_height {
        let near = y / 2;
        let far = if y.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(height - 1) };
        let column = |x: usize| 3 * u16::from(plane[near * width + x]) + u16::from(plane[far * width + x]);
        let value = |x: usize| {
            let near = x / 2;
            let (far, bias) =
                if x.is_multiple_of(2) { (near.saturating_sub(1), 8) } else { ((near + 1).min(width - 1), 7) };
            u8::try_from((3 * column(near) + column(far) + bias) >> 4).unwrap_or(u8::MAX)
        };
        out.extend((0..to_width).map(value));
    }
    out
}

/// A plane after transform, quantisation and back; blocks that reach beyond the border repeat its pixels.
fn quantised(plane: &[u8], [height, width]: [usize; 2], steps: &[i32; 64]) -> Vec<u8> {
    let mut out = vec![0; plane.len()];
    for (top, left) in (0..height).step_by(8).flat_map(|top| (0..width).step_by(8).map(move |left| (top, left))) {
        let mut block = std::array::from_fn(|at| {
            let (y, x) = ((top + at / 8).min(height - 1), (left + at % 8).min(width - 1));
            i32::from(plane[y * width + x]) - 128
        });
        dct::forward(&mut block);
        for (value, step) in block.iter_mut().zip(steps) {
            // The transform's factor of 8 leaves with the division; halves go away from 0.
            let divisor = 8 * step;
            *value = (value.abs() + divisor / 2) / divisor * value.signum() * step;
        }
        dct::inverse(&mut block);
        for y in top..(top + 8).min(height) {
            for x in left..(left + 8).min(width) {
                out[y * width + x] = level(block[(y - top) * 8 + x - left] + 128);
            }
        }
    }
    out
}
