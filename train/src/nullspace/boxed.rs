//! Noise from the exact nullspace of the patch embedding that keeps an image displayable: pixels stay in [0, 1].
//!
//! Each patch `y` is a problem of its own: find `v` with `W v = 0` and `0 <= y + v <= 1` that
//! - is as large as can be ([`largest`]; methods A and B of the authors' demonstrations for 2403.10476), or
//! - brings `y + v` as near as can be to another image ([`superpose`]; method C): it looks like that one, and every layer
//!   of the model computes what it computes for `y`.
//!
//! Results are rounded to f32 last, which leaves [0, 1] closed and changes what the embedding sees by the rounding only.
//! Patches don't depend on one another, nor the bits on the number of threads.

use engine::{Error, Result};
use rayon::prelude::*;
use serde::Serialize;

use super::exact::rounded;
use super::patches::{Patches, Split};
use super::program::{Program, applied, transposed};

/// How the largest noise is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Search {
    /// Along one basis vector after the other, as far as the box allows, whichever sign adds more to the L1 change; all
    /// vectors again until nothing is gained. The authors' grid of step lengths is replaced by the exact largest step.
    Greedy,
    /// The linear programme `max Σ v`, as the authors' SLSQP has it: exact, with a certificate.
    Sum,
    /// The L1 norm, which is convex and so has many maxima: from the greedy noise on, linear programmes
    /// `max sign(v)·v`, each at least as large as the one before, until none is larger. A local maximum.
    L1,
}

/// How far a superposition is from the image that it shall look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Distance {
    /// Sum of absolute differences, as in the authors' code.
    L1,
    /// Euclidean.
    L2,
}

/// An image after noise, and figures about the noise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Noisy {
    /// The image [c, h, w], f32 in [0, 1].
    #[serde(skip)]
    pub image: Vec<f32>,
    /// Sum of absolute changes of pixels.
    pub l1: f64,
    /// Euclidean length of the change.
    pub l2: f64,
    /// Largest change of a pixel.
    pub linf: f64,
    /// Largest |W v|, v being the change as written (in f32): what the first layer sees of it.
    pub seen: f64,
    /// Sum over patches of objective minus proved bound, absolute: 0 where nothing better exists. `None` where the search
    /// proves nothing.
    pub gap: Option<f64>,
}

/// The noise of one patch.
struct Part {
    change: Vec<f64>,
    gap: f64,
}

/// The largest noise from the nullspace that keeps every pixel of `image` [c, h, w] in [0, 1].
///
/// # Errors
/// Pixels outside [0, 1], another size, or a programme that can't be solved.
pub fn largest(patches: &Patches, splits: &[Split], image: &[f32], search: Search) -> Result<Noisy> {
    solve(patches, splits, image, search != Search::Greedy, |split, room, _| {
        let greedy = || greedy(split, room);
        match search {
            Search::Greedy => Ok(Part { change: greedy(), gap: 0.0 }),
            Search::Sum => climb(split, room, &vec![1.0; room.lower.len()]),
            Search::L1 => longest(split, room, greedy()),
        }
    })
}

/// The image nearest to `target` that the model takes for `source`; both [c, h, w].
///
/// # Errors
/// As [`largest`].
pub fn superpose(
    patches: &Patches,
    splits: &[Split],
    source: &[f32],
    target: &[f32],
    distance: Distance,
) -> Result<Noisy> {
    check_pixels(target)?;
    let wanted = patches.gather(target)?;
    solve(patches, splits, source, true, |split, room, patch| {
        let [start, width] = split.columns;
        let wanted = wanted.get(patch).and_then(|values| values.get(start..start + width)).unwrap_or_default();
        let way: Vec<f64> = wanted.iter().zip(&room.values).map(|(to, from)| to - from).collect();
        match distance {
            Distance::L1 => nearest_l1(split, room, &way),
            Distance::L2 => nearest_l2(split, room, &way),
        }
    })
}

