//! The exact nullspace of the patch embedding: pixel noise that no later layer ever sees.
//!
//! A patch embedding is the linear map `W [d, c p^2]` from a patch, flattened over (channel, row, column), to a token. Where
//! `c p^2 > d` it has a nullspace: `W v = 0`, so `f(x + v) = f(x)` for the whole model. Bias, position embedding and class
//! token cancel. ("Approximate Nullspace Augmented Finetuning for Robust Vision Transformers", arXiv 2403.10476.)
//!
//! The basis comes from a singular value decomposition in f64: the right singular vectors whose singular value is at most a
//! tolerance. For square or tall `W` the answer depends on that tolerance entirely, so spectrum and tolerance are part of
//! the result. Everything runs in one thread, so that the bits don't depend on the number of threads.
//!
//! `W` acts on *normalised* pixels `(x - mean) / std`. [`Nullspace::image_noise`] returns noise for pixels in [0, 1]:
//! channel c times `std_c`. Adding it must not be followed by clipping, which would leave the nullspace.

use std::ops::Range;

use engine::rng::{Philox, Stream};
use engine::{Error, Result, Tensor};
use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::matmul::matmul;
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{Accum, Mat, MatRef, Par};

/// Up to which singular value a direction counts as null.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Tolerance {
    /// `max(s) * eps * max(d, columns)` with eps of f32, 2^-23: scipy's `null_space` for weights that are stored in f32.
    #[default]
    F32,
    /// The same with eps of f64, 2^-52: for weights that were computed in f64.
    F64,
    /// `max(s)` times this.
    Relative(f64),
    /// This.
    Absolute(f64),
}

impl Tolerance {
    pub(super) fn absolute(self, largest: f64, rows: usize, columns: usize) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "dimensions stay below 2^53")]
        let side = rows.max(columns) as f64;
        match self {
            Self::F32 => largest * f64::from(f32::EPSILON) * side,
            Self::F64 => largest * f64::EPSILON * side,
            Self::Relative(factor) => largest * factor,
            Self::Absolute(value) => value,
        }
    }
}

/// The part of a nullspace that lives on a range of columns: one for the full nullspace, one for each channel otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Columns of `W` (rows of the basis) that it spans.
    pub columns: Range<usize>,
    /// All `min(d, columns)` singular values, largest first.
    pub singular: Vec<f64>,
    /// Singular values above `tolerance`.
    pub rank: usize,
    /// The absolute tolerance that decided the rank.
    pub tolerance: f64,
}

/// An orthonormal basis of the nullspace of a patch embedding.
#[derive(Clone, Debug)]
pub struct Nullspace {
    dims: [usize; 4],
    blocks: Vec<Block>,
    basis: Mat<f64>, // [columns, nullity]
}

impl Nullspace {
    /// The whole nullspace of the patch embedding `weight`, `[d, c, p, p]` in `dims`, row-major.
    ///
    /// # Errors
    /// Sizes that don't match or are 0, a weight that isn't finite, a tolerance that is negative or NaN, or a decomposition
    /// that doesn't converge.
    pub fn full(weight: &[f64], dims: [usize; 4], tolerance: Tolerance) -> Result<Self> {
        let [_, channels, height, width] = dims;
        Self::by_blocks(weight, dims, tolerance, 1, channels.saturating_mul(height).saturating_mul(width))
    }

    /// The direct sum of the nullspaces of every channel's `[d, p^2]` alone, as the authors' code computes it: a subspace of
    /// [`Nullspace::full`], block-diagonal, with noise that cancels within each channel.
    ///
    /// # Errors
    /// As [`Nullspace::full`].
    pub fn per_channel(weight: &[f64], dims: [usize; 4], tolerance: Tolerance) -> Result<Self> {
        let [_, channels, height, width] = dims;
        Self::by_blocks(weight, dims, tolerance, channels, height.saturating_mul(width))
    }

