//! The rule for one sample.

use engine::Real;

pub(super) fn judge<T: Real>(best: &mut [T], row: &mut [T], trial: &[T], margin: T, queries: u32) {
    let of = |value: f64| T::from_f64(value);
    if row[1] != of(1.0) {
        return;
    }
    let first = row[2] == of(0.0);
    if first || of(0.0) - margin < row[3] || margin >= of(0.0) {
        row[3] = of(0.0) - margin;
        best.copy_from_slice(trial);
    }
    if margin > of(0.0) {
        row[1] = of(2.0);
    } else if row[2] == of(f64::from(queries)) {
        row[1] = of(3.0);
    }
    row[2] += of(1.0);
}
