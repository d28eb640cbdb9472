//! Confidence intervals of proportions.

use engine::rng::{Philox, Stream};
use engine::{Error, Result};
use serde::Serialize;

/// Bounds of a fraction.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Interval {
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// Exact two-sided interval of a proportion (Clopper and Pearson, 1934): `successes` of `trials` independent trials at a
/// `confidence` in 0..1. The bounds are quantiles of beta distributions.
///
/// # Errors
/// No trials, more successes than trials, or a confidence outside of 0..1.
pub fn clopper_pearson(successes: u64, trials: u64, confidence: f64) -> Result<Interval> {
    if trials == 0 || successes > trials || !(confidence > 0.0 && confidence < 1.0) {
        return Err(Error::new("interval", "a proportion needs trials, and a confidence between 0 and 1")
            .with("successes", successes)
            .with("trials", trials)
            .with("confidence", confidence));
    }
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    let (k, n) = (successes as f64, trials as f64);
    let tail = (1.0 - confidence) / 2.0;
    let low = if successes == 0 { 0.0 } else { beta_quantile(tail, k, n - k + 1.0) };
    let high = if successes == trials { 1.0 } else { beta_quantile(1.0 - tail, k + 1.0, n - k) };
    Ok(Interval { low, high })
}

/// Percentile interval of the mean of `values` under resampling them with replacement (Efron, 1979), keyed by `seed`.
///
/// # Errors
/// No values or resamples, or a confidence outside of 0..1.
pub fn bootstrap(values: &[f64], resamples: u32, confidence: f64, seed: u64) -> Result<Interval> {
    let count = u32::try_from(values.len()).unwrap_or(0);
    if count == 0 || resamples == 0 || !(confidence > 0.0 && confidence < 1.0) {
        return Err(Error::new("interval", "a bootstrap needs values, resamples, and a confidence between 0 and 1")
            .with("values", values.len())
            .with("resamples", resamples)
            .with("confidence", confidence));
    }
    let philox = Philox::new(seed, 0, Stream::named("eval.bootstrap"));
    let mut means: Vec<f64> = (0..resamples)
        .map(|resample| {
            let picked = (0..values.len()).map(|at| usize::try_from(philox.below(resample, at, count)).unwrap_or(0));
            picked.filter_map(|at| values.get(at)).sum::<f64>() / f64::from(count)
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let tail = (1.0 - confidence) / 2.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank among the resamples")]
    let at = |share: f64| means.get(((f64::from(resamples) * share) as usize).min(means.len() - 1)).copied();
    let bound = |share| at(share).unwrap_or(f64::NAN);
    Ok(Interval { low: bound(tail), high: bound(1.0 - tail) })
}

/// The x with `beta_below(x, a, b) = p`, by bisection to the last bit.
fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return middle;
        }
        if beta_below(middle, a, b) < p { low = middle } else { high = middle }
    }
}

/// Distribution function of the beta distribution: the regularised incomplete beta function.
fn beta_below(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    // The continued fraction converges fast below the mean; above it, the other tail's does.
    if x > (a + 1.0) / (a + b + 2.0) { 1.0 - beta_fraction(1.0 - x, b, a) } else { beta_fraction(x, a, b) }
}

/// The incomplete beta function as `x^a (1 - x)^b / (a B(a, b))` times a continued fraction (DLMF 8.17.22), by Lentz's method.
fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let log_beta = libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b);
    let front = (a * x.ln() + b * (-x).ln_1p() - log_beta).exp() / a;
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    // Some multiple of sqrt(max(a, b)) terms are needed; each m gives two.
    for m in 1..100_000_u32 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut last = 1.0;
        for term in [even, odd] {
            d = 1.0 / away(1.0 + term * d);
            c = away(1.0 + term / c);
            last = c * d;
            value *= last;
        }
        if (last - 1.0).abs() < 1e-16 {
            break;
        }
    }
    front * value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clopper_pearson_agrees_with_scipy() {
        let rows = include_str!("../../../tests/goldens/clopper_pearson.csv").lines().skip(1);
        let mut checked = 0;
        for row in rows {
            let fields: Vec<&str> = row.split(',').collect();
            let count = |at: usize| fields[at].parse::<u64>().unwrap();
            let real = |at: usize| fields[at].parse::<f64>().unwrap();
            let found = clopper_pearson(count(0), count(1), real(2)).unwrap();
            for (ours, exact) in [(found.low, real(3)), (found.high, real(4))] {
                let close = (ours - exact).abs() <= 1e-9 * exact.max(1e-9);
                assert!(close, "{row}: {ours} is not {exact}");
            }
            checked += 1;
        }
        assert!(checked > 100, "{checked} rows");
        for (k, n, confidence) in [(0, 0, 0.95), (2, 1, 0.95), (0, 1, 0.0), (0, 1, 1.0), (0, 1, f64::NAN)] {
            assert!(clopper_pearson(k, n, confidence).is_err(), "{k} {n} {confidence}");
        }
    }

    #[test]
    fn the_bootstrap_of_a_constant_has_no_width_and_of_a_coin_that_of_the_binomial() {
        let same = bootstrap(&[0.25; 40], 200, 0.9, 3).unwrap();
        assert_eq!((same.low, same.high), (0.25, 0.25));
        let coin: Vec<f64> = (0..400).map(|at| f64::from(at % 2)).collect();
        let found = bootstrap(&coin, 4000, 0.95, 3).unwrap();
        // 1.96 sqrt(.25 / 400) = .049
        assert!((found.low - 0.451).abs() < 0.006 && (found.high - 0.549).abs() < 0.006, "{found:?}");
        assert_ne!(found, bootstrap(&coin, 4000, 0.95, 4).unwrap());
        assert!(bootstrap(&[], 10, 0.95, 0).is_err() && bootstrap(&coin, 0, 0.95, 0).is_err());
    }
}
