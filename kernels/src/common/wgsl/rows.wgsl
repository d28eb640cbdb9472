// Softmax of a row of logits by one invocation. A kernel that includes this defines `fn logit(side: u32, i: u32) -> f32`:
// element i of its logits number `side`.
//
// The largest logit is kept apart from the others: where it is all but certain, 1 - p and log p would lose their digits
// in f32, while the sum of the other exponentials keeps them. The CPU does the same by computing in f64.
//
// Sums are made in blocks of 16 columns, in order, and then added block by block: the error grows with k / 16, not k.
// NaN anywhere in the row, and a row without a finite maximum, give NaN everywhere.
#include "math.wgsl"

const BLOCK: u32 = 16u;

struct Softmax {
    peak: u32, // column of the largest logit; of equals the first
    max: f32,
    others: f32, // sum of exp(z - max) over all columns but the peak
}

// Of the `width` logits of `side` from element `start` on.
fn softmax_of(side: u32, start: u32, width: u32) -> Softmax {
    var row = Softmax(0u, logit(side, start), 0.0);
    for (var k = 1u; k < width; k++) {
        let z = logit(side, start + k);
        if z > row.max {
            row.max = z;
            row.peak = k;
        }
    }
    for (var block = 0u; block < width; block += BLOCK) {
        var sum = 0.0;
        for (var k = block; k < min(block + BLOCK, width); k++) {
            sum += select(exp_(logit(side, start + k) - row.max), 0.0, k == row.peak);
        }
        row.others += sum;
    }
    row.others = select(nan(), row.others, is_finite(row.max));
    return row;
}

// The logarithm of the sum of exp(z - max) over the row.
fn log_sum(row: Softmax) -> f32 {
    return log1p_(row.others);
}

// log p of column k with logit z; `shift` is log_sum. At the peak the maximum is left out: drivers may add in another order,
// and the shift would be rounded away beside it.
fn log_p(row: Softmax, k: u32, z: f32, shift: f32) -> f32 {
    return select((z - row.max) - shift, -shift, k == row.peak);
}

// The probability of logit z.
fn p_of(row: Softmax, z: f32) -> f32 {
    return exp_(z - row.max) / (1.0 + row.others);
}

// The probability as a factor of logarithms: 0 only where it is in f64 too, and the smallest float where f32 has none, so
// that infinities and NaN in the other factor get through.
fn factor_of(row: Softmax, z: f32) -> f32 {
    let share = p_of(row, z);
    return select(share, 1.17549435e-38, share == 0.0 && z - row.max > -745.0);
}

// 1 - p of the peak.
fn tail(row: Softmax) -> f32 {
    return row.others / (1.0 + row.others);
}

// Whether k is a peak with p > 1/2: there 1 - p is the smaller number.
fn certain(row: Softmax, k: u32) -> bool {
    return k == row.peak && row.others < 1.0;
}
