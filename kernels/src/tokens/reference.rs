//! Plain loops over (sample, token, column).

use engine::Real;

/// A part: where its tokens start and how many there are, and its values `[1 or b, tokens, d]`.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a, T> {
    pub first: usize,
    pub tokens: usize,
    pub values: &'a [T],
}

impl<T> Piece<'_, T> {
    /// Index into the values of an element of the output, if the piece reaches it.
    fn index(&self, sample: usize, token: usize, column: usize, d: usize) -> Option<usize> {
        let row = token.checked_sub(self.first).filter(|&row| row < self.tokens)?;
        let batch = self.values.len() / (self.tokens * d);
        Some(((if batch == 1 { 0 } else { sample }) * self.tokens + row) * d + column)
    }
}

/// y = sum of what each piece puts there; pieces in the order of the formula.
pub(super) fn forward<T: Real>([b, n, d]: [usize; 3], pieces: &[Piece<T>]) -> Vec<T> {
    let mut y = vec![T::ZERO; b * n * d];
    for (i, y) in y.iter_mut().enumerate() {
        let (sample, token, column) = (i / (n * d), i / d % n, i % d);
        for piece in pieces {
            if let Some(at) = piece.index(sample, token, column, d) {
                *y += piece.values[at];
            }
        }
    }
    y
}

/// The gradient of one piece.
pub(super) fn backward<T: Real>([_, n, d]: [usize; 3], piece: &Piece<T>, dy: &[T]) -> Vec<T> {
    let mut gradient = vec![T::ZERO; piece.values.len()];
    for (i, &dy) in dy.iter().enumerate() {
        if let Some(at) = piece.index(i / (n * d), i / d % n, i % d, d) {
            gradient[at] += dy;
        }
    }
    gradient
}
