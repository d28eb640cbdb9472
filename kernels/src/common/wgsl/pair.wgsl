// Two rows of logits, of the buffers `a` and `b` that the kernel declares, and their softmaxes p and q, by one invocation.
//
// Rows that are nearly alike are compared by the differences of their logits: d = a - b, less that at p's peak, gives
// log p - log q = d + log(sum_k p_k e^-d_k), whose error is a few units in the last place of the largest d. Differences of
// logarithms, the other way, err by units in the last place of the logits: as much as such rows differ.
#include "rows.wgsl"

// What logits of rows that are nearly alike differ by at the most.
const NEAR: f32 = 0.5;

fn logit(side: u32, i: u32) -> f32 {
    if side == 0u {
        return a[i];
    }
    return b[i];
}

struct Pair {
    start: u32, // first element of the row
    p: Softmax,
    q: Softmax,
    near: bool, // whether log p - log q is taken from differences of logits,
    centre: f32, // that at p's peak,
    shift: f32, // and log(sum_k p_k e^-d_k)
    p_shift: f32, // log_sum of p
    q_shift: f32,
}

fn pair_of(start: u32, width: u32) -> Pair {
    var pair: Pair;
    pair.start = start;
    pair.p = softmax_of(0u, start, width);
    pair.q = softmax_of(1u, start, width);
    pair.p_shift = log_sum(pair.p);
    pair.q_shift = log_sum(pair.q);
    pair.centre = a[start + pair.p.peak] - b[start + pair.p.peak];
    pair.near = true;
    var excess = 0.0; // sum_k p_k e^-d_k - 1
    for (var block = 0u; block < width; block += BLOCK) {
        var sum = 0.0;
        for (var k = block; k < min(block + BLOCK, width); k++) {
            let distance = a[start + k] - b[start + k];
            pair.near = pair.near && is_finite(distance) && abs(distance) < NEAR;
            let term = p_of(pair.p, a[start + k]) * expm1_(pair.centre - distance);
            sum += select(term, 0.0, k == pair.p.peak);
        }
        excess += sum;
    }
    pair.shift = log1p_(select(0.0, excess, pair.near));
    return pair;
}

// log p - log q of column k. At the peak, d is 0.
fn log_ratio(pair: Pair, k: u32) -> f32 {
    let x = a[pair.start + k];
    let y = b[pair.start + k];
    if pair.near {
        return select(((x - y) - pair.centre) + pair.shift, pair.shift, k == pair.p.peak);
    }
    return log_p(pair.p, k, x, pair.p_shift) - log_p(pair.q, k, y, pair.q_shift);
}

// p - q of column k.
fn difference(pair: Pair, k: u32) -> f32 {
    let share = p_of(pair.p, a[pair.start + k]);
    if pair.near {
        let ratio = log_ratio(pair, k);
        if abs(ratio) < EXP_NEAR {
            return -share * expm1_(-ratio);
        }
    } else if certain(pair.p, k) && certain(pair.q, k) {
        return tail(pair.q) - tail(pair.p);
    }
    return share - p_of(pair.q, b[pair.start + k]);
}

// p (r - 1) + q of column k, r = log p - log q: never negative. Summed over a row it gives the divergence of p and q, whose
// plain terms of rows that are nearly alike would cancel.
fn surplus(pair: Pair, k: u32) -> f32 {
    let share = factor_of(pair.p, a[pair.start + k]);
    let other = p_of(pair.q, b[pair.start + k]);
    let r = log_ratio(pair, k);
    var result = share * ((r - 1.0) + exp_(-r));
    if abs(r) < EXP_NEAR {
        result = share * (r * r) * exp_series(-r);
    }
    // There e^-r is large or too large, and p without weight.
    if r < -30.0 {
        result = fma(share, r - 1.0, other);
    }
    return select(result, other, share == 0.0);
}
