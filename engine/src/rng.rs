//! Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): counter-based random numbers.
//!
//! A value is a function of (seed, stream, step, sample, element) and of nothing else: not of threads, batch size or
//! order. That makes runs resumable, attacks independent of how data were batched, and backends comparable bit by bit.
//!
//! | philox word | holds |
//! |---|---|
//! | key 0, 1 | seed, low and high half |
//! | counter 0 | element / 4: one call gives four elements |
//! | counter 1 | sample id, 0 where a draw is shared by the batch |
//! | counter 2 | step |
//! | counter 3 | stream: hash of a name such as `blocks.3.mlp.scale` |
//!
//! Uniform and normal values come from the 32 bits by integer arithmetic and one exact conversion, so that they too are
//! equal on every backend: no logarithm, no cosine, no rounding mode enters.

use std::sync::OnceLock;

/// Words of the random state that a plan keeps on the device: `[seed low, seed high, step, 0]`.
pub const STATE_WORDS: usize = 4;

/// Ten rounds of Philox4x32 on one counter.
#[inline(always)]
pub fn philox4x32_10(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        let (high0, low0) = wide(0xD251_1F53, counter[0]);
        let (high1, low1) = wide(0xCD9E_8D57, counter[2]);
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0];
    }
    counter
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the two halves of a 64-bit product")]
fn wide(a: u32, b: u32) -> (u32, u32) {
    let product = u64::from(a) * u64::from(b);
    ((product >> 32) as u32, product as u32)
}

/// A named sequence of random values: FNV-1a hash of the name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stream(pub u32);

impl Stream {
    /// The stream of a name. Equal names give equal values: use a path such as `blocks.3.drop_path`.
    pub const fn named(name: &str) -> Self {
        let bytes = name.as_bytes();
        let mut hash = 0x811C_9DC5_u32;
        let mut index = 0;
        while index < bytes.len() {
            hash = (hash ^ bytes[index] as u32).wrapping_mul(0x0100_0193);
            index += 1;
        }
        Self(hash)
    }
}

/// A position in the space of random values: seed, step and stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Philox {
    key: [u32; 2],
    step: u32,
    stream: Stream,
}

impl Philox {
    /// Values of `stream` at `step` under `seed`.
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the seed")]
    pub const fn new(seed: u64, step: u32, stream: Stream) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], step, stream }
    }

    /// Values of `stream` under a device state of [`STATE_WORDS`] words.
    pub const fn from_state(state: [u32; STATE_WORDS], stream: Stream) -> Self {
        Self { key: [state[0], state[1]], step: state[2], stream }
    }

    /// The device state of a seed and a step.
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the seed")]
    pub const fn state(seed: u64, step: u32) -> [u32; STATE_WORDS] {
        [seed as u32, (seed >> 32) as u32, step, 0]
    }

    /// The four words of elements `4 * block ..` of `sample`.
    #[inline(always)]
    pub fn block(&self, sample: u32, block: u32) -> [u32; 4] {
        philox4x32_10([block, sample, self.step, self.stream.0], self.key)
    }

    /// The word of one element of `sample`.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "streams wrap after 2^34 elements")]
    pub fn bits(&self, sample: u32, element: usize) -> u32 {
        self.block(sample, (element / 4) as u32)[element % 4]
    }

    /// The uniform value in [0, 1) of one element.
    #[inline(always)]
    pub fn uniform(&self, sample: u32, element: usize) -> f32 {
        uniform(self.bits(sample, element))
    }

    /// The standard normal value of one element.
    #[inline(always)]
    pub fn normal(&self, sample: u32, element: usize) -> f32 {
        normal(self.bits(sample, element))
    }

    /// A whole number in `0..bound`, by multiplication; its bias is below `bound / 2^32`.
    #[inline(always)]
    pub fn below(&self, sample: u32, element: usize, bound: u32) -> u32 {
        wide(self.bits(sample, element), bound).0
    }

    /// Calls `write(i, bits)` for elements `0..count`, one Philox call for four of them.
    #[inline(always)]
    pub fn fill(&self, sample: u32, count: usize, mut write: impl FnMut(usize, u32)) {
        let mut element = 0;
        let mut block = 0_u32;
        while element < count {
            for word in self.block(sample, block) {
                if element < count {
                    write(element, word);
                }
                element += 1;
            }
            block = block.wrapping_add(1);
        }
    }
}

/// Uniform in [0, 1): the upper 24 bits, an exact f32.
#[inline(always)]
pub fn uniform(bits: u32) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "24 bits are exact")]
    let value = (bits >> 8) as f32;
    value * (1.0 / 16_777_216.0)
}

/// log2 of the number of table intervals per octave of tail probability.
const NORMAL_STEPS_LOG2: u32 = 6;
/// Fraction bits of the fixed-point quantile: |z| < 8 stays below 2^24 and is an exact f32.
const NORMAL_FRACTION: u32 = 20;
/// Octaves of tail probability: 31 bits without the sign.
const NORMAL_OCTAVES: usize = 31;

