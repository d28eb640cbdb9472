// Ones, zeros, copy, add and multiply: target[i] = 1 | 0 | source[i] | target[i] + source[i] | target[i] * source[i].
//
// Mapping: one invocation per word, workgroups of 64, folded in two dimensions.
// Bytes: 4 or 8 read (copy; add and multiply), 4 written per element. Exact, but for one rounding of the last two.

struct Params {
    count: u32,
    first: u32, // where the target begins in its binding, in words
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> target_words: array<u32>;
@group(0) @binding(2) var<storage, read_write> source_words: array<u32>;

override WHAT: u32 = 0u; // 0 ones, 1 zeros, 2 copy, 3 add, 4 multiply

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if i >= p.count {
        return;
    }
    let at = p.first + i;
    switch WHAT {
        case 0u: { target_words[at] = bitcast<u32>(1.0); }
        case 1u: { target_words[at] = 0u; }
        case 2u: { target_words[at] = source_words[i]; }
        case 3u: { target_words[at] = bitcast<u32>(bitcast<f32>(target_words[at]) + bitcast<f32>(source_words[i])); }
        default: { target_words[at] = bitcast<u32>(bitcast<f32>(target_words[at]) * bitcast<f32>(source_words[i])); }
    }
}
