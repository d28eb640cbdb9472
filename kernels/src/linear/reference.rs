//! Plain loops.

use engine::Real;

use super::{Activation, Sizes};

/// Pre-activations a = x W' + b.
pub(super) fn product<T: Real>(sizes: Sizes, x: &[T], weight: &[T], bias: Option<&[T]>) -> Vec<T> {
    let Sizes { m, n, k } = sizes;
    let mut a = vec![T::ZERO; m * n];
    for row in 0..m {
        for column in 0..n {
            let mut sum = T::ZERO;
            for inner in 0..k {
                sum += x[row * k + inner] * weight[column * k + inner];
            }
            a[row * n + column] = sum + bias.map_or(T::ZERO, |bias| bias[column]);
        }
    }
    a
}

/// act(a), element by element.
pub(super) fn activate<T: Real>(activation: Option<Activation>, a: &[T]) -> Vec<T> {
    a.iter().map(|&a| activation.map_or(a, |activation| activation.value(a))).collect()
}

/// Returns (dx, dW, db).
pub(super) fn backward<T: Real>(
    sizes: Sizes,
    activation: Option<Activation>,
    x: &[T],
    weight: &[T],
    a: &[T],
    dy: &[T],
) -> (Vec<T>, Vec<T>, Vec<T>) {
    let Sizes { m, n, k } = sizes;
    let da: Vec<T> =
        dy.iter().zip(a).map(|(&dy, &a)| dy * activation.map_or(T::ONE, |activation| activation.slope(a))).collect();
    let (mut dx, mut dw, mut db) = (vec![T::ZERO; m * k], vec![T::ZERO; n * k], vec![T::ZERO; n]);
    for row in 0..m {
        for column in 0..n {
            let da = da[row * n + column];
            db[column] += da;
            for inner in 0..k {
                dx[row * k + inner] += da * weight[column * k + inner];
                dw[column * k + inner] += da * x[row * k + inner];
            }
        }
    }
    (dx, dw, db)
}
