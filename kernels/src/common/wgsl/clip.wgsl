// Whether an optimizer takes its step: the clipping factor is positive and finite. Bits decide: comparisons with NaN and
// subnormal numbers are not the same everywhere.
fn takes_step(factor: f32) -> bool {
    let bits = bitcast<u32>(factor);
    return bits > 0u && bits < 0x7f800000u;
}
