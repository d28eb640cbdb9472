// Elementwise kernels with four elements per invocation. Whoever includes this declares what is written as
// `y: array<vec4<f32>>`; reading a whole last vector is allowed, writing what lies behind the buffer's end is not.
#include "index.wgsl"

// Writes elements 4 i .. of `count` in all.
fn put_quad(i: u32, count: u32, value: vec4<f32>) {
    let left = min(count - 4u * i, 4u);
    if left == 4u {
        y[i] = value;
        return;
    }
    for (var k = 0u; k < left; k++) {
        y[i][k] = value[k];
    }
}
