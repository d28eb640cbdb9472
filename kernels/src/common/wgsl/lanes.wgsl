// LANES neighbouring lanes of a workgroup of 64 share a row, of which they take one element each at a time. Sums over the
// lanes go through workgroup memory: lane i with lane i + LANES / 2, then LANES / 4, ... The same bits in every run.
// The other version is lanes.subgroup.wgsl.
alias Part = f32;
override LANES: u32 = 64u; // a power of two, at most 64
var<workgroup> lane_values: array<f32, 64>;

// The sum of `value` over the lanes of a row, in each of them. All 64 lanes of the workgroup must call it.
fn lanes_sum(lane: u32, value: f32) -> f32 {
    if LANES == 1u {
        return value;
    }
    workgroupBarrier(); // an earlier sum may still be read
    lane_values[lane] = value;
    workgroupBarrier();
    let in_row = lane % LANES;
    for (var half = LANES / 2u; half > 0u; half = half >> 1u) {
        if in_row < half {
            lane_values[lane] = lane_values[lane] + lane_values[lane + half];
        }
        workgroupBarrier();
    }
    return lane_values[lane - in_row];
}

fn part_sum(part: Part) -> f32 {
    return part;
}
