//! `elastic_transform`.
//!
//! Simard, Steinkraus and Platt, "Best practices for convolutional neural networks applied to visual document analysis", ICDAR 2003.

use engine::rng::Stream;
use engine::{Error, Result};

use super::filter::{Border, Gaussian, reflect, reflect_101};
use super::picture::{Draws, Effect, Picture, real};

/// Constants are the factor of the displacement, the deviation that smooths it, and the reach of the affine map's points.
pub(super) struct Elastic {
    factor: f64,
    smooth: Gaussian,
    reach: f64,
    points: [[f64; 2]; 3], // x, y, in f32 as there
}

impl Elastic {
    /// # Errors
    /// An image of fewer than 3 pixels a side: the map's three points coincide.
    pub fn new([factor, sigma, reach]: [f64; 3], [height, width]: [usize; 2]) -> Result<Self> {
        let arm = height.min(width) / 3;
        if arm == 0 {
            return Err(Error::new("elastic_transform", "the image must have at least 3 pixels a side"));
        }
        // The generator takes the height for x here; its images are square.
        let (x, y, arm) = (real(height / 2), real(width / 2), real(arm));
        let points = [[x + arm, y + arm], [x + arm, y - arm], [x - arm, y - arm]];
        Ok(Self { factor, smooth: Gaussian::new(sigma, 3.0, Border::Reflect), reach, points })
    }

    /// The inverse of an affine map that moves three points by up to `reach` pixels: rows of x, y and 1.
    fn affine(&self, draws: &Draws) -> [[f64; 3]; 2] {
        let shifts = draws.uniform(Stream::named("corruption.elastic_transform.affine"), 6);
        let moved = |at: usize, axis: usize| {
            let shift = -self.reach + (self.reach - -self.reach) * shifts[2 * at + axis];
            #[expect(clippy::cast_possible_truncation, reason = "the generator keeps points in f32")]
            let point = self.points[at][axis] as f32 + shift as f32;
            f64::from(point)
        };
        let to: [[f64; 2]; 3] = std::array::from_fn(|at| [moved(at, 0), moved(at, 1)]);
        invert(between(self.points, to))
    }

    /// Displacement of each pixel along one axis.
    fn displacement(&self, size: [usize; 2], draws: &Draws, stream: Stream) -> Vec<f64> {
        let noise: Vec<f64> =
            draws.uniform(stream, size[0] * size[1]).iter().map(|u| -1.0 + (1.0 - -1.0) * u).collect();
        #[expect(clippy::cast_possible_truncation, reason = "the generator keeps displacements in f32")]
        let scaled = |value: &f64| f64::from((value * self.factor) as f32);
        self.smooth.apply(&noise, size).iter().map(scaled).collect()
    }
}

/// The affine map of three points to three others.
fn between(from: [[f64; 2]; 3], to: [[f64; 2]; 3]) -> [[f64; 3]; 2] {
    let [origin, first, second] = from;
    let (a, b) = ([first[0] - origin[0], first[1] - origin[1]], [second[0] - origin[0], second[1] - origin[1]]);
    let determinant = a[0] * b[1] - a[1] * b[0];
    std::array::from_fn(|axis| {
        let (along_a, along_b) = (to[1][axis] - to[0][axis], to[2][axis] - to[0][axis]);
        let x = (along_a * b[1] - along_b * a[1]) / determinant;
        let y = (along_b * a[0] - along_a * b[0]) / determinant;
        [x, y, to[0][axis] - x * origin[0] - y * origin[1]]
    })
}

fn invert([[a, b, x], [c, d, y]]: [[f64; 3]; 2]) -> [[f64; 3]; 2] {
    let determinant = a * d - b * c;
    // Points that a draw of probability 0 put on one line: the image shrinks to a point.
    let scale = if determinant == 0.0 { 0.0 } else { 1.0 / determinant };
    let (p, q, r, s) = (d * scale, -b * scale, -c * scale, a * scale);
    [[p, q, -p * x - q * y], [r, s, -r * x - s * y]]
}

