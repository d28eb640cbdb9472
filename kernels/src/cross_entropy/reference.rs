//! Plain loops.

use engine::Real;

/// softmax(z).
pub(crate) fn softmax<T: Real>(z: &[T]) -> Vec<T> {
    let max = z.iter().copied().fold(T::NEG_INFINITY, T::max);
    let exps: Vec<T> = z.iter().map(|&z| (z - max).exp()).collect();
    let sum: T = exps.iter().copied().sum();
    exps.into_iter().map(|e| e / sum).collect()
}

/// log softmax(z).
pub(crate) fn log_softmax<T: Real>(z: &[T]) -> Vec<T> {
    let max = z.iter().copied().fold(T::NEG_INFINITY, T::max);
    let sum: T = z.iter().map(|&z| (z - max).exp()).sum();
    z.iter().map(|&z| z - max - sum.ln()).collect()
}

/// Smoothed rows from labels.
pub(super) fn targets<T: Real>(labels: &[i32], classes: usize, smoothing: f64) -> Vec<T> {
    let mut rows = Vec::new();
    for &label in labels {
        for class in 0..classes {
            let hit = usize::try_from(label) == Ok(class);
            let on = if hit { 1.0 - smoothing } else { 0.0 };
            rows.push(T::from_f64(on) + T::from_f64(smoothing) / T::from_usize(classes));
        }
    }
    rows
}

pub(super) fn forward<T: Real>(z: &[T], t: &[T], classes: usize) -> Vec<T> {
    let row = |(z, t): (&[T], &[T])| {
        log_softmax(z).iter().zip(t).filter(|&(_, &t)| t != T::ZERO).map(|(&log_p, &t)| -(t * log_p)).sum()
    };
    z.chunks(classes).zip(t.chunks(classes)).map(row).collect()
}

pub(super) fn backward<T: Real>(z: &[T], t: &[T], classes: usize, d_loss: &[T]) -> Vec<T> {
    let mut dz = Vec::new();
    for ((z, t), &d) in z.chunks(classes).zip(t.chunks(classes)).zip(d_loss) {
        let total: T = t.iter().copied().sum();
        dz.extend(softmax(z).iter().zip(t).map(|(&p, &t)| d * (p * total - t)));
    }
    dz
}
