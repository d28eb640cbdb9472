// The clean row `a` and the attacked row `b` of a sample of MART: softmaxes p and q (pair.wgsl), with the constants of its
// loss. 1 - p and 1 - q of a class that is all but certain are taken from the others, where f32 has no digits left.
#include "pair.wgsl"

// Added to q in logarithms, and its own logarithm.
const FLOOR: f32 = 1e-12;
const LOG_FLOOR: f32 = -27.6310211;

// The most probable class of q but `label`; of equals the first.
fn wrong_class(pair: Pair, width: u32, label: u32) -> u32 {
    if pair.q.peak != label {
        return pair.q.peak;
    }
    var best = select(0u, 1u, label == 0u);
    for (var k = 0u; k < width; k++) {
        if k != label && b[pair.start + k] > b[pair.start + best] {
            best = k;
        }
    }
    return best;
}

// 1 - p of column k with logit z.
fn rest_of(row: Softmax, k: u32, z: f32) -> f32 {
    return select(1.0 - p_of(row, z), tail(row), certain(row, k));
}

// 1.0000001 - p_y.
fn weight_of(pair: Pair, label: u32) -> f32 {
    return rest_of(pair.p, label, a[pair.start + label]) + 1e-7;
}

// log p - log(q + floor) of column k.
fn floored_ratio(pair: Pair, k: u32) -> f32 {
    let q = p_of(pair.q, b[pair.start + k]);
    if q >= FLOOR {
        return log_ratio(pair, k) - log1p_(FLOOR / q);
    }
    return log_p(pair.p, k, a[pair.start + k], pair.p_shift) - (LOG_FLOOR + log1p_(q * 1e12));
}
