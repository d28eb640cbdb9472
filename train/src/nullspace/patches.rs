//! The patch embedding as a matrix on pixels in [0, 1], and images as patches.

use engine::{Error, Result};
use faer::Mat;

use super::exact::{Tolerance, decompose, rounded};

/// A patch embedding `W diag(1 / std)`, `[d, c p^2]`, over images of one size. The model normalises pixels by mean and std; the
/// mean cancels in differences.
#[derive(Clone, Debug)]
pub struct Patches {
    dims: [usize; 4],
    size: [usize; 2],
    matrix: Mat<f64>, // [d, c p^2]
}

/// Columns of the embedding that are taken together, and the split of their space.
#[derive(Clone, Debug)]
pub struct Split {
    /// First column and their number.
    pub columns: [usize; 2],
    /// Orthonormal rows that span what the embedding sees, [rank, columns].
    pub seen: Mat<f64>,
    /// Orthonormal columns that span its nullspace, [columns, nullity].
    pub null: Mat<f64>,
}

impl Patches {
    /// The embedding `weight` `[d, c, p, p]` (row-major, `dims`) for images of `size` (height, width), whose channels are
    /// divided by `std`.
    ///
    /// # Errors
    /// Sizes that don't match, patches that don't tile the image, a std that isn't positive, a weight that isn't finite.
    pub fn new(weight: &[f64], dims: [usize; 4], size: [usize; 2], std: &[f32]) -> Result<Self> {
        let [rows, channels, high, wide] = dims;
        let error = |problem: &str| Error::new("nullspace", problem).with("weight [d, c, p, p]", format!("{dims:?}"));
        let columns = channels.saturating_mul(high).saturating_mul(wide);
        if weight.is_empty() || rows.checked_mul(columns) != Some(weight.len()) {
            return Err(error("the number of values does not match the shape").with("values", weight.len()));
        }
        let [height, width] = size;
        if height == 0 || width == 0 || !height.is_multiple_of(high) || !width.is_multiple_of(wide) {
            return Err(error("patches don't tile the image").with("image", format!("{height}x{width}")));
        }
        if std.len() != channels || std.iter().any(|&value| !(value > 0.0 && value.is_finite())) {
            return Err(error("needs one positive std per channel").with("std", format!("{std:?}")));
        }
        if let Some(at) = weight.iter().position(|value| !value.is_finite()) {
            return Err(error("a weight isn't finite").with("index", at));
        }
        let area = high * wide;
        let entry = |row: usize, column: usize| weight[row * columns + column] / f64::from(std[column / area]);
        Ok(Self { dims, size, matrix: Mat::from_fn(rows, columns, entry) })
    }

    /// The embedding on pixels, [d, c p^2].
    pub fn matrix(&self) -> &Mat<f64> {
        &self.matrix
    }

    /// Patches of an image.
    pub fn count(&self) -> usize {
        let ([_, _, high, wide], [height, width]) = (self.dims, self.size);
        (height / high) * (width / wide)
    }

    /// Values of an image [c, h, w].
    pub fn volume(&self) -> usize {
        let ([_, channels, ..], [height, width]) = (self.dims, self.size);
        channels * height * width
    }

    /// Seen space and nullspace of all columns together, or of each channel's alone (as the authors' code has it).
    ///
    /// # Errors
    /// The decomposition doesn't converge, or nothing is null: the error tells rank and remedy.
    pub fn splits(&self, per_channel: bool, tolerance: Tolerance) -> Result<Vec<Split>> {
        let [_, channels, high, wide] = self.dims;
        let (count, width) = if per_channel { (channels, high * wide) } else { (1, channels * high * wide) };
        let splits: Result<Vec<Split>> = (0..count).map(|at| self.split(at * width, width, tolerance)).collect();
        let splits = splits?;
        if splits.iter().any(|split| split.null.ncols() > 0) {
            return Ok(splits);
        }
        let rank: usize = splits.iter().map(|split| split.seen.nrows()).sum();
        let mut error = Error::new("nullspace", "the nullspace is empty: the patch embedding loses nothing")
            .with("weight [d, c, p, p]", format!("{:?}", self.dims))
            .with("columns", self.matrix.ncols())
            .with("rank", rank);
        error = if per_channel && channels > 1 {
            error.help("take all channels together: --basis full; or a model with p^2 > d")
        } else {
            error.help("take a model with c p^2 > d, such as patch 8 and width 96, or raise --tolerance")
        };
        Err(error)
    }

    fn split(&self, start: usize, width: usize, tolerance: Tolerance) -> Result<Split> {
        let part = self.matrix.as_ref().subcols(start, width);
        let (rows, columns) = part.shape();
        let (singular, vectors) = decompose(part)?;
        let least = tolerance.absolute(singular.first().copied().unwrap_or(0.0), rows, columns);
        let rank = singular.iter().filter(|&&value| value > least).count();
        Ok(Split {
            columns: [start, width],
            seen: vectors.as_ref().subcols(0, rank).transpose().to_owned(),
            null: vectors.as_ref().subcols(rank, columns - rank).to_owned(),
        })
    }

    /// An image [c, h, w] as patches of `c p^2` values, row by row of the grid.
    ///
    /// # Errors
    /// The image has another size.
    pub fn gather(&self, image: &[f32]) -> Result<Vec<Vec<f64>>> {
        if image.len() != self.volume() {
            return Err(Error::new("nullspace", "the image has another size")
                .with("values", image.len())
                .with("expected", self.volume()));
        }
        let mut patches = vec![vec![0.0; self.matrix.ncols()]; self.count()];
        for (at, &value) in image.iter().enumerate() {
            let (patch, row) = self.place(at);
            patches[patch][row] = f64::from(value);
        }
        Ok(patches)
    }

    /// The image of patches, rounded to f32.
    pub fn scatter(&self, patches: &[Vec<f64>]) -> Vec<f32> {
        let pixel = |at: usize| {
            let (patch, row) = self.place(at);
            rounded(patches[patch][row])
        };
        (0..self.volume()).map(pixel).collect()
    }

    /// Which patch a pixel lies in, and where there.
    fn place(&self, at: usize) -> (usize, usize) {
        let ([_, _, high, wide], [height, width]) = (self.dims, self.size);
        let (channel, y, x) = (at / (height * width), at / width % height, at % width);
        (y / high * (width / wide) + x / wide, channel * high * wide + y % high * wide + x % wide)
    }
}
