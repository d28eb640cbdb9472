// Selections from a row of logits by one invocation. The kernel declares the buffer `z`.

// The column of the largest logit of a row but that of `label` (the first, of equals).
fn runner_up(start: u32, width: u32, label: u32) -> u32 {
    var best = select(0u, 1u, label == 0u);
    var most = z[start + best];
    for (var k = 0u; k < width; k++) {
        let value = z[start + k];
        if k != label && value > most {
            best = k;
            most = value;
        }
    }
    return best;
}

// The entries of a row that the difference of logits ratio selects.
struct Ratio {
    other: u32, // elements of z: the largest but the label's,
    first: u32, // the largest,
    third: u32, // and the third largest; of equals the first counts as larger
    numerator: f32,
    denominator: f32,
}

// Of the row of `width` logits from `start` on; `label` is an element of it. `tiny` keeps the ratio finite where the three
// largest are equal: no constant, since drivers move constants in sums to where they are rounded away.
fn ratio_of(start: u32, width: u32, label: u32, tiny: f32) -> Ratio {
    var first = start;
    var second = start;
    var third = start;
    var values = vec3<f32>(z[start]);
    for (var k = 1u; k < width; k++) {
        let i = start + k;
        let value = z[i];
        // Its rank among the three, 3 for none of them; the first columns take the places that are free.
        var rank = min(k, 3u);
        if rank == 3u && value > values.z {
            rank = 2u;
        }
        if rank == 2u && value > values.y {
            rank = 1u;
        }
        if rank == 1u && value > values.x {
            rank = 0u;
        }
        if rank < 2u {
            third = second;
            values.z = values.y;
        }
        if rank == 0u {
            second = first;
            values.y = values.x;
            first = i;
            values.x = value;
        } else if rank == 1u {
            second = i;
            values.y = value;
        } else if rank == 2u {
            third = i;
            values.z = value;
        }
    }
    let other = select(first, second, first == label);
    return Ratio(other, first, third, z[other] - z[label], (values.x - values.z) + tiny);
}
