// The four largest of a row of logits, by one invocation. The kernel declares the buffer `z`, and `p.tiny`: what keeps a ratio finite
// where the largest are equal, no constant, since drivers move constants in sums to where they are rounded away.

struct Top {
    first: u32, // elements of z; of equals the first counts as larger
    third: u32,
    fourth: u32,
    denominator: f32, // first - (third + fourth) / 2 + tiny
}

fn top_of(start: u32, width: u32) -> Top {
    var top = vec4<u32>(start);
    var values = vec4<f32>(z[start]);
    for (var k = 1u; k < width; k++) {
        let value = z[start + k];
        // Its rank among the four, 4 for none of them; the first columns take the places that are free.
        var rank = min(k, 4u);
        for (var above = 4u; above > 0u; above--) {
            if rank == above && value > values[above - 1u] {
                rank = above - 1u;
            }
        }
        for (var below = 3u; below > 0u; below--) {
            if below > rank {
                top[below] = top[below - 1u];
                values[below] = values[below - 1u];
            }
        }
        if rank < 4u {
            top[rank] = start + k;
            values[rank] = value;
        }
    }
    return Top(top.x, top.z, top.w, (values.x - 0.5 * (values.z + values.w)) + p.tiny);
}
