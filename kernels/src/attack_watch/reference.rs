//! The rule over one row; gives whether a step follows.

use engine::Real;

pub(super) fn look<T: Real>(row: &mut [T], steps: u32, stop: bool, margin: T) -> bool {
    let (running, fools, spent) = (row[1].to_f64() == 1.0, margin.to_f64() > 0.0, row[2].to_f64() == f64::from(steps));
    match (running, stop && fools, spent) {
        (false, ..) => false,
        (true, true, _) => {
            row[1] = T::from_f64(2.0);
            false
        }
        (true, false, true) => {
            row[1] = T::from_f64(3.0);
            false
        }
        (true, false, false) => {
            row[2] = T::from_f64(row[2].to_f64() + 1.0);
            true
        }
    }
}
