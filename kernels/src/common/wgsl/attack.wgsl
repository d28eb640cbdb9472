// What attack steps share. As max and min of the CPU: NaN becomes the lower end.
#include "math.wgsl"

fn within(x: f32, low: f32, high: f32) -> f32 {
    let y = select(x, low, is_nan(x) || x < low);
    return select(y, high, y > high);
}

// Whether bits are those of 0 or -0.
fn is_zero(bits: u32) -> bool {
    return (bits & 0x7fffffffu) == 0u;
}

// `delta` such that the perturbed pixel stays in [0, 1]. Where the image is 0 so is the lower end: 0 - 0 is -0 to drivers
// that negate instead.
fn into_box(delta: f32, image: f32) -> f32 {
    return within(delta, select(0.0 - image, 0.0, is_zero(bitcast<u32>(image))), 1.0 - image);
}