/// A part of a patch, and how far its values may change.
struct Room {
    values: Vec<f64>,
    lower: Vec<f64>,
    upper: Vec<f64>,
}

fn solve(
    patches: &Patches,
    splits: &[Split],
    image: &[f32],
    certified: bool,
    part: impl Fn(&Split, &Room, usize) -> Result<Part> + Sync,
) -> Result<Noisy> {
    check_pixels(image)?;
    let clean = patches.gather(image)?;
    let solved: Result<Vec<(Vec<f64>, f64)>> = clean
        .par_iter()
        .enumerate()
        .map(|(at, patch)| {
            let mut noisy = patch.clone();
            let mut gap = 0.0;
            for split in splits.iter().filter(|split| split.null.ncols() > 0) {
                let [start, width] = split.columns;
                let values = patch.get(start..start + width).unwrap_or_default().to_vec();
                let lower = values.iter().map(|y| -y).collect();
                let upper = values.iter().map(|y| 1.0 - y).collect();
                let found = part(split, &Room { values, lower, upper }, at)?;
                gap += found.gap;
                for (pixel, change) in noisy.iter_mut().skip(start).zip(&found.change) {
                    *pixel = (*pixel + change).clamp(0.0, 1.0);
                }
            }
            Ok((noisy, gap))
        })
        .collect();
    let (noisy, gaps): (Vec<Vec<f64>>, Vec<f64>) = solved?.into_iter().unzip();
    let gap = certified.then(|| gaps.iter().sum());
    Ok(measured(patches, image, patches.scatter(&noisy), gap))
}

/// Figures about the change from `clean` to `image`.
fn measured(patches: &Patches, clean: &[f32], image: Vec<f32>, gap: Option<f64>) -> Noisy {
    let change: Vec<f64> = image.iter().zip(clean).map(|(a, b)| f64::from(*a) - f64::from(*b)).collect();
    let linf = change.iter().fold(0.0_f64, |most, v| most.max(v.abs()));
    let seen = |image: &[f32]| -> Vec<Vec<f64>> {
        let parts = patches.gather(image).unwrap_or_default();
        parts.iter().map(|patch| applied(patches.matrix(), patch)).collect()
    };
    let pairs = seen(&image).into_iter().flatten().zip(seen(clean).into_iter().flatten());
    Noisy {
        l1: change.iter().map(|v| v.abs()).sum(),
        l2: change.iter().map(|v| v * v).sum::<f64>().sqrt(),
        linf,
        seen: pairs.fold(0.0_f64, |most, (a, b)| most.max((a - b).abs())),
        gap,
        image,
    }
}

fn check_pixels(image: &[f32]) -> Result<()> {
    match image.iter().position(|pixel| !(0.0..=1.0).contains(pixel)) {
        None => Ok(()),
        Some(at) => Err(Error::new("nullspace", "a pixel lies outside [0, 1]")
            .with("index", at)
            .with("value", image.get(at).copied().unwrap_or(f32::NAN))
            .help("give images as they are, before any normalisation")),
    }
}

/// The part of `v` that the embedding doesn't see, kept within the room. Solutions satisfy both up to 1e-9 or so.
fn mended(split: &Split, room: &Room, v: &[f64]) -> Vec<f64> {
    let visible = transposed(&split.seen, &applied(&split.seen, v));
    let null = v.iter().zip(visible).map(|(v, seen)| v - seen);
    null.zip(&room.lower).zip(&room.upper).map(|((v, &l), &u)| v.clamp(l, u)).collect()
}