/// OpenCV's `warpAffine`: bilinear between pixels, at positions rounded to 1/32 of one.
fn warp(plane: &[f32], [height, width]: [usize; 2], inverse: [[f64; 3]; 2]) -> Vec<f32> {
    const ONE: f64 = 1024.0;
    #[expect(clippy::cast_possible_truncation, reason = "positions near the image, in 1/1024 pixels; it saturates")]
    let fixed = |value: f64| (value * ONE).round_ties_even() as i32;
    let mut out = Vec::with_capacity(plane.len());
    for y in 0..height {
        let start = inverse.map(|[_, slope, offset]| fixed(slope * real(y) + offset).saturating_add(16));
        for x in 0..width {
            let [at_x, at_y] = [0, 1].map(|axis| start[axis].saturating_add(fixed(inverse[axis][0] * real(x))) >> 5);
            let share = |at: i32| f32::from(u8::try_from(at & 31).unwrap_or(0)) / 32.0;
            let (right, down) = (share(at_x), share(at_y));
            let value = |dy: i32, dx: i32| {
                let (y, x) = (((at_y >> 5) + dy) as isize, ((at_x >> 5) + dx) as isize);
                plane[reflect_101(y, height) * width + reflect_101(x, width)]
            };
            out.push(
                value(0, 0) * ((1.0 - down) * (1.0 - right))
                    + value(0, 1) * ((1.0 - down) * right)
                    + value(1, 0) * (down * (1.0 - right))
                    + value(1, 1) * (down * right),
            );
        }
    }
    out
}

/// scipy's `map_coordinates` of order 1, mirrored at the edge.
fn sample(plane: &[f32], [height, width]: [usize; 2], y: f64, x: f64) -> f64 {
    let axis = |place: f64, length: usize| {
        let place = mirrored(place, length);
        let low = place.floor();
        let near = 1.0 - (place - low);
        #[expect(clippy::cast_possible_truncation, reason = "within the image or one pixel beside it")]
        let low = low as isize;
        [(reflect(low, length), near), (reflect(low + 1, length), 1.0 - near)]
    };
    let columns = axis(x, width);
    let mut sum = 0.0;
    for (y, down) in axis(y, height) {
        for (x, right) in columns {
            sum += f64::from(plane[y * width + x]) * down * right;
        }
    }
    sum
}

/// A coordinate brought into the image, or into the half-open pixel before it.
fn mirrored(place: f64, length: usize) -> f64 {
    let (last, length) = (real(length - 1), real(length));
    let period = 2.0 * length;
    if place < 0.0 {
        let place = if place < -period { period * (-place / period).trunc() + place } else { place };
        return if place < -length { place + period } else { -place - 1.0 };
    }
    if place <= last {
        return place;
    }
    let place = place - period * (place / period).trunc();
    if place >= length { period - place - 1.0 } else { place }
}

impl Effect for Elastic {
    fn apply(&self, picture: &mut Picture, draws: &Draws) {
        let (size, [_, width]) = (picture.size, picture.size);
        let inverse = self.affine(draws);
        let dx = self.displacement(size, draws, Stream::named("corruption.elastic_transform.x"));
        let dy = self.displacement(size, draws, Stream::named("corruption.elastic_transform.y"));
        let mut values = Vec::with_capacity(picture.levels.len());
        for plane in picture.unit_f32().chunks_exact(picture.area()) {
            let warped = warp(plane, size, inverse);
            let moved = dx.iter().zip(&dy).enumerate().map(|(at, (dx, dy))| {
                #[expect(clippy::cast_possible_truncation, reason = "the generator keeps the image in f32")]
                let value = sample(&warped, size, real(at / width) + dy, real(at % width) + dx) as f32;
                value
            });
            values.extend(moved);
        }
        picture.store_f32(&values);
    }
}
