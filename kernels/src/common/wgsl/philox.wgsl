// Philox4x32-10 with the bits of engine/src/rng.rs: key = seed, counter = (element / 4, sample, step, stream).

// The 64-bit product of a and b as (high, low), from 16-bit limbs: WGSL has no wider integers.
fn wide(a: u32, b: u32) -> vec2<u32> {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let low = a0 * b0;
    let middle = a1 * b0 + (low >> 16u);
    let other = a0 * b1 + (middle & 0xffffu);
    return vec2<u32>(a1 * b1 + (middle >> 16u) + (other >> 16u), a * b);
}

fn philox4x32_10(start: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
    var c = start;
    var key = seed;
    for (var round = 0u; round < 10u; round++) {
        let p = wide(0xD2511F53u, c.x);
        let q = wide(0xCD9E8D57u, c.z);
        c = vec4<u32>(q.x ^ c.y ^ key.x, q.y, p.x ^ c.w ^ key.y, p.y);
        key = key + vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}

// The words of elements 4 * block .. of a sample. state: seed low, seed high, step, 0.
fn philox_block(state: vec4<u32>, stream: u32, sample: u32, block: u32) -> vec4<u32> {
    return philox4x32_10(vec4<u32>(block, sample, state.z, stream), state.xy);
}

// The word of one element of a sample.
fn philox_word(state: vec4<u32>, stream: u32, sample: u32, element: u32) -> u32 {
    return philox_block(state, stream, sample, element / 4u)[element % 4u];
}

// Uniform in [0, 1): the upper 24 bits, exact.
fn uniform_of(word: u32) -> f32 {
    return f32(word >> 8u) * (1.0 / 16777216.0);
}

// Where the node below a word's normal quantile lies in the table of engine/src/rng.rs; the next one lies behind it.
fn normal_node(word: u32) -> u32 {
    let odd = word | 1u;
    let octave = countLeadingZeros(odd);
    let mantissa = (odd << octave) << 1u;
    return octave * 65u + (mantissa >> 26u);
}

// The standard normal value of a word, between its two nodes.
fn normal_of(word: u32, here: i32, next: i32) -> f32 {
    let odd = word | 1u;
    let mantissa = (odd << countLeadingZeros(odd)) << 1u;
    let fraction = i32((mantissa << 6u) >> 16u);
    let difference = next - here;
    let step = ((difference >> 8u) * fraction + (((difference & 255) * fraction) >> 8u)) >> 8u;
    let magnitude = f32(here + step) * (1.0 / 1048576.0);
    return select(-magnitude, magnitude, (word & 1u) == 0u);
}
