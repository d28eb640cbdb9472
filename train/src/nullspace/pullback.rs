//! Noise on the patch tokens, carried back to pixels: method D of the authors' demonstrations for 2403.10476.
//!
//! For each patch, `min |W v - delta|²` over `lower <= v <= upper`: bounded least squares, not a pseudo-inverse, whose result
//! would leave the bounds. One image of noise for all images.

use engine::{Error, Result};
use faer::Mat;
use rayon::prelude::*;
use serde::Serialize;

use super::patches::Patches;
use super::program::{Program, applied, transposed};

/// Pixels whose embedding is as near to the wanted noise as the bounds allow.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PulledBack {
    /// Noise [c, h, w] for pixels in [0, 1].
    #[serde(skip)]
    pub noise: Vec<f32>,
    /// |W v - delta| / |delta| over all patches: 0 where the noise is reached exactly; 0 for no noise.
    pub misfit: f64,
    /// Largest |v - clamp(v - Wᵀ(W v - delta))|: 0 at a minimum (the KKT conditions of bounded least squares).
    pub kkt: f64,
    /// Sum over patches of `½ |W v - delta|²` minus its proved lower bound.
    pub gap: f64,
    /// Share of pixels that lie at a bound.
    pub bound: f64,
}

/// Carries `delta` [p, d] (noise on the patch tokens) back to pixels that lie in [-limit, limit].
///
/// # Errors
/// `delta` has another size or a value that isn't finite, or `limit` isn't positive.
pub fn pull_back(patches: &Patches, delta: &[f32], limit: f64) -> Result<PulledBack> {
    let width = patches.matrix().nrows();
    if delta.len() != patches.count() * width {
        return Err(Error::new("pull-back", "the noise does not have the shape of the patch tokens")
            .with("values", delta.len())
            .with("patches", patches.count())
            .with("width", width));
    }
    if let Some(at) = delta.iter().position(|value| !value.is_finite()) {
        return Err(Error::new("pull-back", "a value of the noise isn't finite").with("index", at));
    }
    if !(limit > 0.0 && limit.is_finite()) {
        return Err(Error::new("pull-back", "the limit must be positive").with("limit", limit));
    }
    let solved: Result<Vec<Part>> =
        delta.par_chunks(width).map(|delta| solve(patches.matrix(), delta, limit)).collect();
    let solved = solved?;
    let sum = |of: fn(&Part) -> f64| solved.iter().map(of).sum::<f64>();
    let length = sum(|part| part.length);
    let at_bound = solved.iter().flat_map(|part| &part.v).filter(|v| v.abs() >= limit * (1.0 - 1e-6)).count();
    let kkt = solved.iter().fold(0.0_f64, |most, part| most.max(part.kkt));
    let values: Vec<Vec<f64>> = solved.iter().map(|part| part.v.clone()).collect();
    Ok(PulledBack {
        noise: patches.scatter(&values),
        misfit: if length > 0.0 { (sum(|part| part.rest) / length).sqrt() } else { 0.0 },
        kkt,
        gap: sum(|part| part.gap),
        bound: at_bound as f64 / patches.volume().max(1) as f64,
    })
}

/// One patch; squared lengths.
struct Part {
    v: Vec<f64>,
    rest: f64,
    length: f64,
    kkt: f64,
    gap: f64,
}

fn solve(w: &Mat<f64>, delta: &[f32], limit: f64) -> Result<Part> {
    let (d, n) = w.shape();
    let delta: Vec<f64> = delta.iter().map(|&value| f64::from(value)).collect();
    // The residual is a variable of its own, without bounds: W v - r = delta.
    let entry = |row: usize, column: usize| match column.checked_sub(n) {
        None => w[(row, column)],
        Some(other) => -f64::from(u8::from(other == row)),
    };
    let bounds = |v: f64, r: f64| [vec![v; n], vec![r; d]].concat();
    let program = Program {
        quadratic: bounds(0.0, 1.0),
        linear: bounds(0.0, 0.0),
        matrix: Mat::from_fn(d, n + d, entry),
        right: delta.clone(),
        lower: bounds(-limit, f64::NEG_INFINITY),
        upper: bounds(limit, f64::INFINITY),
    };
    let solution = program.solve()?;
    let v = solution.point.get(..n).unwrap_or_default().to_vec();
    let rest: Vec<f64> = applied(w, &v).iter().zip(&delta).map(|(a, b)| a - b).collect();
    let squares = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>();
    let gradient = transposed(w, &rest);
    let moved = |(v, g): (&f64, &f64)| (v - (v - g).clamp(-limit, limit)).abs();
    Ok(Part {
        kkt: v.iter().zip(&gradient).map(moved).fold(0.0, f64::max),
        gap: (0.5 * squares(&rest) - solution.bound).abs(),
        rest: squares(&rest),
        length: squares(&delta),
        v,
    })
}

