//! Mixup and CutMix over a batch, by timm's conventions: one draw per batch, and sample i mixes with sample n - 1 - i.

use engine::rng::{Philox, Stream, normal, uniform};

use super::Augment;

/// How a batch is mixed. A function of (seed, epoch, step).
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Mix {
    /// `lambda x + (1 - lambda) x'` for the whole image.
    Mixup {
        /// Share of the sample's own image and target.
        lambda: f32,
    },
    /// A box of x' replaces that of x.
    Cutmix {
        /// Rows of the box: from, to (exclusive).
        rows: (usize, usize),
        /// Columns of the box: from, to (exclusive).
        columns: (usize, usize),
        /// Share of the sample's own pixels and target: 1 - area of the box after clipping.
        lambda: f32,
    },
}

impl Mix {
    /// Draws what `augment` asks for: `None` leaves the batch alone.
    pub fn draw(augment: &Augment, seed: u64, epoch: u32, step: u32, [height, width]: [usize; 2]) -> Option<Self> {
        let (mixup, cutmix) = (augment.mixup > 0.0, augment.cutmix > 0.0);
        let choose = Philox::new(seed, epoch, Stream::named("augment.mix"));
        if !(mixup || cutmix) || choose.uniform(step, 0) >= augment.mix_prob {
            return None;
        }
        let use_cutmix = cutmix && (!mixup || choose.uniform(step, 1) < augment.switch_prob);
        let alpha = if use_cutmix { augment.cutmix } else { augment.mixup };
        let lambda = beta(f64::from(alpha), Philox::new(seed, epoch, Stream::named("augment.mix.beta")), step);
        if !use_cutmix {
            #[expect(clippy::cast_possible_truncation, reason = "a share, rounded to f32")]
            let lambda = lambda as f32;
            return Some(Self::Mixup { lambda });
        }
        let share = (1.0 - lambda).sqrt();
        let span = |side: usize, element: usize| {
            let centre = choose.below(step, element, u32::try_from(side).unwrap_or(u32::MAX)) as usize;
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "at most the side"
            )]
            let half = (side as f64 * share) as usize / 2;
            (centre.saturating_sub(half), (centre + half).min(side))
        };
        let (rows, columns) = (span(height, 2), span(width, 3));
        #[expect(clippy::cast_precision_loss, reason = "pixels of an image")]
        let lambda = 1.0 - ((rows.1 - rows.0) * (columns.1 - columns.0)) as f32 / (height * width) as f32;
        Some(Self::Cutmix { rows, columns, lambda })
    }

    /// Mixes `count` images `[c, h, w]` and their targets in place.
    pub fn apply(&self, images: &mut [f32], targets: &mut [f32], count: usize, [_, height, width]: [usize; 3]) {
        let count = count.max(1);
        let lambda = match *self {
            Self::Mixup { lambda } => {
                for_pairs(images, count, |own, other| blend(own, other, lambda));
                lambda
            }
            Self::Cutmix { rows, columns, lambda } => {
                for_pairs(images, count, |own, other| {
                    for (row, (own, other)) in
                        own.chunks_exact_mut(width).zip(other.chunks_exact_mut(width)).enumerate()
                    {
                        if !(rows.0..rows.1).contains(&(row % height)) {
                            continue;
                        }
                        if let (Some(a), Some(b)) =
                            (own.get_mut(columns.0..columns.1), other.get_mut(columns.0..columns.1))
                        {
                            a.swap_with_slice(b);
                        }
                    }
                });
                lambda
            }
        };
        for_pairs(targets, count, |own, other| blend(own, other, lambda));
    }
}

/// Calls `mix` with the rows i and n - 1 - i of `[n, ...]`; the middle one of an odd number mixes with itself, which
/// changes nothing.
fn for_pairs(values: &mut [f32], count: usize, mix: impl Fn(&mut [f32], &mut [f32])) {
    let length = values.len() / count;
    if length == 0 {
        return;
    }
    let (front, back) = values.split_at_mut(count.div_ceil(2) * length);
    for (own, other) in front.chunks_exact_mut(length).zip(back.chunks_exact_mut(length).rev()) {
        mix(own, other);
    }
}

fn blend(own: &mut [f32], other: &mut [f32], lambda: f32) {
    for (a, b) in own.iter_mut().zip(other) {
        (*a, *b) = (lambda * *a + (1.0 - lambda) * *b, lambda * *b + (1.0 - lambda) * *a);
    }
}

