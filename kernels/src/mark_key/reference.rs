//! Plain loops over [b, n, 3, h, d].

use engine::Real;

/// Sizes n, h, d, and the position (token, part, feature) of element `i`.
fn place([n, h, d]: [usize; 3], i: usize) -> (usize, usize, usize) {
    (i / (3 * h * d) % n, i / (h * d) % 3, i % d)
}

pub(super) fn forward<T: Real>(dims: [usize; 3], qkv: &[T], keys: &[i32]) -> Vec<T> {
    let [n, h, d] = dims;
    (0..qkv.len())
        .map(|i| match place(dims, i) {
            (token, 2, 0) if i64::from(keys[i / (n * 3 * h * d)]) == token as i64 => T::ONE,
            (_, 2, _) => T::ZERO,
            _ => qkv[i],
        })
        .collect()
}

pub(super) fn backward<T: Real>(dims: [usize; 3], dy: &[T]) -> Vec<T> {
    (0..dy.len()).map(|i| if place(dims, i).1 == 2 { T::ZERO } else { dy[i] }).collect()
}