#[cfg(test)]
mod tests {
    use engine::rng::{Philox, Stream};
    use proptest::prelude::*;

    use super::*;

    fn setting(seed: u64, rows: usize) -> (Patches, Vec<f32>) {
        let philox = Philox::new(seed, 0, Stream::named("test"));
        let weight: Vec<f64> = (0..rows * 8).map(|i| f64::from(philox.normal(0, i))).collect();
        let patches = Patches::new(&weight, [rows, 2, 2, 2], [4, 2], &[0.5, 0.25]).unwrap();
        (patches, (0..2 * rows).map(|i| 2.0 * philox.normal(1, i)).collect())
    }

    fn distance(patches: &Patches, noise: &[f32], delta: &[f32]) -> f64 {
        let rows = patches.matrix().nrows();
        let parts = patches.gather(noise).unwrap();
        let embedded = parts.iter().map(|part| applied(patches.matrix(), part));
        let squares = embedded
            .zip(delta.chunks(rows))
            .map(|(found, wanted)| found.iter().zip(wanted).map(|(a, b)| (a - f64::from(*b)).powi(2)).sum::<f64>());
        squares.sum::<f64>().sqrt()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn it_is_the_nearest_within_the_bounds(seed: u64, rows in 1_usize..14, limit in 0.01_f64..1.0) {
            let (patches, delta) = setting(seed, rows);
            let found = pull_back(&patches, &delta, limit).unwrap();
            prop_assert!(found.noise.iter().all(|v| f64::from(v.abs()) <= limit * (1.0 + 1e-7)));
            prop_assert!(found.kkt < 1e-4 && found.gap < 1e-6, "{found:?}");
            // Moving any one pixel either way, within the bounds, brings it no nearer.
            let best = distance(&patches, &found.noise, &delta);
            for at in 0..16 {
                for step in [-0.01, 0.01] {
                    let mut other = found.noise.clone();
                    #[expect(clippy::cast_possible_truncation, reason = "a bound")]
                    let most = limit as f32;
                    other[at] = (other[at] + step).clamp(-most, most);
                    prop_assert!(distance(&patches, &other, &delta) >= best - 1e-5);
                }
            }
        }

        /// What an image within the bounds embeds to is reached, and the misfit is that of the test's own arithmetic.
        #[test]
        fn what_can_be_reached_is_reached(seed: u64, rows in 1_usize..14) {
            let (patches, far) = setting(seed, rows);
            let philox = Philox::new(seed, 2, Stream::named("test"));
            let image: Vec<f32> = (0..16).map(|i| philox.uniform(0, i) - 0.5).collect();
            let parts = patches.gather(&image).unwrap();
            #[expect(clippy::cast_possible_truncation, reason = "tokens are f32")]
            let delta: Vec<f32> =
                parts.iter().flat_map(|part| applied(patches.matrix(), part)).map(|v| v as f32).collect();
            let found = pull_back(&patches, &delta, 0.5).unwrap();
            prop_assert!(found.misfit < 1e-5, "{found:?}");
            let found = pull_back(&patches, &far, 0.1).unwrap();
            let length = far.iter().map(|d| f64::from(*d).powi(2)).sum::<f64>().sqrt();
            prop_assert!((found.misfit * length - distance(&patches, &found.noise, &far)).abs() < 1e-4 * length);
        }
    }

    #[test]
    fn bad_noise_is_refused() {
        let (patches, mut delta) = setting(1, 3);
        assert!(pull_back(&patches, &delta[1..], 0.1).unwrap_err().to_string().contains("patch tokens"));
        assert!(pull_back(&patches, &delta, 0.0).unwrap_err().to_string().contains("positive"));
        delta[2] = f32::INFINITY;
        assert!(pull_back(&patches, &delta, 0.1).unwrap_err().to_string().contains("finite"));
    }
}