/// Coordinate ascent along the basis.
fn greedy(split: &Split, room: &Room) -> Vec<f64> {
    let width = room.lower.len();
    let mut v = vec![0.0; width];
    let l1 = |v: &[f64]| v.iter().map(|v| v.abs()).sum::<f64>();
    let mut best = 0.0;
    // Each sweep raises the sum, which is bounded; few are needed.
    for _ in 0..50 {
        let before = best;
        for direction in split.null.col_iter() {
            let direction: Vec<f64> = direction.iter().copied().collect();
            for sign in [1.0, -1.0] {
                let step = (0..width).fold(f64::INFINITY, |least, i| {
                    let slope = sign * direction[i];
                    let reach = if slope > 0.0 { room.upper[i] - v[i] } else { room.lower[i] - v[i] };
                    if slope.abs() > 1e-12 { least.min(reach / slope) } else { least }
                });
                if !(step.is_finite() && step > 0.0) {
                    continue;
                }
                let moved: Vec<f64> = v.iter().zip(&direction).map(|(v, d)| v + sign * step * d).collect();
                let length = l1(&moved);
                if length > best {
                    (v, best) = (moved, length);
                }
            }
        }
        if best <= before * (1.0 + 1e-6) {
            break;
        }
    }
    mended(split, room, &v)
}

/// max direction·v over null v within the room.
fn climb(split: &Split, room: &Room, direction: &[f64]) -> Result<Part> {
    let program = Program {
        quadratic: vec![0.0; direction.len()],
        linear: direction.iter().map(|d| -d).collect(),
        matrix: split.seen.clone(),
        right: vec![0.0; split.seen.nrows()],
        lower: room.lower.clone(),
        upper: room.upper.clone(),
    };
    let solution = program.solve()?;
    let change = mended(split, room, &solution.point);
    let gap = program.objective(&change) - solution.bound;
    Ok(Part { change, gap: gap.abs() })
}

/// Rounds of linear programmes; each ends at a vertex, of which there are finitely many.
const ROUNDS: usize = 30;

fn longest(split: &Split, room: &Room, start: Vec<f64>) -> Result<Part> {
    let l1 = |v: &[f64]| v.iter().map(|v| v.abs()).sum::<f64>();
    let mut best = Part { change: start, gap: 0.0 };
    for round in 0..ROUNDS {
        // Where nothing has changed yet, towards the farther bound.
        let towards = |(i, &v): (usize, &f64)| if v == 0.0 { room.lower[i] + room.upper[i] } else { v };
        let signs: Vec<f64> = best.change.iter().enumerate().map(towards).map(f64::signum).collect();
        let next = climb(split, room, &signs)?;
        let (before, after) = (l1(&best.change), l1(&next.change));
        if round == 0 || after > before {
            best.gap = next.gap;
        }
        if after <= before * (1.0 + 1e-9) {
            break;
        }
        best = next;
    }
    Ok(best)
}

fn nearest_l2(split: &Split, room: &Room, way: &[f64]) -> Result<Part> {
    let program = Program {
        quadratic: vec![1.0; way.len()],
        linear: way.iter().map(|w| -w).collect(),
        matrix: split.seen.clone(),
        right: vec![0.0; split.seen.nrows()],
        lower: room.lower.clone(),
        upper: room.upper.clone(),
    };
    let solution = program.solve()?;
    let change = mended(split, room, &solution.point);
    let gap = program.objective(&change) - solution.bound;
    Ok(Part { change, gap: gap.abs() })
}

/// min |way - v|_1: v = way + up - down, with up and down at least 0 and priced 1. Both are never positive together at the
/// optimum, and `way` itself lies within the room, so the room of v is theirs.
fn nearest_l1(split: &Split, room: &Room, way: &[f64]) -> Result<Part> {
    let n = way.len();
    let (rank, seen) = (split.seen.nrows(), &split.seen);
    let up = way.iter().zip(&room.upper).map(|(w, u)| (u - w).max(0.0));
    let down = way.iter().zip(&room.lower).map(|(w, l)| (w - l).max(0.0));
    let entry = |row: usize, column: usize| if column < n { seen[(row, column)] } else { -seen[(row, column - n)] };
    let program = Program {
        quadratic: vec![0.0; 2 * n],
        linear: vec![1.0; 2 * n],
        matrix: faer::Mat::from_fn(rank, 2 * n, entry),
        right: applied(seen, way).iter().map(|value| -value).collect(),
        lower: vec![0.0; 2 * n],
        upper: up.chain(down).collect(),
    };
    let solution = program.solve()?;
    let (up, down) = solution.point.split_at(n);
    let v: Vec<f64> = way.iter().zip(up).zip(down).map(|((w, up), down)| w + up - down).collect();
    let change = mended(split, room, &v);
    let distance: f64 = way.iter().zip(&change).map(|(w, v)| (w - v).abs()).sum();
    Ok(Part { change, gap: (distance - solution.bound).abs() })
}

