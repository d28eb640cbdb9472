// Weight decay by position in a flat vector. Whoever includes this declares `pieces: array<vec2<u32>>`: (end, bits of the
// factor), each beginning where the one before it ends; the last one ends nowhere.

// The piece of `element`: the first whose end lies behind it.
fn piece_of(element: u32, count: u32) -> u32 {
    var low = 0u;
    var high = count - 1u;
    while low < high {
        let middle = (low + high) / 2u;
        if pieces[middle].x > element {
            high = middle;
        } else {
            low = middle + 1u;
        }
    }
    return low;
}

// Factors of elements start .. start + 4, of `count` pieces.
fn decays(start: u32, count: u32) -> vec4<f32> {
    var at = piece_of(start, count);
    var piece = pieces[at];
    var factors = vec4<f32>(bitcast<f32>(piece.y));
    if piece.x >= start + 4u {
        return factors;
    }
    for (var k = 1u; k < 4u; k++) {
        while piece.x <= start + k {
            at++;
            piece = pieces[at];
        }
        factors[k] = bitcast<f32>(piece.y);
    }
    return factors;
}
