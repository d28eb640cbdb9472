// Writing gradients: the first contribution overwrites, later ones add. A kernel that includes this declares the buffer
// `gradient`.
#include "math.wgsl"

override ADD: bool = false;

fn put(i: u32, value: f32) {
    if ADD {
        gradient[i] = gradient[i] + value;
    } else {
        gradient[i] = value;
    }
}

// NaN in `width` elements: what a label that names no class gives.
fn put_nans(start: u32, width: u32) {
    for (var k = 0u; k < width; k++) {
        gradient[start + k] = nan();
    }
}

// Zeros where the gradient is written; adding nothing leaves NaN and infinities elsewhere alone.
fn put_zeros(start: u32, width: u32) {
    if !ADD {
        for (var k = 0u; k < width; k++) {
            gradient[start + k] = 0.0;
        }
    }
}
