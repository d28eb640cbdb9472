//! Plain loops.

use engine::Real;

fn runner_up<T: Real>(z: &[T], y: usize) -> usize {
    let mut best = usize::from(y == 0);
    for k in 0..z.len() {
        if k != y && z[k] > z[best] {
            best = k;
        }
    }
    best
}

/// Returns the losses and dz.
pub(super) fn both<T: Real>(z: &[T], labels: &[i32], classes: usize, cap: Option<T>, d: &[T]) -> (Vec<T>, Vec<T>) {
    let mut losses = Vec::new();
    let mut dz = vec![T::ZERO; z.len()];
    for (i, &label) in labels.iter().enumerate() {
        let (row, y) = (&z[i * classes..][..classes], usize::try_from(label).unwrap_or(0));
        let other = runner_up(row, y);
        let loss = row[other] - row[y];
        match cap {
            Some(cap) if loss > cap => losses.push(cap),
            _ => {
                losses.push(loss);
                dz[i * classes + other] = d[i];
                dz[i * classes + y] = -d[i];
            }
        }
    }
    (losses, dz)
}