    fn by_blocks(weight: &[f64], dims: [usize; 4], tolerance: Tolerance, count: usize, width: usize) -> Result<Self> {
        let [rows, ..] = dims;
        let columns = count.saturating_mul(width);
        let error = |problem: &str| Error::new("nullspace", problem).with("weight [d, c, p, p]", format!("{dims:?}"));
        if weight.is_empty() || rows.checked_mul(columns) != Some(weight.len()) {
            return Err(error("the number of values does not match the shape").with("values", weight.len()));
        }
        if let Some(at) = weight.iter().position(|value| !value.is_finite()) {
            return Err(error("a weight isn't finite").with("index", at));
        }
        if let Tolerance::Relative(value) | Tolerance::Absolute(value) = tolerance
            && (value < 0.0 || value.is_nan())
        {
            return Err(error("the tolerance must be 0 or more").with("tolerance", value));
        }
        let matrix = MatRef::from_row_major_slice(weight, rows, columns);
        let mut blocks = Vec::with_capacity(count);
        let mut parts = Vec::with_capacity(count);
        for start in (0..columns).step_by(width) {
            let (singular, vectors) = decompose(matrix.subcols(start, width))?;
            let tolerance = tolerance.absolute(singular.first().copied().unwrap_or(0.0), rows, width);
            let rank = singular.iter().filter(|&&value| value > tolerance).count();
            blocks.push(Block { columns: start..start + width, singular, rank, tolerance });
            parts.push(vectors);
        }
        let nullity = blocks.iter().map(|block| width - block.rank).sum();
        let mut basis = Mat::zeros(columns, nullity);
        let mut column = 0;
        for (block, vectors) in blocks.iter().zip(&parts) {
            let null = width - block.rank;
            let target = basis.as_mut().submatrix_mut(block.columns.start, column, width, null);
            { target }.copy_from(vectors.subcols(block.rank, null));
            column += null;
        }
        Ok(Self { dims, blocks, basis })
    }

    /// Columns of `W`: `c p^2`.
    pub fn columns(&self) -> usize {
        self.basis.nrows()
    }

    /// Rank, summed over blocks. `rank + nullity = columns`.
    pub fn rank(&self) -> usize {
        self.blocks.iter().map(|block| block.rank).sum()
    }

    /// Dimensions of the nullspace.
    pub fn nullity(&self) -> usize {
        self.basis.ncols()
    }

