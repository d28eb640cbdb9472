//! Plain loops.

use std::cmp::Ordering;

use engine::Real;

/// Returns the losses and dz.
pub(super) fn both<T: Real>(z: &[T], labels: &[i32], classes: usize, d: &[T]) -> (Vec<T>, Vec<T>) {
    let mut losses = Vec::new();
    let mut dz = vec![T::ZERO; z.len()];
    for (i, &label) in labels.iter().enumerate() {
        let (row, y) = (&z[i * classes..][..classes], usize::try_from(label).unwrap_or(0));
        let mut order: Vec<usize> = (0..classes).collect();
        order.sort_by(|&a, &b| row[b].partial_cmp(&row[a]).unwrap_or(Ordering::Equal));
        let other = if order[0] == y { order[1] } else { order[0] };
        let n = row[other] - row[y];
        let r = row[order[0]] - row[order[2]] + T::from_f64(super::TINY);
        losses.push(n / r);
        let dz = &mut dz[i * classes..][..classes];
        dz[other] += d[i] / r;
        dz[y] -= d[i] / r;
        dz[order[0]] -= d[i] * n / (r * r);
        dz[order[2]] += d[i] * n / (r * r);
    }
    (losses, dz)
}