/// Peak signal-to-noise ratio in dB of an image against another, both in [0, 1]: `-10 log10(mean squared difference)`.
/// Infinite for equal images.
pub fn psnr(a: &[f32], b: &[f32]) -> f64 {
    let squares: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    let count = a.len().min(b.len()).max(1) as f64;
    -10.0 * (squares / count).log10()
}

/// The noise that `image` carries beside `clean`, in f32.
pub fn difference(image: &[f32], clean: &[f32]) -> Vec<f32> {
    image.iter().zip(clean).map(|(a, b)| rounded(f64::from(*a) - f64::from(*b))).collect()
}

#[cfg(test)]
mod tests {
    use engine::rng::{Philox, Stream};
    use proptest::prelude::*;

    use super::*;
    use crate::nullspace::exact::Tolerance;

    const STD: [f32; 2] = [0.5, 0.3];

    struct Setting {
        weight: Vec<f64>,
        patches: Patches,
        splits: Vec<Split>,
        images: [Vec<f32>; 2],
    }

    /// A random embedding of 2 channels and patches of 2 x 4 over two patches, and images with many pixels at the bounds.
    fn setting(seed: u64, rows: usize, per_channel: bool) -> Setting {
        let philox = Philox::new(seed, 0, Stream::named("test"));
        let weight: Vec<f64> = (0..rows * 16).map(|i| f64::from(philox.normal(0, i))).collect();
        let patches = Patches::new(&weight, [rows, 2, 2, 4], [4, 4], &STD).unwrap();
        let splits = patches.splits(per_channel, Tolerance::F32).unwrap();
        let image = |sample: u32| (0..32).map(|i| (3.0 * philox.uniform(sample, i) - 1.0).clamp(0.0, 1.0)).collect();
        Setting { weight, patches, splits, images: [image(1), image(2)] }
    }

    fn seen(weight: &[f64], image: &[f32]) -> Vec<f64> {
        // In the test's own words: normalise, cut, multiply.
        let row = |patch: usize, row: &[f64]| -> f64 {
            let pixel = |column: usize| {
                let (c, y, x) = (column / 8, column / 4 % 2, column % 4);
                f64::from(image[c * 16 + (patch * 2 + y) * 4 + x]) / f64::from(STD[c])
            };
            row.iter().enumerate().map(|(column, w)| w * pixel(column)).sum()
        };
        (0..2).flat_map(|patch| weight.chunks(16).map(move |w| (patch, w))).map(|(patch, w)| row(patch, w)).collect()
    }

    fn check(setting: &Setting, from: &[f32], noisy: &Noisy) -> std::result::Result<(), TestCaseError> {
        prop_assert!(noisy.image.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
        let (before, after) = (seen(&setting.weight, from), seen(&setting.weight, &noisy.image));
        let size = before.iter().fold(1.0_f64, |most, s| most.max(s.abs()));
        let most = before.iter().zip(&after).fold(0.0_f64, |most, (a, b)| most.max((a - b).abs()));
        prop_assert!(most < 3e-6 * size, "{most} of {size}");
        prop_assert!((most - noisy.seen).abs() < 1e-12);
        prop_assert!(noisy.gap.is_none_or(|gap| gap < 1e-5), "{:?}", noisy.gap);
        Ok(())
    }

    fn sum(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b)).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn noise_stays_in_the_box_and_is_not_seen(seed: u64, rows in 1_usize..7, per_channel: bool) {
            let setting = setting(seed, rows, per_channel);
            let Setting { patches, splits, images: [image, _], .. } = &setting;
            let [greedy, summed, longest] = [Search::Greedy, Search::Sum, Search::L1]
                .map(|search| largest(patches, splits, image, search).unwrap());
            for noisy in [&greedy, &summed, &longest] {
                check(&setting, image, noisy)?;
            }
            prop_assert!(longest.l1 >= greedy.l1 - 1e-5 && longest.l1 >= summed.l1.min(greedy.l1) - 1e-5);
            prop_assert!(sum(&summed.image, image) >= sum(&greedy.image, image) - 1e-5);
            prop_assert!(sum(&summed.image, image) >= sum(&longest.image, image) - 1e-5);
        }

