//! Noise that is independent for each pixel and channel.

use engine::rng::Stream;

use super::picture::{Draws, Effect, Picture};

/// `gaussian_noise`: constants are the standard deviation.
pub(super) struct Gaussian {
    deviation: f64,
}

impl Gaussian {
    pub fn new([deviation]: [f64; 1]) -> Self {
        Self { deviation }
    }
}

impl Effect for Gaussian {
    fn apply(&self, picture: &mut Picture, draws: &Draws) {
        let noise = draws.normal(Stream::named("corruption.gaussian_noise"), picture.levels.len());
        let values: Vec<f64> = picture.unit().iter().zip(noise).map(|(x, z)| x + self.deviation * z).collect();
        picture.store(&values);
    }
}

/// `speckle_noise`: constants are the standard deviation at white.
pub(super) struct Speckle {
    deviation: f64,
}

impl Speckle {
    pub fn new([deviation]: [f64; 1]) -> Self {
        Self { deviation }
    }
}

impl Effect for Speckle {
    fn apply(&self, picture: &mut Picture, draws: &Draws) {
        let noise = draws.normal(Stream::named("corruption.speckle_noise"), picture.levels.len());
        let values: Vec<f64> = picture.unit().iter().zip(noise).map(|(x, z)| x + x * (self.deviation * z)).collect();
        picture.store(&values);
    }
}

/// `shot_noise`: constants are the photons that white is worth.
pub(super) struct Shot {
    photons: f64,
    distributions: Vec<Vec<f64>>, // of each level
}

impl Shot {
    pub fn new([photons]: [f64; 1]) -> Self {
        let distributions = (0..=u8::MAX).map(|level| poisson(f64::from(level) / 255.0 * photons)).collect();
        Self { photons, distributions }
    }
}

impl Effect for Shot {
    fn apply(&self, picture: &mut Picture, draws: &Draws) {
        let uniform = draws.fine_uniform(Stream::named("corruption.shot_noise"), picture.levels.len());
        let count = |(&level, u): (&u8, f64)| {
            let distribution = &self.distributions[usize::from(level)];
            // Inversion: the least count whose probability to be reached or missed is u or more.
            super::picture::real(distribution.partition_point(|&below| below < u)) / self.photons
        };
        let values: Vec<f64> = picture.levels.iter().zip(uniform).map(count).collect();
        picture.store(&values);
    }
}

/// P(X <= k) of a Poisson variable for k = 0, 1, ..., until what remains is less than the finest draw can tell from nothing.
fn poisson(mean: f64) -> Vec<f64> {
    const REST: f64 = 1.0 / 8_589_934_592.0; // 2^-33
    let mut probability = libm::exp(-mean); // means are at most 500: far from underflow
    let mut below = vec![probability];
    let (mut sum, mut count) = (probability, 0.0);
    while sum < 1.0 - REST {
        count += 1.0;
        probability *= mean / count;
        sum += probability;
        below.push(sum);
    }
    below
}

/// `impulse_noise`: constants are the share of pixels.
pub(super) struct Impulse {
    share: f64,
}

impl Impulse {
    pub fn new([share]: [f64; 1]) -> Self {
        Self { share }
    }
}

impl Effect for Impulse {
    fn apply(&self, picture: &mut Picture, draws: &Draws) {
        let count = picture.levels.len();
        let hit = draws.uniform(Stream::named("corruption.impulse_noise.hit"), count);
        let salt = draws.uniform(Stream::named("corruption.impulse_noise.salt"), count);
        for ((level, hit), salt) in picture.levels.iter_mut().zip(hit).zip(salt) {
            if hit < self.share {
                *level = if salt < 0.5 { u8::MAX } else { 0 };
            }
        }
    }
}
