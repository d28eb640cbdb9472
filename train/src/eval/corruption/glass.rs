//! `glass_blur`.

use engine::rng::Stream;

use super::filter::{Border, Gaussian};
use super::picture::{Draws, Effect, Picture, truncate, whole};

/// Constants are sigma, the largest shift and the number of rounds.
pub(super) struct Glass {
    blur: Gaussian,
    shift: usize,
    rounds: usize,
}

impl Glass {
    pub fn new([sigma, shift, rounds]: [f64; 3]) -> Self {
        Self { blur: Gaussian::new(sigma, 4.0, Border::Nearest), shift: whole(shift), rounds: whole(rounds) }
    }

    fn blurred(&self, picture: &Picture) -> Vec<f64> {
        let values = picture.unit();
        values.chunks_exact(picture.area()).flat_map(|plane| self.blur.apply(plane, picture.size)).collect()
    }

    /// Each pixel takes the colour of one near it, from the lower right to the upper left, so that copies are copied on.
    ///
    /// The generator means to swap the two, but swaps views of one array: the second keeps its colour.
    fn scatter(&self, picture: &mut Picture, draws: &Draws) {
        let ([height, width], area) = (picture.size, picture.area());
        let philox = draws.philox(Stream::named("corruption.glass_blur"));
        let span = u32::try_from(2 * self.shift).unwrap_or(u32::MAX);
        let first = self.shift + 1;
        for round in 0..self.rounds {
            for y in (first..=height.saturating_sub(self.shift)).rev() {
                for x in (first..=width.saturating_sub(self.shift)).rev() {
                    let at = y * width + x;
                    let element = 2 * (round * area + at);
                    // Shifts from -shift to shift - 1: the last row and column are in reach, and no further ones.
                    let near = |base: usize, element: usize| {
                        base - self.shift + philox.below(draws.sample, element, span) as usize
                    };
                    let from = near(y, element + 1) * width + near(x, element);
                    for channel in 0..picture.channels {
                        picture.levels[channel * area + at] = picture.levels[channel * area + from];
                    }
                }
            }
        }
    }
}

impl Effect for Glass {
    fn apply(&self, picture: &mut Picture, draws: &Draws) {
        picture.levels = self.blurred(picture).iter().map(|value| truncate(value * 255.0)).collect();
        self.scatter(picture, draws);
        let values = self.blurred(picture);
        picture.store(&values);
    }
}
