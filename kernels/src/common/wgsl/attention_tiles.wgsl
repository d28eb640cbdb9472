// Products of 32 x 32 tiles of attention through workgroup memory.
//
// Workgroups of 64: lane = 8 high + wide. A tile of scores has 32 rows and 32 columns; a lane has rows 4 high .. 4 high + 3 and
// columns 4 wide .. 4 wide + 3, as a matrix with one row of scores in each column vector. Of an output tile, 32 rows and 32
// features, it has the same part.
// Order of sums: over features, and over the columns of a tile, in order, one fused multiply-add each.

const SIDE = 32u;
const DEPTH = 16u; // features that a product takes at a time
const PITCH = 17u; // one more: neighbours would lie in one bank of the memory
var<workgroup> tile: array<vec4<f32>, 272>; // [2, 8, PITCH] of four rows, or [32, 8] of four features
var<workgroup> weights: array<vec4<f32>, 256>; // [32 columns, 8] of four rows

// Adds the outer product of a and b: a[r] b to row r.
fn outer(sum: mat4x4<f32>, a: vec4<f32>, b: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        fma(vec4<f32>(a.x), b, sum[0]),
        fma(vec4<f32>(a.y), b, sum[1]),
        fma(vec4<f32>(a.z), b, sum[2]),
        fma(vec4<f32>(a.w), b, sum[3]),
    );
}

// Scalar products of the rows from `row` on of `left` with those from `column` on of `right`.
fn scores(lane: u32, left: u32, row: u32, right: u32, column: u32) -> mat4x4<f32> {
    let high = lane / 8u;
    let wide = lane % 8u;
    var sum = mat4x4<f32>();
    for (var first = 0u; first < p.width; first += DEPTH) {
        workgroupBarrier(); // earlier tiles may still be read
        // Four rows and four features of one side for each lane.
        let quad = lane / 4u % 8u;
        let at = lane % 4u * 4u;
        var four: mat4x4<f32>;
        if lane < 32u {
            four = fetch_rows(left, row + 4u * quad, first + at);
        } else {
            four = fetch_rows(right, column + 4u * quad, first + at);
        }
        for (var i = 0u; i < 4u; i++) {
            tile[lane / 4u * PITCH + at + i] = four[i];
        }
        workgroupBarrier();
        let count = min(DEPTH, p.width - first);
        for (var at = 0u; at < count; at++) {
            sum = outer(sum, tile[high * PITCH + at], tile[(8u + wide) * PITCH + at]);
        }
    }
    return sum;
}

// Four features of four rows, by feature.
fn fetch_rows(part: u32, row: u32, feature: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(
        fetch(part, row, feature),
        fetch(part, row + 1u, feature),
        fetch(part, row + 2u, feature),
        fetch(part, row + 3u, feature),
    ));
}

// Leaves a tile to all lanes for `weighted`.
fn share(lane: u32, values: mat4x4<f32>) {
    let high = lane / 8u;
    let wide = lane % 8u;
    workgroupBarrier(); // an earlier tile may still be read
    let columns = transpose(values);
    for (var i = 0u; i < 4u; i++) {
        weights[(4u * wide + i) * 8u + high] = columns[i];
    }
}

// Adds to `sum` the shared tile times features `feature` .. `feature` + 31 of the rows from `column` on of `right`. Columns of
// the tile beyond the tokens do not count, whatever they hold.
fn weighted(lane: u32, sum: mat4x4<f32>, right: u32, column: u32, feature: u32) -> mat4x4<f32> {
    workgroupBarrier(); // an earlier tile may still be read
    for (var i = lane; i < 256u; i += 64u) {
        tile[i] = fetch(right, column + i / 8u, feature + 4u * (i % 8u));
    }
    workgroupBarrier();
    var result = sum;
    let count = min(SIDE, p.tokens - column);
    for (var at = 0u; at < count; at++) {
        result = outer(result, weights[at * 8u + lane / 8u], tile[at * 8u + lane % 8u]);
    }
    return result;
}
