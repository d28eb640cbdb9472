//! Plain loops. Matrices are `[k, m]`, one for the batch or one per sample.

use engine::Real;
use engine::rng::Philox;

use super::{Entries, Matrix, Mean, Sharing};

/// The matrices of all samples, or the one that they share.
pub(super) fn matrices<T: Real>(matrix: Matrix, k: usize, philox: &Philox, ids: &[u32]) -> Vec<Vec<T>> {
    let m = matrix.width;
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let std = matrix.sigma / (k as f32).sqrt();
    let noise = |sample: u32, at: usize| match matrix.entries {
        Entries::Uniform => {
            let half_width = 3.0_f32.sqrt() * std;
            -half_width + 2.0 * half_width * philox.uniform(sample, at)
        }
        Entries::Normal => std * philox.normal(sample, at),
        Entries::Sign => {
            if philox.uniform(sample, at) < 0.5 {
                std
            } else {
                -std
            }
        }
    };
    let identity = |at: usize| if matrix.mean == Mean::Identity && at / m == at % m { T::ONE } else { T::ZERO };
    let samples = if matrix.sharing == Sharing::PerImage { ids } else { &[0] };
    samples.iter().map(|&sample| (0..k * m).map(|at| T::from_f32(noise(sample, at)) + identity(at)).collect()).collect()
}

/// Rows of `x`, each times the matrix of its sample, or its transpose.
pub(super) fn product<T: Real>(matrices: &[Vec<T>], b: usize, m: usize, transposed: bool, x: &[T]) -> Vec<T> {
    let k = matrices[0].len() / m;
    let (inner, outer) = if transposed { (m, k) } else { (k, m) };
    let rows = x.len() / inner;
    let mut y = Vec::with_capacity(rows * outer);
    for row in 0..rows {
        let w = &matrices[if matrices.len() == 1 { 0 } else { row * b / rows }];
        let entry = |i: usize, j: usize| if transposed { w[j * m + i] } else { w[i * m + j] };
        y.extend((0..outer).map(|j| (0..inner).map(|i| x[row * inner + i] * entry(i, j)).sum::<T>()));
    }
    y
}
