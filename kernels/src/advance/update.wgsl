// count = count + 1, in a u32 that wraps or an f32.
//
// Mapping: one invocation. Bytes: 4 read, 4 written. Tolerance: exact (f32: rounded once).
struct Params {
    at: u32, // which word of the counter
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> counter: array<u32>;

override FLOAT: bool = false;

@compute @workgroup_size(1)
fn main() {
    let count = counter[p.at];
    if FLOAT {
        counter[p.at] = bitcast<u32>(bitcast<f32>(count) + 1.0);
    } else {
        counter[p.at] = count + 1u;
    }
}