    /// Spectrum, rank and tolerance of each block.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The orthonormal basis, f64 `[columns, nullity]`.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn basis(&self) -> Result<Tensor> {
        let nullity = self.nullity().max(1);
        Tensor::from_fn(&[self.columns(), self.nullity()], |i| self.basis[(i / nullity, i % nullity)])
    }

    /// The largest |entry| of `W N`: how null the basis is. About `tolerance` at worst, 1e-15 in practice; 0 if empty.
    ///
    /// # Errors
    /// `weight` has another size than the one the nullspace was computed from.
    pub fn residual(&self, weight: &[f64]) -> Result<f64> {
        let [rows, ..] = self.dims;
        if rows * self.columns() != weight.len() {
            return Err(Error::new("nullspace", "the weight has another size than the one it was computed from")
                .with("weight [d, c, p, p]", format!("{:?}", self.dims))
                .with("values", weight.len()));
        }
        let matrix = MatRef::from_row_major_slice(weight, rows, self.columns());
        Ok(product(matrix, self.basis.as_ref()).norm_max())
    }

    /// A random null vector `[c p^2]` of normalised pixels: gaussian noise projected onto the nullspace, so that its direction
    /// is uniform there and doesn't depend on the basis; then scaled to the norm `linf`.
    ///
    /// # Errors
    /// An empty nullspace, or a `linf` that isn't finite or negative.
    pub fn sample(&self, seed: u64, index: u32, linf: f64) -> Result<Vec<f64>> {
        let patches = self.draw(seed, index, 1, linf, |_| 1.0)?;
        Ok((0..self.columns()).map(|row| patches[(row, 0)]).collect())
    }

    /// Noise `[c, h, w]` for an image of pixels in [0, 1]: an independent null vector in each patch, multiplied by the channels'
    /// `std` to leave normalised space, and scaled so that every patch has the norm `linf` *in pixels*.
    ///
    /// `index` numbers the image. The sum of image and noise may leave [0, 1]: don't clip it.
    ///
    /// # Errors
    /// An empty nullspace, a size that patches don't tile, as many `std` as channels missing or not positive, or a `linf`
    /// that isn't finite or negative.
    pub fn image_noise(&self, seed: u64, index: u32, linf: f64, size: [usize; 2], std: &[f32]) -> Result<Vec<f32>> {
        let [_, channels, patch_height, patch_width] = self.dims;
        let [height, width] = size;
        if height == 0 || width == 0 || !height.is_multiple_of(patch_height) || !width.is_multiple_of(patch_width) {
            return Err(Error::new("nullspace", "patches don't tile the image")
                .with("image", format!("{height}x{width}"))
                .with("patch", format!("{patch_height}x{patch_width}")));
        }
        if std.len() != channels || std.iter().any(|&value| !(value > 0.0 && value.is_finite())) {
            return Err(Error::new("nullspace", "needs one positive std per channel")
                .with("channels", channels)
                .with("std", format!("{std:?}")));
        }
        let area = patch_height * patch_width;
        let across = width / patch_width;
        let patches = (height / patch_height) * across;
        let noise = self.draw(seed, index, patches, linf, |row| f64::from(std[row / area]))?;
        let pixel = |at: usize| {
            let (channel, y, x) = (at / (height * width), at / width % height, at % width);
            let patch = y / patch_height * across + x / patch_width;
            let row = channel * area + y % patch_height * patch_width + x % patch_width;
            rounded(noise[(row, patch)])
        };
        Ok((0..channels * height * width).map(pixel).collect())
    }

    /// Projected gaussian vectors, one per column, rows multiplied by `weight`, each scaled to `linf`.
    fn draw(&self, seed: u64, index: u32, count: usize, linf: f64, weight: impl Fn(usize) -> f64) -> Result<Mat<f64>> {
        if self.nullity() == 0 {
            return Err(Error::new("nullspace", "the nullspace is empty: the patch embedding loses nothing")
                .with("weight [d, c, p, p]", format!("{:?}", self.dims))
                .with("rank", self.rank())
                .help("take a model with c p^2 > d, such as patch 8 and width 96, or raise the tolerance"));
        }
        if !(linf >= 0.0 && linf.is_finite()) {
            return Err(Error::new("nullspace", "the norm must be finite and 0 or more").with("linf", linf));
        }
        let philox = Philox::new(seed, 0, Stream::named("nullspace.exact"));
        let columns = self.columns();
        let mut gauss = Mat::zeros(columns, count);
        philox.fill(index, columns * count, |element, bits| {
            gauss[(element % columns, element / columns)] = f64::from(engine::rng::normal(bits));
        });
        let basis = self.basis.as_ref();
        let mut noise = product(basis, product(basis.transpose(), gauss.as_ref()).as_ref());
        for patch in 0..count {
            let mut largest = 0.0_f64;
            for row in 0..columns {
                noise[(row, patch)] *= weight(row);
                largest = largest.max(noise[(row, patch)].abs());
            }
            let scale = if largest > 0.0 { linf / largest } else { 0.0 };
            (0..columns).for_each(|row| noise[(row, patch)] *= scale);
        }
        Ok(noise)
    }
}

/// The control of a nullspace experiment: the same values in random order. Every norm is equal, the structure is gone.
pub fn permuted(values: &[f32], seed: u64, index: u32) -> Vec<f32> {
    let philox = Philox::new(seed, 0, Stream::named("nullspace.permuted"));
    let mut values = values.to_vec();
    // Fisher and Yates, from the end.
    for last in (1..values.len()).rev() {
        let bound = u32::try_from(last + 1).unwrap_or(u32::MAX);
        values.swap(last, philox.below(index, last, bound) as usize);
    }
    values
}

