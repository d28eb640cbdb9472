//! Plain loops.

use engine::Real;

pub(super) fn step<T: Real>(best: &mut [T], best_score: &mut [T], candidate: &[T], score: &[T]) {
    let width = best.len() / score.len();
    for i in 0..best.len() {
        if score[i / width] > best_score[i / width] {
            best[i] = candidate[i];
        }
    }
    for i in 0..score.len() {
        if score[i] > best_score[i] {
            best_score[i] = score[i];
        }
    }
}
