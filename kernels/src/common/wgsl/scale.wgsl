// Powers of two that bring a sample's largest magnitude near 1, so that sums of squares and products of tiny values do not
// vanish. Include reduce.wgsl and math.wgsl first.

// The larger of two magnitudes; NaN where either is.
fn larger(a: f32, b: f32) -> f32 {
    return select(select(a, b, b > a), nan(), is_nan(a) || is_nan(b));
}

// Largest value of a workgroup of 64; NaN where any is.
fn reduce_max(lane: u32, value: f32) -> f32 {
    workgroupBarrier(); // an earlier sum may still be read
    reduce_lanes[lane] = value;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half = half >> 1u) {
        if lane < half {
            reduce_lanes[lane] = larger(reduce_lanes[lane], reduce_lanes[lane + half]);
        }
        workgroupBarrier();
    }
    return reduce_lanes[0];
}

// Two powers of two whose product brings a magnitude into 1 .. 2: one alone may be no normal float. 1 for 0, subnormals,
// infinity and NaN.
fn scale_of(most: f32) -> vec2<f32> {
    let exponent = i32((bitcast<u32>(most) >> 23u) & 0xffu);
    if exponent == 0 || exponent == 255 {
        return vec2<f32>(1.0, 1.0);
    }
    let shift = 127 - exponent; // -127 .. 126
    let half = shift >> 1u;
    return vec2<f32>(power_of_two(half), power_of_two(shift - half));
}
