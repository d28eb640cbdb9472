// Random values under a law, with the bits of kernels/src/common/random.rs: the multiplication and the addition round
// one by one.
//
// Whoever includes this declares `state: vec4<u32>`, the random state, and `normal_table: array<i32>`, the table of
// engine/src/rng.rs; no table is bound where LAW is not NORMAL.
#include "philox.wgsl"

const UNIFORM = 0u; // a + b u
const NORMAL = 1u; // a + b z
const TWO_POINT = 2u; // b where u < a, else c

override LAW: u32 = UNIFORM;

// a + b x, not fused. `zero` is 0, which the compiler can't know: it would contract the two operations otherwise.
fn rounded_twice(a: f32, b: f32, x: f32, zero: u32) -> f32 {
    return a + bitcast<f32>(bitcast<u32>(b * x) ^ zero);
}

// The value of a Philox word. law: a, b, c and 0.
fn law_value(word: u32, law: vec4<f32>) -> f32 {
    if LAW == TWO_POINT {
        return select(law.z, law.y, uniform_of(word) < law.x);
    }
    var x: f32;
    if LAW == NORMAL {
        let node = normal_node(word);
        x = normal_of(word, normal_table[node], normal_table[node + 1u]);
    } else {
        x = uniform_of(word);
    }
    return rounded_twice(law.x, law.y, x, bitcast<u32>(law.w));
}