/// Standard normal: sign from the lowest bit, magnitude from a table of the normal quantile over the other 31.
///
/// The quantile is interpolated linearly in fixed point between nodes that are spaced per octave of tail probability
/// (64 intervals each), so that the tail reaches 6.2 sigma and the interpolation error stays below 4e-5.
#[inline(always)]
pub fn normal(bits: u32) -> f32 {
    normal_from(normal_table(), bits)
}

/// [`normal`] with the table at hand: for loops.
#[inline(always)]
pub fn normal_from(table: &[i32], bits: u32) -> f32 {
    // Tail probability (k + 1/2) / 2^32 for k in 0..2^31, so odd = 2k + 1 lies in 1..2^32.
    let odd = bits | 1;
    let octave = odd.leading_zeros();
    // The bits after the leading one, moved to the top.
    let mantissa = (odd << octave) << 1;
    let index = octave * ((1 << NORMAL_STEPS_LOG2) + 1) + (mantissa >> (32 - NORMAL_STEPS_LOG2));
    let fraction = (mantissa << NORMAL_STEPS_LOG2) >> 16; // 16 bits
    let at = index as usize;
    let (Some(&here), Some(&next)) = (table.get(at), table.get(at + 1)) else {
        return 0.0; // out of reach: octave <= 31 and the table has a node for each
    };
    // next - here is below 2^20 and fraction below 2^16: split the product to stay within 32 bits.
    let difference = next - here;
    let step = ((difference >> 8) * fraction.cast_signed() + (((difference & 255) * fraction.cast_signed()) >> 8)) >> 8;
    #[expect(clippy::cast_precision_loss, reason = "below 2^24")]
    let magnitude = (here + step) as f32 * (1.0 / (1_u32 << NORMAL_FRACTION) as f32);
    if bits & 1 == 0 { magnitude } else { -magnitude }
}

/// Nodes of the quantile table: `z(tail probability)` in fixed point. GPU backends upload it.
pub fn normal_table() -> &'static [i32] {
    static TABLE: OnceLock<Vec<i32>> = OnceLock::new();
    TABLE.get_or_init(|| {
        // Each octave holds both of its ends: its upper neighbour is the octave before it.
        let nodes = (1_usize << NORMAL_STEPS_LOG2) + 1;
        (0..(NORMAL_OCTAVES + 1) * nodes)
            .map(|node| {
                // Octave o covers odd / 2^32 in (2^-(o+1), 2^-o]; halved, because the sign is drawn apart.
                let octave = i32::try_from(node / nodes).unwrap_or(i32::MAX);
                #[expect(clippy::cast_precision_loss, reason = "below 65")]
                let within = 1.0 + (node % nodes) as f64 / (nodes - 1) as f64;
                let tail = within * 2_f64.powi(-octave - 2);
                let scaled = upper_quantile(tail) * f64::from(1_u32 << NORMAL_FRACTION);
                #[expect(clippy::cast_possible_truncation, reason = "|z| < 8")]
                let fixed = scaled.round() as i32;
                fixed
            })
            .collect()
    })
}

/// z with P(Z > z) = `tail`, by bisection on erfc: slow, exact to rounding, called once per table node.
fn upper_quantile(tail: f64) -> f64 {
    let (mut low, mut high) = (-1.0_f64, 9.0_f64);
    for _ in 0..70 {
        let middle = 0.5 * (low + high);
        if 0.5 * libm::erfc(middle * std::f64::consts::FRAC_1_SQRT_2) > tail {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers published with Random123 (kat_vectors, philox4x32, 10 rounds).
    #[test]
    fn philox_gives_random123s_known_answers() {
        assert_eq!(philox4x32_10([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox4x32_10([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox4x32_10([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn fill_equals_element_access() {
        let philox = Philox::new(7, 3, Stream::named("test"));
        let mut seen = Vec::new();
        philox.fill(5, 11, |element, bits| seen.push((element, bits)));
        assert_eq!(seen.len(), 11);
        assert!(seen.iter().all(|&(element, bits)| philox.bits(5, element) == bits));
    }

    #[test]
    fn normal_matches_the_quantile_function_and_its_moments() {
        let philox = Philox::new(1, 0, Stream::named("moments"));
        let count = 400_000;
        let values: Vec<f64> = (0..count).map(|i| f64::from(philox.normal(0, i))).collect();
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let moment = |k: i32| values.iter().map(|v| v.powi(k)).sum::<f64>() / count as f64;
        // Standard errors of the moments at 4e5 draws are .0016, .0022, .0061, .0155: five of them.
        assert!(moment(1).abs() < 0.008 && (moment(2) - 1.0).abs() < 0.011);
        assert!(moment(3).abs() < 0.031 && (moment(4) - 3.0).abs() < 0.078);
        for bits in [1_u32 << 31, 0x8000_0001, 0x4000_0000, 0x1234_5678, 2, 0, 0xFFFF_FFFE] {
            let tail = f64::from(bits | 1) / 2_f64.powi(33);
            let error = (f64::from(normal(bits)).abs() - upper_quantile(tail)).abs();
            assert!(error < 4e-5, "bits {bits:#x}: error {error}");
        }
    }
}
