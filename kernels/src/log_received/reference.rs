//! Plain loops over x [b, n, h, d].

use engine::Real;

use super::FLOOR;

/// Mean over the heads of query `row` of all samples.
fn mean<T: Real>(x: &[T], row: usize, h: usize, d: usize) -> T {
    (0..h).map(|head| x[(row * h + head) * d]).sum::<T>() / T::from_usize(h)
}

pub(super) fn forward<T: Real>([b, n, h, d]: [usize; 4], x: &[T]) -> Vec<T> {
    let log = |row| Real::max(mean(x, row, h, d), T::from_f64(FLOOR)).ln();
    (0..b).map(|sample| (0..n).map(|i| log(sample * n + i)).sum::<T>() / T::from_usize(n)).collect()
}

pub(super) fn backward<T: Real>([b, n, h, d]: [usize; 4], x: &[T], dy: &[T]) -> Vec<T> {
    let mut dx = vec![T::ZERO; x.len()];
    for row in 0..b * n {
        let a = mean(x, row, h, d);
        for head in 0..h {
            if a >= T::from_f64(FLOOR) {
                dx[(row * h + head) * d] = dy[row / n] / (T::from_usize(n * h) * a);
            }
        }
    }
    dx
}