        #[test]
        fn superpositions_are_the_nearest(seed: u64, rows in 1_usize..7, per_channel: bool) {
            let setting = setting(seed, rows, per_channel);
            let Setting { patches, splits, images: [source, target], .. } = &setting;
            let near = superpose(patches, splits, source, target, Distance::L2).unwrap();
            let straight = superpose(patches, splits, source, target, Distance::L1).unwrap();
            check(&setting, source, &near)?;
            check(&setting, source, &straight)?;
            let l1 = |image: &[f32]| difference(image, target).iter().map(|d| f64::from(d.abs())).sum::<f64>();
            prop_assert!(psnr(&near.image, target) >= psnr(&straight.image, target) - 1e-3);
            prop_assert!(l1(&straight.image) <= l1(&near.image) + 1e-5);
            // The way from the nearest to the target makes no acute angle with the way to any other feasible image.
            for search in [Search::Greedy, Search::Sum, Search::L1] {
                let other = largest(patches, splits, source, search).unwrap();
                let way = difference(target, &near.image);
                let aside = difference(&other.image, &near.image);
                let product: f64 = way.iter().zip(&aside).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                prop_assert!(product < 1e-4, "{product}");
            }
        }
    }

    /// Here the corrector's second-order term goes round in circles at full weight.
    #[test]
    fn a_degenerate_superposition_is_found() {
        let Setting { patches, splits, images: [source, target], .. } = setting(9_465_650_896_084_985_257, 4, true);
        let found = superpose(&patches, &splits, &source, &target, Distance::L2).unwrap();
        assert!(found.gap.unwrap() < 1e-8, "{found:?}");
    }

    #[test]
    fn an_image_superposed_on_itself_stays() {
        let Setting { patches, splits, images: [image, _], .. } = setting(3, 4, false);
        for distance in [Distance::L1, Distance::L2] {
            let same = superpose(&patches, &splits, &image, &image, distance).unwrap();
            // A strongly convex objective that is g from its least value is sqrt(2 g) from its minimiser.
            let most = (2.0 * same.gap.unwrap()).sqrt() + 1e-7;
            assert!(same.linf <= most && same.linf < 3e-6, "{} but {most}", same.linf);
        }
    }

    #[test]
    fn empty_nullspaces_and_bad_pixels_are_refused() {
        let weight: Vec<f64> =
            (0..256).map(|i| f64::from(Philox::new(1, 0, Stream::named("test")).normal(0, i))).collect();
        let full = Patches::new(&weight, [16, 1, 4, 4], [4, 4], &[1.0]).unwrap();
        let error = full.splits(false, Tolerance::F32).unwrap_err().to_string();
        assert!(error.contains("empty") && error.contains("16\n  help") && error.contains("patch 8"), "{error}");
        let Setting { patches, splits, images: [image, _], .. } = setting(3, 4, false);
        for bad in [f32::NAN, -0.1, 1.1] {
            let mut spoilt = image.clone();
            spoilt[5] = bad;
            assert!(largest(&patches, &splits, &spoilt, Search::Sum).unwrap_err().to_string().contains("index  5"));
            assert!(superpose(&patches, &splits, &image, &spoilt, Distance::L2).is_err());
        }
        assert!(largest(&patches, &splits, &image[1..], Search::Sum).is_err());
        assert!(Patches::new(&[1.0; 16], [1, 1, 4, 4], [6, 4], &[1.0]).is_err());
    }
}
