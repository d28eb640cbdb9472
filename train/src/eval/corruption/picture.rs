//! An image as the corruptions see it, and what they draw for it.

use engine::rng::{self, Philox, Stream};

/// Levels of 0..=255, `[c, h, w]`.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Picture {
    pub levels: Vec<u8>,
    pub channels: usize,
    pub size: [usize; 2],
}

impl Picture {
    /// Pixels of a channel.
    pub fn area(&self) -> usize {
        self.size[0] * self.size[1]
    }

    pub fn planes(&self) -> impl Iterator<Item = &[u8]> {
        self.levels.chunks_exact(self.area())
    }

    /// Replaces each channel by what `change` makes of it.
    pub fn change_planes(&mut self, change: impl Fn(&[u8]) -> Vec<u8>) {
        let area = self.area();
        for plane in self.levels.chunks_exact_mut(area) {
            plane.copy_from_slice(&change(plane));
        }
    }

    /// Values in [0, 1].
    pub fn unit(&self) -> Vec<f64> {
        unit(&self.levels)
    }

    /// Values in [0, 1], in f32 as where the generators convert first and divide then.
    pub fn unit_f32(&self) -> Vec<f32> {
        self.levels.iter().map(|&level| f32::from(level) / 255.0).collect()
    }

    /// Clips values to [0, 1] and truncates them to levels, as the benchmarks do.
    pub fn store(&mut self, values: &[f64]) {
        for (level, value) in self.levels.iter_mut().zip(values) {
            *level = truncate(value.clamp(0.0, 1.0) * 255.0);
        }
    }

    /// As [`store`](Self::store), in f32.
    pub fn store_f32(&mut self, values: &[f32]) {
        for (level, value) in self.levels.iter_mut().zip(values) {
            *level = truncate(f64::from(value.clamp(0.0, 1.0) * 255.0));
        }
    }
}

pub(super) fn unit(levels: &[u8]) -> Vec<f64> {
    levels.iter().map(|&level| f64::from(level) / 255.0).collect()
}

/// The level at or below a value in 0..=255; NaN, which black images give, becomes 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the benchmarks truncate; it saturates")]
pub(super) fn truncate(value: f64) -> u8 {
    value as u8
}

/// A side or a position as a number: far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "sides and positions in pixels")]
pub(super) fn real(value: usize) -> f64 {
    value as f64
}

/// The whole part of a value that isn't negative.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "constants and positions; it saturates")]
pub(super) fn whole(value: f64) -> usize {
    value.max(0.0) as usize
}

/// What is drawn for one image, a function of seed, severity, stream, sample and element.
#[derive(Clone, Copy)]
pub(super) struct Draws {
    pub seed: u64,
    pub severity: u8,
    pub sample: u32,
}

impl Draws {
    pub fn philox(&self, stream: Stream) -> Philox {
        Philox::new(self.seed, u32::from(self.severity), stream)
    }

    /// `count` standard normal values.
    pub fn normal(&self, stream: Stream, count: usize) -> Vec<f64> {
        let table = rng::normal_table();
        self.map(stream, count, |bits| f64::from(rng::normal_from(table, bits)))
    }

    /// `count` values of [0, 1), whole multiples of 2^-24.
    pub fn uniform(&self, stream: Stream, count: usize) -> Vec<f64> {
        self.map(stream, count, |bits| f64::from(rng::uniform(bits)))
    }

    /// `count` values inside (0, 1), odd multiples of 2^-33: for quantiles, whose tails 24 bits would cut.
    pub fn fine_uniform(&self, stream: Stream, count: usize) -> Vec<f64> {
        self.map(stream, count, |bits| (f64::from(bits) + 0.5) / 4_294_967_296.0)
    }

    /// One value of [low, high).
    pub fn between(&self, stream: Stream, low: f64, high: f64) -> f64 {
        low + (high - low) * f64::from(self.philox(stream).uniform(self.sample, 0))
    }

    fn map(&self, stream: Stream, count: usize, value: impl Fn(u32) -> f64) -> Vec<f64> {
        let mut values = Vec::with_capacity(count);
        self.philox(stream).fill(self.sample, count, |_, bits| values.push(value(bits)));
        values
    }
}

/// A corruption of one severity, ready for images of one shape.
pub(super) trait Effect: Send + Sync {
    /// Corrupts an image of that shape.
    fn apply(&self, picture: &mut Picture, draws: &Draws);
}
