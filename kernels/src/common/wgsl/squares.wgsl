// Sums of squares that may exceed f32: beside their sum there is that of values times 2^-70, which serves where the first
// overflows. A norm that is itself no finite f32 comes out infinite; NaN stays NaN.
#include "math.wgsl"

fn with_square(sums: vec2<f32>, x: f32) -> vec2<f32> {
    let small = x * 8.4703294725e-22;
    return vec2<f32>(fma(x, x, sums.x), fma(small, small, sums.y));
}

fn root(sums: vec2<f32>) -> f32 {
    return select(sqrt(sums.y) * 1.1805916207e21, sqrt(sums.x), is_finite(sums.x));
}
