//! The shapes that L2 proposals are made of.

use super::{Ball, PHASES, sides, tiles};

/// The two-sided pyramids of the L2 attack for images of `h` by `w`, row by row: first that of the tiles of the first proposal, then
/// one per phase. Each has length 1; its lower half is negative.
pub fn pyramids(h: usize, w: usize) -> Vec<f64> {
    let (tile, ..) = tiles(h, w);
    let sides: [usize; PHASES] = sides(Ball::L2, h, w);
    std::iter::once(tile).chain(sides).flat_map(two_sided).collect()
}

/// Of `side` by `side`.
fn two_sided(side: usize) -> Vec<f64> {
    let upper = one_sided(side / 2, side);
    let lower = one_sided(side - side / 2, side);
    let mut all: Vec<f64> = upper.into_iter().chain(lower.into_iter().map(|value| -value)).collect();
    scale_to_one(&mut all);
    all
}

/// Nested windows around the centre, window j of weight `1 / (j + 1)^2`, of length 1.
fn one_sided(rows: usize, columns: usize) -> Vec<f64> {
    let windows = (rows / 2 + 1).max(columns / 2 + 1);
    // What a pixel has that lies in window m and all larger ones.
    let mut from = vec![0.0; windows + 1];
    for j in (0..windows).rev() {
        #[expect(clippy::cast_precision_loss, reason = "sides of images")]
        let weight = 1.0 / ((j + 1) as f64).powi(2);
        from[j] = from[j + 1] + weight;
    }
    let mut values = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        for column in 0..columns {
            let ring = row.abs_diff(rows / 2).max(column.abs_diff(columns / 2));
            values.push(from[ring.min(windows)]);
        }
    }
    scale_to_one(&mut values);
    values
}

fn scale_to_one(values: &mut [f64]) {
    let length = values.iter().map(|value| value * value).sum::<f64>().sqrt();
    if length > 0.0 {
        values.iter_mut().for_each(|value| *value /= length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows added one after the other, as the attack's authors define the shape.
    fn nested(rows: usize, columns: usize) -> Vec<f64> {
        let mut values = vec![0.0; rows * columns];
        let (top, left) = (rows / 2, columns / 2);
        for j in 0..(rows / 2 + 1).max(columns / 2 + 1) {
            for row in (0..rows).filter(|row| row + j >= top && *row <= top + j) {
                for column in (0..columns).filter(|column| column + j >= left && *column <= left + j) {
                    values[row * columns + column] += 1.0 / ((j + 1) as f64).powi(2);
                }
            }
        }
        scale_to_one(&mut values);
        values
    }

    #[test]
    fn pyramids_are_nested_windows_of_length_one() {
        for side in 1..40 {
            let mut wanted = nested(side / 2, side);
            wanted.extend(nested(side - side / 2, side).iter().map(|value| -value));
            scale_to_one(&mut wanted);
            let found = two_sided(side);
            assert_eq!(found.len(), wanted.len());
            assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-14), "side {side}");
            assert!((found.iter().map(|value| value * value).sum::<f64>() - 1.0).abs() < 1e-12, "side {side}");
        }
    }
}
