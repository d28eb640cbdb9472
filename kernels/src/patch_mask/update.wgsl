// delta = 0 on floor(P (1 - q) + P 2^-23) of the P patches of an image, in all channels of all samples: those whose Philox
// words are the smallest (of equals, the first patch).
//
// words: one invocation per four patches draws their words. choose: one per four patches counts the words before each of
// its own, and compares with how many are masked. apply: one per element. Workgroups of 64.
// Bytes: P^2 read by choose, from a few KiB; up to 4 written per element. Tolerance: exact.
#include "index.wgsl"
#include "math.wgsl"
#include "philox.wgsl"

struct Params {
    count: u32, // elements of the part
    first: u32, // the part's place in the tensor
    patches: u32, // of an image
    stream: u32,
    height: u32, // of an image, in pixels
    width: u32,
    side: u32, // of a patch
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> delta: array<f32>;
@group(0) @binding(2) var<storage, read_write> keep: array<f32>;
@group(0) @binding(3) var<storage, read_write> state: vec4<u32>;
// The words, in whole fours, and then for each patch whether it is masked.
@group(0) @binding(4) var<storage, read_write> drawn: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> flags: array<u32>;

// How many of `patches` patches are masked: with q = m 2^-s they are P - ceil(P (m - 2^(s - 23)) 2^-s), in whole numbers.
fn masked(patches: u32, q: f32) -> u32 {
    let bits = bitcast<u32>(q);
    if bits > 0x7f800000u || bits < 0x34000000u { // negative, NaN, or below 2^-23
        return patches;
    }
    if bits > 0x3f800000u {
        return 0u;
    }
    let s = 150u - (bits >> 23u); // 23 .. 46
    let m = (bits & 0x7fffffu) | 0x800000u;
    let product = wide(patches, m - (1u << (s - 23u)));
    // The 64 bits rounded up to a multiple of 2^s, shifted by s in two steps.
    let low = product.y + ((1u << 23u) - 1u);
    let high = product.x + select(0u, 1u, low < product.y);
    let shifted = vec2<u32>(high >> 23u, (high << 9u) | (low >> 23u));
    let rest = s - 23u; // 0 .. 23
    let sum = shifted.y + ((1u << rest) - 1u);
    let top = shifted.x + select(0u, 1u, sum < shifted.y);
    let kept = select((top << (32u - max(rest, 1u))) | (sum >> rest), sum, rest == 0u);
    return patches - kept;
}

@compute @workgroup_size(64)
fn words(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if 4u * i >= p.patches {
        return;
    }
    let block = philox_block(state, p.stream, 0u, i);
    // Behind the last patch: words that are before none.
    let there = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.patches);
    drawn[i] = select(vec4<u32>(0xffffffffu), block, there);
}

@compute @workgroup_size(64)
fn choose(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if 4u * i >= p.patches {
        return;
    }
    let ours = drawn[i];
    let fours = (p.patches + 3u) / 4u;
    var before = vec4<u32>();
    for (var j = 0u; j < fours; j++) {
        let theirs = drawn[j];
        for (var k = 0u; k < 4u; k++) {
            let earlier = vec4<u32>(4u * j + k) < vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u);
            let word = vec4<u32>(theirs[k]);
            before += select(vec4<u32>(), vec4<u32>(1u), (word < ours) | ((word == ours) & earlier));
        }
    }
    drawn[fours + i] = select(vec4<u32>(), vec4<u32>(1u), before < vec4<u32>(masked(p.patches, keep[0])));
}

@compute @workgroup_size(64)
fn apply(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if i >= p.count {
        return;
    }
    let pixel = (p.first + i) % (p.height * p.width);
    let patch_row = pixel / p.width / p.side;
    let patch_column = pixel % p.width / p.side;
    let fours = (p.patches + 3u) / 4u;
    if flags[4u * fours + patch_row * (p.width / p.side) + patch_column] != 0u {
        delta[i] = 0.0;
    }
}
