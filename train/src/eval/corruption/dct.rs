//! The cosine transforms of 8 x 8 blocks in libjpeg's "slow integer" arithmetic, to the last bit.
//!
//! Loeffler, Ligtenberg and Moschytz, "Practical fast 1-D DCT algorithms with 11 multiplications", ICASSP 1989, with 13 fraction
//! bits for the constants and 2 for what passes between rows and columns. Forward coefficients are 8 times those of the
//! orthonormal transform.

const FRACTION: u32 = 13;
/// Additional bits of the first pass.
const BETWEEN: u32 = 2;

/// A constant with [`FRACTION`] bits.
const fn fixed(value: f64) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "constants below 4")]
    let rounded = (value * 8192.0 + if value < 0.0 { -0.5 } else { 0.5 }) as i32;
    rounded
}

/// Divides by 2^bits, halves upward.
fn descale(value: i32, bits: u32) -> i32 {
    (value + (1 << (bits - 1))) >> bits
}

/// The odd half of both directions, which is its own transpose: outputs with [`FRACTION`] more bits.
fn odd([a, b, c, d]: [i32; 4]) -> [i32; 4] {
    let turn = (a + c + b + d) * fixed(1.175_875_602);
    let ac = (a + c) * fixed(-1.961_570_560) + turn;
    let bd = (b + d) * fixed(-0.390_180_644) + turn;
    let (ad, bc) = ((a + d) * fixed(-0.899_976_223), (b + c) * fixed(-2.562_915_447));
    [
        a * fixed(0.298_631_336) + ad + ac,
        b * fixed(2.053_119_869) + bc + bd,
        c * fixed(3.072_711_026) + bc + ac,
        d * fixed(1.501_321_110) + ad + bd,
    ]
}

/// Turns a pair by 3 pi / 8 and scales it by the root of 2, with [`FRACTION`] more bits.
fn rotate(low: i32, high: i32) -> [i32; 2] {
    let both = (low + high) * fixed(0.541_196_100);
    [both + low * fixed(0.765_366_865), both - high * fixed(1.847_759_065)]
}

/// One forward transform, its even outputs 0 and 4 scaled by `plain`, the others reduced from [`FRACTION`] more bits by `bits`.
fn forward_line(x: [i32; 8], plain: impl Fn(i32) -> i32, bits: u32) -> [i32; 8] {
    let sum = |at: usize| x[at] + x[7 - at];
    let difference = |at: usize| x[at] - x[7 - at];
    let (outer, inner) = (sum(0) + sum(3), sum(1) + sum(2));
    let [second, sixth] = rotate(sum(0) - sum(3), sum(1) - sum(2));
    let [seventh, fifth, third, first] = odd([difference(3), difference(2), difference(1), difference(0)]);
    let reduce = |value: i32| descale(value, bits);
    [
        plain(outer + inner),
        reduce(first),
        reduce(second),
        reduce(third),
        plain(outer - inner),
        reduce(fifth),
        reduce(sixth),
        reduce(seventh),
    ]
}

/// One inverse transform; the sums carry [`FRACTION`] more bits and are reduced by `bits`.
fn inverse_line(x: [i32; 8], bits: u32) -> [i32; 8] {
    let [turned, back] = rotate(x[2], x[6]);
    let (sum, difference) = ((x[0] + x[4]) << FRACTION, (x[0] - x[4]) << FRACTION);
    let even = [sum + turned, difference + back, difference - back, sum - turned];
    let odd = odd([x[7], x[5], x[3], x[1]]);
    std::array::from_fn(|at| {
        let value = if at < 4 { even[at] + odd[3 - at] } else { even[7 - at] - odd[at - 4] };
        descale(value, bits)
    })
}

/// Applies a transform to each row, or each column, of a block.
fn lines(block: &mut [i32; 64], along_rows: bool, transform: impl Fn([i32; 8]) -> [i32; 8]) {
    let (line_step, step) = if along_rows { (8, 1) } else { (1, 8) };
    for line in 0..8 {
        let at = |i: usize| line * line_step + i * step;
        for (i, value) in transform(std::array::from_fn(|i| block[at(i)])).into_iter().enumerate() {
            block[at(i)] = value;
        }
    }
}

/// Samples -128..=127 to coefficients, 8 times too large.
pub(super) fn forward(block: &mut [i32; 64]) {
    lines(block, true, |line| forward_line(line, |value| value << BETWEEN, FRACTION - BETWEEN));
    lines(block, false, |line| forward_line(line, |value| descale(value, BETWEEN), FRACTION + BETWEEN));
}

/// Coefficients to samples around 0.
pub(super) fn inverse(block: &mut [i32; 64]) {
    lines(block, false, |line| inverse_line(line, FRACTION - BETWEEN));
    // 3: each pass enlarges by the root of 8.
    lines(block, true, |line| inverse_line(line, FRACTION + BETWEEN + 3));
}

#[cfg(test)]
mod tests {
    use std::f64::consts::{FRAC_1_SQRT_2, PI};

    use proptest::prelude::*;

    use super::*;

    /// The transform's definition.
    fn coefficient(block: &[i32; 64], v: usize, u: usize) -> f64 {
        let wave = |at: usize, k: usize| {
            ((2 * at + 1) as f64 * k as f64 * PI / 16.0).cos() * if k == 0 { FRAC_1_SQRT_2 } else { 1.0 }
        };
        (0..64).map(|at| f64::from(block[at]) * wave(at / 8, v) * wave(at % 8, u)).sum::<f64>() / 4.0
    }

    proptest! {
        #[test]
        fn forward_is_the_cosine_transform_and_inverse_undoes_it(samples in prop::collection::vec(-128..=127_i32, 64)) {
            let block: [i32; 64] = samples.try_into().unwrap();
            let mut transformed = block;
            forward(&mut transformed);
            for (at, value) in transformed.iter().enumerate() {
                let error = f64::from(*value) / 8.0 - coefficient(&block, at / 8, at % 8);
                prop_assert!(error.abs() < 0.25, "{} {}", at, error);
            }
            let mut back = transformed.map(|value| descale(value, 3));
            inverse(&mut back);
            prop_assert!(block.iter().zip(back).all(|(a, b)| a.abs_diff(b) <= 2));
        }
    }
}
