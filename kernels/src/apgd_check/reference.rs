//! The algorithm as its paper's code has it, over one row.

use engine::Real;

pub(super) fn check<T: Real>(row: &mut [T], n: u32, rho: f64, stop: bool, loss: T, margin: T) {
    let of = |x: f64| T::from_f64(x);
    row[11] = of(0.0);
    if row[1] != of(1.0) {
        return;
    }
    let fools = margin > T::ZERO;
    let (mut best, mut back) = (false, false);
    if row[2] == of(0.0) {
        row[8] = loss;
        row[9] = loss;
        best = true;
    } else {
        row[6] = if loss > row[10] { row[6] + of(1.0) } else { row[6] };
        row[10] = loss;
        if loss > row[8] {
            row[8] = loss;
            best = true;
        }
        row[5] += of(1.0);
        if row[5] == row[4] {
            let oscillation = row[6] <= of(rho) * row[4];
            let no_improvement = row[7] == of(0.0) && row[9] >= row[8];
            back = oscillation || no_improvement;
            row[7] = of(f64::from(u8::from(back)));
            row[9] = row[8];
            if back {
                row[3] = row[3] / of(2.0);
            }
            row[5] = of(0.0);
            row[6] = of(0.0);
            let next = row[4] - of(f64::from((n * 3 / 100).max(1)));
            let least = of(f64::from((n * 6 / 100).max(1)));
            row[4] = if next > least { next } else { least };
        }
    }
    let mut steps = false;
    if stop && fools {
        row[1] = of(2.0);
    } else if row[2] == of(f64::from(n)) {
        row[1] = of(3.0);
    } else {
        row[2] += of(1.0);
        steps = true;
    }
    for (bit, set) in [(1.0, best), (2.0, fools), (4.0, steps), (8.0, back)] {
        if set {
            row[11] += of(bit);
        }
    }
}