/// Singular values, largest first, and all right singular vectors [columns, columns].
pub(super) fn decompose(matrix: MatRef<'_, f64>) -> Result<(Vec<f64>, Mat<f64>)> {
    let (rows, columns) = matrix.shape();
    let mut singular = Diag::zeros(rows.min(columns));
    let mut vectors = Mat::zeros(columns, columns);
    let (none, full, par) = (ComputeSvdVectors::No, ComputeSvdVectors::Full, Par::Seq);
    let mut scratch = MemBuffer::new(svd_scratch::<f64>(rows, columns, none, full, par, Default::default()));
    let stack = MemStack::new(&mut scratch);
    svd(matrix, singular.as_mut(), None, Some(vectors.as_mut()), par, stack, Default::default()).map_err(|error| {
        Error::new("nullspace", format!("the singular value decomposition failed: {error:?}"))
            .with("matrix", format!("{rows}x{columns}"))
    })?;
    Ok((singular.column_vector().iter().copied().collect(), vectors))
}

fn product(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let mut out = Mat::zeros(a.nrows(), b.ncols());
    matmul(out.as_mut(), Accum::Replace, a, b, 1.0, Par::Seq);
    out
}

#[expect(clippy::cast_possible_truncation, reason = "rounding is what the function is for")]
pub(crate) fn rounded(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gaussian(seed: u64, count: usize) -> Vec<f64> {
        let philox = Philox::new(seed, 0, Stream::named("test"));
        (0..count).map(|i| f64::from(philox.normal(0, i))).collect()
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    /// `count` orthonormal vectors of `width` entries, by Gram and Schmidt (twice) on gaussian vectors.
    fn orthonormal(seed: u64, count: usize, width: usize) -> Vec<Vec<f64>> {
        let mut done: Vec<Vec<f64>> = Vec::new();
        for i in 0..count {
            let mut vector = gaussian(seed + 1000 * (i as u64 + 1), width);
            for other in done.iter().chain(&done) {
                let along = dot(&vector, other);
                vector.iter_mut().zip(other).for_each(|(v, o)| *v -= along * o);
            }
            let norm = dot(&vector, &vector).sqrt();
            vector.iter_mut().for_each(|v| *v /= norm);
            done.push(vector);
        }
        done
    }

    /// A row-major [rows, columns] matrix with the given singular values.
    fn with_spectrum(seed: u64, rows: usize, columns: usize, singular: &[f64]) -> Vec<f64> {
        let left = orthonormal(seed, singular.len(), rows);
        let right = orthonormal(seed + 7, singular.len(), columns);
        let entry = |at: usize| {
            let of = |k: usize| singular[k] * left[k][at / columns] * right[k][at % columns];
            (0..singular.len()).map(of).sum()
        };
        (0..rows * columns).map(entry).collect()
    }

    fn respond(weight: &[f64], vector: &[f64]) -> f64 {
        weight.chunks_exact(vector.len()).map(|row| dot(row, vector).abs()).fold(0.0, f64::max)
    }

    /// `N'N - I` in the largest entry.
    fn departure(nullspace: &Nullspace) -> f64 {
        let basis = nullspace.basis().unwrap();
        let (values, nullity) = (basis.values::<f64>().unwrap(), nullspace.nullity());
        let column = |k: usize| values.iter().skip(k).step_by(nullity).copied().collect::<Vec<_>>();
        let entry = |i: usize, j: usize| (dot(&column(i), &column(j)) - f64::from(i == j)).abs();
        (0..nullity).flat_map(|i| (0..nullity).map(move |j| (i, j))).map(|(i, j)| entry(i, j)).fold(0.0, f64::max)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Wide, square, tall, full rank, deficient: the spectrum is found, and the basis is orthonormal and null.
        #[test]
        fn basis_is_null_and_orthonormal(rows in 1..24_usize, columns in 1..32_usize, rank in 0..24_usize, seed in 0..1000_u64) {
            let rank = rank.min(rows).min(columns);
            let mut spectrum: Vec<f64> = gaussian(seed, rank).iter().map(|z| 1.0 + z.abs()).collect();
            spectrum.sort_by(|a, b| b.total_cmp(a));
            let weight = with_spectrum(seed, rows, columns, &spectrum);
            let nullspace = Nullspace::full(&weight, [rows, columns, 1, 1], Tolerance::F32).unwrap();
            prop_assert_eq!(nullspace.rank(), rank);
            prop_assert_eq!(nullspace.rank() + nullspace.nullity(), columns);
            let found = &nullspace.blocks()[0].singular;
            prop_assert_eq!(found.len(), rows.min(columns));
            spectrum.resize(found.len(), 0.0);
            prop_assert!(found.iter().zip(&spectrum).all(|(a, b)| (a - b).abs() < 1e-13), "{:?} {:?}", found, spectrum);
            prop_assert!(nullspace.residual(&weight).unwrap() < 1e-13);
            if nullspace.nullity() > 0 {
                prop_assert!(departure(&nullspace) < 1e-13);
                let vector = nullspace.sample(seed, 3, 0.25).unwrap();
                prop_assert!(respond(&weight, &vector) < 1e-13);
                let linf = vector.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
                prop_assert!((linf - 0.25).abs() < 1e-15);
            } else {
                prop_assert!(nullspace.sample(seed, 3, 0.25).is_err());
            }
        }

        /// Each channel's nullspace lies in the full one, and its vectors cancel within each channel.
        #[test]
        fn per_channel_is_a_block_diagonal_subspace(rows in 1..12_usize, channels in 1..4_usize, seed in 0..1000_u64) {
            let dims = [rows, channels, 3, 4];
            let weight = gaussian(seed, rows * channels * 12);
            let nullspace = Nullspace::per_channel(&weight, dims, Tolerance::F32).unwrap();
            prop_assert_eq!(nullspace.rank() + nullspace.nullity(), channels * 12);
            prop_assert_eq!(nullspace.nullity(), channels * (12 - rows));
            prop_assert!(nullspace.residual(&weight).unwrap() < 1e-12 && departure(&nullspace) < 1e-12);
            prop_assert!(nullspace.nullity() <= Nullspace::full(&weight, dims, Tolerance::F32).unwrap().nullity());
            let vector = nullspace.sample(seed, 0, 1.0).unwrap();
            for channel in 0..channels {
                let mut alone = vec![0.0; vector.len()];
                alone[channel * 12..][..12].copy_from_slice(&vector[channel * 12..][..12]);
                prop_assert!(respond(&weight, &alone) < 1e-12, "channel {}", channel);
            }
        }

        /// Noise on pixels, normalised and cut into patches again, gives no response; its permutation does.
        #[test]
        fn image_noise_is_invisible_and_its_permutation_is_not(seed in 0..1000_u64, index in 0..9_u32) {
            let (rows, [height, width], std) = (20, [8, 12], [0.2_f32, 0.5, 0.3]);
            let weight = gaussian(seed, rows * 48);
            let nullspace = Nullspace::full(&weight, [rows, 3, 4, 4], Tolerance::F32).unwrap();
            let noise = nullspace.image_noise(seed, index, 0.1, [height, width], &std).unwrap();
            let response = |noise: &[f32]| {
                let mut largest = 0.0_f64;
                for (top, left) in [0, 4].into_iter().flat_map(|top| [0, 4, 8].map(|left| (top, left))) {
                    let patch: Vec<f64> = (0..48).map(|at| {
                        let (channel, y, x) = (at / 16, at / 4 % 4, at % 4);
                        f64::from(noise[(channel * height + top + y) * width + left + x]) / f64::from(std[channel])
                    }).collect();
                    let linf = (0..48).map(|at| (patch[at] * f64::from(std[at / 16])).abs()).fold(0.0, f64::max);
                    assert!(linf <= 0.1 + 1e-8, "{linf}");
                    largest = largest.max(respond(&weight, &patch));
                }
                largest
            };
            // f32 rounds 48 pixels of at most 0.1 / 0.2, by 2^-25 each, against weights that rarely pass 4.
            prop_assert!(response(&noise) < 1e-5, "{}", response(&noise));
            let control = permuted(&noise, seed, index);
            prop_assert!(response(&control) > 0.05, "{}", response(&control));
            let sorted = |values: &[f32]| {
                let mut values = values.to_vec();
                values.sort_by(f32::total_cmp);
                values
            };
            prop_assert_eq!(sorted(&noise), sorted(&control));
        }
    }

    #[test]
    fn the_tolerance_is_scipys_and_can_be_overridden() {
        let rank = |small: f64, tolerance| {
            let nullspace = Nullspace::full(&[1.0, 0.0, 0.0, small], [2, 2, 1, 1], tolerance).unwrap();
            (nullspace.rank(), nullspace.blocks()[0].tolerance)
        };
        let f32_rule = 2.0 * f64::from(f32::EPSILON);
        assert_eq!(rank(2.3e-7, Tolerance::F32), (1, f32_rule));
        assert_eq!(rank(2.5e-7, Tolerance::F32), (2, f32_rule));
        assert_eq!(rank(1e-12, Tolerance::F64).0, 2);
        assert_eq!(rank(0.1, Tolerance::Relative(0.2)).0, 1);
        assert_eq!(rank(0.1, Tolerance::Absolute(0.05)).0, 2);
    }

    #[test]
    fn samples_are_reproducible_independent_and_cover_the_nullspace() {
        let weight = gaussian(5, 3 * 12);
        let nullspace = Nullspace::full(&weight, [3, 3, 2, 2], Tolerance::F32).unwrap();
        assert_eq!(nullspace.sample(1, 0, 1.0).unwrap(), nullspace.sample(1, 0, 1.0).unwrap());
        assert_ne!(nullspace.sample(1, 0, 1.0).unwrap(), nullspace.sample(2, 0, 1.0).unwrap());
        // Patches of one image, and images, differ: nine samples span all nine dimensions.
        let mut rows = Vec::new();
        for index in 0..3 {
            let image = nullspace.image_noise(1, index, 1.0, [2, 6], &[1.0; 3]).unwrap();
            for patch in 0..3 {
                let at = |i: usize| f64::from(image[(i / 4 * 2 + i / 2 % 2) * 6 + patch * 2 + i % 2]);
                rows.extend((0..12).map(at));
            }
        }
        let span = Nullspace::full(&rows, [9, 12, 1, 1], Tolerance::Relative(1e-4)).unwrap();
        assert_eq!((span.rank(), nullspace.nullity()), (9, 9));
    }

    #[test]
    fn bad_input_is_refused_by_name() {
        let problem = |result: Result<Nullspace>| result.unwrap_err().to_string();
        assert!(problem(Nullspace::full(&[1.0; 5], [2, 3, 1, 1], Tolerance::F32)).contains("does not match"));
        assert!(problem(Nullspace::full(&[], [2, 0, 1, 1], Tolerance::F32)).contains("does not match"));
        assert!(problem(Nullspace::full(&[f64::NAN; 2], [1, 2, 1, 1], Tolerance::F32)).contains("finite"));
        assert!(problem(Nullspace::full(&[1.0; 2], [1, 2, 1, 1], Tolerance::Relative(-1.0))).contains("tolerance"));
        let nullspace = Nullspace::full(&[1.0; 8], [1, 2, 2, 2], Tolerance::F32).unwrap();
        assert!(nullspace.residual(&[1.0; 4]).is_err());
        assert!(nullspace.sample(0, 0, f64::INFINITY).is_err());
        assert!(nullspace.image_noise(0, 0, 0.1, [4, 5], &[1.0; 2]).is_err());
        assert!(nullspace.image_noise(0, 0, 0.1, [4, 4], &[1.0; 3]).is_err());
        assert!(nullspace.image_noise(0, 0, 0.1, [4, 4], &[1.0, 0.0]).is_err());
    }
}
