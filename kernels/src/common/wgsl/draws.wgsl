// Four neighbouring values of draws of `width` elements per sample: one Philox call where they lie in one block.
//
// Whoever includes this declares what law.wgsl asks for, and `fn sample_id(sample: u32) -> u32`.
#include "law.wgsl"

// Values of elements start .. start + count of the tensor, count <= 4; the rest is 0.
fn draws(start: u32, count: u32, width: u32, stream: u32, law: vec4<f32>) -> vec4<f32> {
    var sample = start / width;
    var element = start % width;
    var block = vec4<u32>();
    var values = vec4<f32>();
    for (var k = 0u; k < count; k++) {
        if k == 0u || element % 4u == 0u {
            block = philox_block(state, stream, sample_id(sample), element / 4u);
        }
        values[k] = law_value(block[element % 4u], law);
        element++;
        if element == width {
            element = 0u;
            sample++;
        }
    }
    return values;
}
