//! `spatter`: water at the milder severities, mud at the others.

use engine::rng::Stream;

use super::colour::gray;
use super::edges::{around, canny, distances, equalise};
use super::filter::{Border, Gaussian};
use super::picture::{Draws, Effect, Picture, truncate};

/// Constants are mean and deviation of the liquid's noise, the deviation that smooths it, the threshold below which there is none,
/// the water's strength or the deviation that smooths the mud, and 0 for water or 1 for mud.
pub(super) struct Spatter {
    mean: f64,
    deviation: f64,
    smooth: Gaussian,
    threshold: f64,
    liquid: Liquid,
}

enum Liquid {
    Water { strength: f64 },
    Mud { smooth: Gaussian },
}

impl Spatter {
    pub fn new([mean, deviation, sigma, threshold, last, kind]: [f64; 6]) -> Self {
        let gaussian = |sigma: f64| Gaussian::new(sigma, 4.0, Border::Nearest);
        let liquid =
            if kind == 0.0 { Liquid::Water { strength: last } } else { Liquid::Mud { smooth: gaussian(last) } };
        Self { mean, deviation, smooth: gaussian(sigma), threshold, liquid }
    }
}

impl Effect for Spatter {
    fn apply(&self, picture: &mut Picture, draws: &Draws) {
        let noise = draws.normal(Stream::named("corruption.spatter"), picture.area());
        let noise: Vec<f64> = noise.into_iter().map(|z| self.mean + self.deviation * z).collect();
        let layer = self.smooth.apply(&noise, picture.size);
        match &self.liquid {
            Liquid::Water { strength } => {
                // Beyond 255, four deviations out, the generator's cast is undefined; here it saturates.
                let layer: Vec<u8> =
                    layer.iter().map(|&x| if x < self.threshold { 0 } else { truncate(x * 255.0) }).collect();
                water(picture, &layer, *strength);
            }
            Liquid::Mud { smooth } => {
                let wet: Vec<f32> = layer.iter().map(|&x| if x > self.threshold { 1.0 } else { 0.0 }).collect();
                mud(picture, &smooth.apply_f32(&wet, picture.size));
            }
        }
    }
}

/// Pale turquoise, brighter where the liquid is thick and far from its edges, lit from the upper left.
fn water(picture: &mut Picture, layer: &[u8], strength: f64) {
    let size = picture.size;
    let edge = canny(layer, size, 50, 150);
    let near: Vec<f32> = distances(&edge, size).iter().map(|distance| distance.min(20.0)).collect();
    #[expect(clippy::cast_possible_truncation, reason = "OpenCV sums in f64 and stores f32")]
    let mean = |values: [f32; 9]| (values.iter().map(|&value| f64::from(value)).sum::<f64>() * (1.0 / 9.0)) as f32;
    let near: Vec<u8> = around(&near, size, mean).iter().map(|&value| truncate(f64::from(value))).collect();
    let relief = around(&equalise(&near), size, |values| {
        let sum: i32 = values.iter().zip([-2, -1, 0, -1, 1, 1, 0, 1, 2]).map(|(&value, k)| i32::from(value) * k).sum();
        u8::try_from(sum.clamp(0, 255)).unwrap_or(0)
    });
    let relief = around(&relief, size, |values| {
        let sum: u16 = values.iter().map(|&value| u16::from(value)).sum();
        u8::try_from((sum + 4) / 9).unwrap_or(u8::MAX)
    });
    let mut depth: Vec<f32> = layer.iter().zip(&relief).map(|(&a, &b)| f32::from(a) * f32::from(b)).collect();
    let most = depth.iter().copied().fold(0.0, f32::max);
    if most == 0.0 {
        return; // no liquid at all: the generator would divide by 0
    }
    #[expect(clippy::cast_possible_truncation, reason = "the generator works in f32")]
    let strength = strength as f32;
    depth.iter_mut().for_each(|value| *value = *value / most * strength);
    blend(picture, [175, 238, 238], |x, colour, at| x + depth[at] * colour);
}

/// Brown, where smoothed splashes are at least 0.8 thick.
fn mud(picture: &mut Picture, thickness: &[f32]) {
    blend(picture, [63, 42, 20], |x, colour, at| {
        let share = if thickness[at] < 0.8 { 0.0 } else { thickness[at] };
        x * (1.0 - share) + colour * share
    });
}

/// Mixes a colour of levels into each pixel, in f32; an image of one channel takes the colour's luma.
fn blend(picture: &mut Picture, colour: [u8; 3], mix: impl Fn(f32, f32, usize) -> f32) {
    #[expect(clippy::cast_possible_truncation, reason = "the generator works in f32")]
    let colour = colour.map(|level| (f64::from(level) / 255.0) as f32);
    let colour = if picture.channels == 1 { gray(&colour, 3) } else { colour.to_vec() };
    let image = picture.unit_f32();
    let planes = image.chunks_exact(picture.area()).zip(colour);
    let values: Vec<f32> = planes
        .flat_map(|(plane, colour)| plane.iter().enumerate().map(move |(at, &x)| (x, colour, at)))
        .map(|(x, colour, at)| mix(x, colour, at))
        .collect();
    picture.store_f32(&values);
}
