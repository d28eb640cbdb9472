// Sums over a workgroup of 64 in a fixed order: lane i with lane i + 32, then i + 16, ... The same bits in every run.
var<workgroup> reduce_lanes: array<f32, 64>;

fn reduce_sum(lane: u32, value: f32) -> f32 {
    workgroupBarrier(); // an earlier sum may still be read
    reduce_lanes[lane] = value;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half = half >> 1u) {
        if lane < half {
            reduce_lanes[lane] = reduce_lanes[lane] + reduce_lanes[lane + half];
        }
        workgroupBarrier();
    }
    return reduce_lanes[0];
}
