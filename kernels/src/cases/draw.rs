//! Random choices for property tests.

use engine::rng::{Philox, Stream};

/// A source of random shapes and flags: a function of its seed.
pub struct Draw {
    philox: Philox,
    at: usize,
}

impl Draw {
    /// Choices of one seed.
    pub fn new(seed: u64) -> Self {
        Self { philox: Philox::new(seed, 0, Stream::named("draw")), at: 0 }
    }

    /// A number in `low..=high`.
    pub fn range(&mut self, low: usize, high: usize) -> usize {
        let span = u32::try_from(high.saturating_sub(low) + 1).unwrap_or(u32::MAX);
        self.at += 1;
        low + usize::try_from(self.philox.below(0, self.at, span)).unwrap_or(0)
    }

    /// True or false.
    pub fn flag(&mut self) -> bool {
        self.range(0, 1) == 1
    }

    /// One of the given values.
    ///
    /// # Panics
    /// `options` is empty.
    pub fn pick<T: Clone>(&mut self, options: &[T]) -> T {
        options[self.range(0, options.len() - 1)].clone()
    }
}
