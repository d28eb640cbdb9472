//! Plain loops.

use std::cmp::Ordering;

use engine::Real;

/// Returns the losses and dz.
pub(super) fn both<T: Real>(scaled: bool, z: &[T], labels: [&[i32]; 2], classes: usize, d: &[T]) -> (Vec<T>, Vec<T>) {
    let [labels, targets] = labels;
    let class = |label: i32| usize::try_from(label).unwrap_or(0);
    let mut losses = Vec::new();
    let mut dz = vec![T::ZERO; z.len()];
    for i in 0..labels.len() {
        let (y, t) = (class(labels[i]), class(targets[i]));
        let (row, dz) = (&z[i * classes..][..classes], &mut dz[i * classes..][..classes]);
        let n = row[t] - row[y];
        let mut r = T::ONE;
        if scaled {
            let mut order: Vec<usize> = (0..classes).collect();
            order.sort_by(|&a, &b| row[b].partial_cmp(&row[a]).unwrap_or(Ordering::Equal));
            let half = T::from_f64(0.5);
            r = row[order[0]] - half * (row[order[2]] + row[order[3]]) + T::from_f64(super::TINY);
            dz[order[0]] -= d[i] * n / (r * r);
            dz[order[2]] += half * d[i] * n / (r * r);
            dz[order[3]] += half * d[i] * n / (r * r);
        }
        losses.push(n / r);
        dz[t] += d[i] / r;
        dz[y] -= d[i] / r;
    }
    (losses, dz)
}
