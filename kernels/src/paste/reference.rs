//! Plain loops.

use engine::Real;

pub(super) fn forward<T: Real>(image: &[T], patch: &[T], mask: &[T]) -> Vec<T> {
    (0..image.len()).map(|i| if mask[i] == T::ZERO { image[i] } else { patch[i] }).collect()
}

/// Returns the image's gradient and the patch's.
pub(super) fn backward<T: Real>(mask: &[T], dy: &[T]) -> [Vec<T>; 2] {
    let zeros = vec![T::ZERO; dy.len()];
    [forward(dy, &zeros, mask), forward(&zeros, dy, mask)]
}