/// Beta(alpha, alpha) as g1 / (g1 + g2) of two gamma variables, by their logarithms: small alpha would underflow.
fn beta(alpha: f64, philox: Philox, step: u32) -> f64 {
    let mut element = 0;
    let mut next = || {
        element += 1;
        philox.bits(step, element - 1)
    };
    let (first, second) = (log_gamma_variable(alpha, &mut next), log_gamma_variable(alpha, &mut next));
    1.0 / (1.0 + libm::exp(second - first))
}

/// Logarithm of a Gamma(alpha, 1) variable: Marsaglia and Tsang, "A simple method for generating gamma variables" (2000),
/// at alpha + 1, then multiplied with U^(1/alpha).
pub(crate) fn log_gamma_variable(alpha: f64, next: &mut impl FnMut() -> u32) -> f64 {
    let d = alpha + 1.0 - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    // Uniform on (0, 1]: its logarithm is finite.
    let log_uniform = |bits: u32| libm::log(1.0 - f64::from(uniform(bits)));
    loop {
        let z = f64::from(normal(next()));
        let cube = (1.0 + c * z) * (1.0 + c * z) * (1.0 + c * z);
        if cube <= 0.0 {
            continue;
        }
        let bound = 0.5 * z * z + d - d * cube + d * libm::log(cube);
        if log_uniform(next()) < bound {
            return libm::log(d * cube) + log_uniform(next()) / alpha;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn beta_has_its_moments() {
        for alpha in [0.2, 0.8, 1.0, 4.0] {
            let count = 4000_u32;
            let philox = Philox::new(11, 0, Stream::named("test"));
            let values: Vec<f64> = (0..count).map(|step| beta(alpha, philox, step)).collect();
            let n = f64::from(count);
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            // Five standard errors; (X - 1/2)^2 lies within [0, 1/4], so its deviation is at most 1/8.
            assert!((mean - 0.5).abs() < 5.0 * (expected / n).sqrt(), "alpha {alpha}: mean {mean}");
            assert!((variance - expected).abs() < 5.0 * 0.125 / n.sqrt(), "alpha {alpha}: variance {variance}");
            assert!(values.iter().all(|v| (0.0..=1.0).contains(v)));
        }
    }

    #[test]
    fn probabilities_choose_between_none_mixup_and_cutmix() {
        let both = Augment { mixup: 0.8, cutmix: 1.0, mix_prob: 0.5, switch_prob: 0.25, ..Augment::default() };
        let counts = (0..2000).fold([0_u32; 3], |mut counts, step| {
            match Mix::draw(&both, 1, 0, step, [8, 8]) {
                None => counts[0] += 1,
                Some(Mix::Mixup { .. }) => counts[1] += 1,
                Some(Mix::Cutmix { .. }) => counts[2] += 1,
            }
            counts
        });
        // Expected 1000, 750, 250; four standard deviations are 90, 78, 59.
        assert!(
            counts[0].abs_diff(1000) < 90 && counts[1].abs_diff(750) < 78 && counts[2].abs_diff(250) < 59,
            "{counts:?}"
        );
        assert_eq!(Mix::draw(&Augment::default(), 1, 0, 0, [8, 8]), None);
        let only = Augment { cutmix: 1.0, switch_prob: 0.0, ..Augment::default() };
        assert!(matches!(Mix::draw(&only, 1, 0, 0, [8, 8]), Some(Mix::Cutmix { .. })));
    }

    proptest! {
        /// Image i is filled with i: the mixed image tells how much of each partner it holds, and the target must agree.
        #[test]
        fn pixels_and_targets_agree_on_the_shares(count in 1_usize..8, height in 1_usize..9, width in 1_usize..9, step: u32, cut: bool) {
            let augment = Augment { mixup: if cut { 0.0 } else { 0.8 }, cutmix: if cut { 1.0 } else { 0.0 }, ..Augment::default() };
            let mix = Mix::draw(&augment, 3, 1, step, [height, width]).unwrap();
            let volume = 2 * height * width;
            let mut images: Vec<f32> = (0..count * volume).map(|i| (i / volume) as f32).collect();
            let mut targets: Vec<f32> = (0..count * count).map(|i| if i / count == i % count { 1.0 } else { 0.0 }).collect();
            mix.apply(&mut images, &mut targets, count, [2, height, width]);
            for i in 0..count {
                let row = &targets[i * count..(i + 1) * count];
                prop_assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
                let own = if 2 * i + 1 == count { 1.0 } else { row[i] };
                let partner = count - 1 - i;
                prop_assert!(row.iter().enumerate().all(|(k, &v)| k == i || k == partner || v == 0.0));
                let mean = images[i * volume..(i + 1) * volume].iter().sum::<f32>() / volume as f32;
                prop_assert!((mean - (own * i as f32 + (1.0 - own) * partner as f32)).abs() < 1e-4);
            }
        }
    }
}
