//! Random draws of kernels: a law, and Philox words turned into its values, 64 at a time.
//!
//! Draws are f32 whatever the element type: f64 oracles see the same values.

use engine::rng::{Philox, STATE_WORDS, Stream, normal_from, normal_table, uniform};
use engine::{Buf, Error, Result};

use super::math::Float;
use super::simd::simd;

/// A distribution of f32 values.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Law {
    /// `low + width * u`, u uniform in [0, 1).
    Uniform {
        /// Smallest value.
        low: f32,
        /// Length of the interval.
        width: f32,
    },
    /// `mean + std * z`, z standard normal.
    Normal {
        /// Mean.
        mean: f32,
        /// Standard deviation.
        std: f32,
    },
    /// `on` with probability `q`, else `off`.
    TwoPoint {
        /// Probability of `on`.
        q: f32,
        /// Value where u < q.
        on: f32,
        /// Value elsewhere.
        off: f32,
    },
}

impl Law {
    /// The value that a Philox word gives; `table` is [`normal_table`].
    #[inline(always)]
    pub fn value(self, table: &[i32], word: u32) -> f32 {
        match self {
            Self::Uniform { low, width } => low + width * uniform(word),
            Self::Normal { mean, std } => mean + std * normal_from(table, word),
            Self::TwoPoint { q, on, off } => {
                if uniform(word) < q {
                    on
                } else {
                    off
                }
            }
        }
    }
}

/// The generator of `stream` under the random state that an op has as an input.
///
/// # Errors
/// The input is not of u32, or is not kept.
pub fn philox(state: Buf, stream: Stream) -> Result<Philox> {
    let words = <[u32; STATE_WORDS]>::try_from(state.host::<u32>()?)
        .map_err(|_| Error::new("random state", "must have four words").with("state", state.spec()))?;
    Ok(Philox::from_state(words, stream))
}

/// Words that [`fill`] makes at a time: 16 Philox calls side by side.
const WORDS: usize = 64;

simd! {
    /// Writes elements `start ..` of `sample` under `law`.
    pub fn fill<T: Float>(philox: Philox, law: Law, sample: u32, start: usize, out: &mut [T]) {
        let table = normal_table();
        let mut words = [0_u32; WORDS];
        let end = start + out.len();
        let mut base = start - start % WORDS;
        while base < end {
            #[expect(clippy::cast_possible_truncation, reason = "streams wrap after 2^34 elements")]
            let block = (base / 4) as u32;
            for (four, offset) in words.chunks_exact_mut(4).zip(0_u32..) {
                four.copy_from_slice(&philox.block(sample, block.wrapping_add(offset)));
            }
            let (from, to) = (base.max(start), (base + WORDS).min(end));
            let (out, words) = (&mut out[from - start..to - start], &words[from - base..to - base]);
            for (out, &word) in out.iter_mut().zip(words) {
                *out = T::from_f32(law.value(table, word));
            }
            base += WORDS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fill_gives_the_values_of_single_elements_from_any_start() {
        let philox = Philox::new(3, 9, Stream::named("fill"));
        for (start, count) in [(0, 1), (0, 64), (5, 3), (63, 2), (61, 200), (128, 65)] {
            let mut out = vec![0.0_f32; count];
            fill(philox, Law::Uniform { low: 0.0, width: 1.0 }, 4, start, &mut out);
            assert!((0..count).all(|i| out[i] == philox.uniform(4, start + i)), "{start} {count}");
            fill(philox, Law::Normal { mean: 0.0, std: 1.0 }, 4, start, &mut out);
            assert!((0..count).all(|i| out[i] == philox.normal(4, start + i)), "{start} {count}");
        }
    }
}
