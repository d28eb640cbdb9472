//! Plain loops.

use engine::Real;

use super::{CEILING, FLOOR, WHOLE};
use crate::cross_entropy::reference::{log_softmax, softmax};

/// Most probable class but `y`.
fn wrong<T: Real>(z: &[T], y: usize) -> usize {
    let mut best = usize::from(y == 0);
    for k in 0..z.len() {
        if k != y && z[k] > z[best] {
            best = k;
        }
    }
    best
}

struct Sample<T> {
    loss: T,
    da: Vec<T>,
    db: Vec<T>,
}

/// One sample under the gradient `d` of its loss.
fn sample<T: Real>(a: &[T], b: &[T], y: usize, beta: T, d: T) -> Sample<T> {
    let (floor, ceiling, whole) = (T::from_f64(FLOOR), T::from_f64(CEILING), T::from_f64(WHOLE));
    let (p, log_p, q, log_q) = (softmax(a), log_softmax(a), softmax(b), log_softmax(b));
    let other = wrong(b, y);
    let mut divergence = T::ZERO;
    let mut kept = T::ZERO;
    for j in 0..a.len() {
        if p[j] > T::ZERO {
            divergence += p[j] * (log_p[j] - (q[j] + floor).ln());
            kept += p[j] * q[j] / (q[j] + floor);
        }
    }
    let weight = whole - p[y];
    let boost = q[other] / (ceiling - q[other]);
    let loss = -log_q[y] - (ceiling - q[other]).ln() + beta * divergence * weight;
    let (mut da, mut db) = (Vec::new(), Vec::new());
    for j in 0..a.len() {
        let is = |class: usize| if j == class { T::ONE } else { T::ZERO };
        let pull = if p[j] > T::ZERO { p[j] * (log_p[j] - (q[j] + floor).ln() - divergence) } else { T::ZERO };
        da.push(d * (beta * (weight * pull - divergence * p[y] * (is(y) - p[j]))));
        let push = q[j] * kept - p[j] * q[j] / (q[j] + floor);
        db.push(d * (q[j] - is(y) + boost * (is(other) - q[j]) + beta * weight * push));
    }
    Sample { loss, da, db }
}

/// Returns the losses, da and db.
pub(super) fn all<T: Real>(
    a: &[T],
    b: &[T],
    labels: &[i32],
    classes: usize,
    beta: T,
    d: &[T],
) -> (Vec<T>, Vec<T>, Vec<T>) {
    let (mut losses, mut da, mut db) = (Vec::new(), Vec::new(), Vec::new());
    for (i, (&label, &d)) in labels.iter().zip(d).enumerate() {
        let row = |z: &[T]| z[i * classes..][..classes].to_vec();
        let found = sample(&row(a), &row(b), usize::try_from(label).unwrap_or(0), beta, d);
        losses.push(found.loss);
        da.extend(found.da);
        db.extend(found.db);
    }
    (losses, da, db)
}
