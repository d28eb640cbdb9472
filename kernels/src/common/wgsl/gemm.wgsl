// What the matrix products share: C = A B, or C + A B, with its operands as they lie in memory. No kernel by itself.
//
// A is [m, k] or, where A_ACROSS, [k, m]; B is [k, n] or, where B_ALONG, [n, k]; C is [m, n]; all row-major. With `batches` the
// rows of A and C are so many blocks of m, and B is one matrix per block. One of the three may be the patches of an
// image [b, channels, height, width]: its rows are (b, patch), its columns (channel, y, x).
//
// Epilogue: bias, activation with its derivative stored in `slope`, or a factor that lies there.
// Four neighbouring elements move at once where the width allows (_VEC); else one by one.
#include "math.wgsl"

struct Params {
    m: u32,
    n: u32,
    k: u32,
    batches: u32,
    first: u32, // batch of A and C that this launch begins with; B begins with the first one
    add: u32, // 1: C + A B
    // Of an image: patches per line and per column, side of a patch, elements of a line, of a channel, of an image.
    across: u32,
    down: u32,
    side: u32,
    line: u32,
    plane: u32,
    image: u32,
    chunk: u32, // of k in one part of a divided sum, a multiple of 4
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> c: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> bias: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> slope: array<vec4<f32>>;

override A_ACROSS: bool = false;
override B_ALONG: bool = false;
override A_VEC: bool = false;
override B_VEC: bool = false;
override C_VEC: bool = false;
override IMAGE: u32 = 0u; // 1: A, 2: B, 3: C
override TIMES: bool = false; // the result times `slope`, which lies as C
override BIAS: bool = false;
override ACTIVATION: u32 = 0u; // 1: ReLU, 2: GELU
override SLOPE: bool = false; // store the activation's derivative

fn patch_row(row: u32) -> u32 {
    let line = row / p.across;
    let image = line / p.down;
    return image * p.image + (line - image * p.down) * p.side * p.line + (row - line * p.across) * p.side;
}

fn patch_column(column: u32) -> u32 {
    let line = column / p.side;
    let channel = line / p.side;
    return channel * p.plane + (line - channel * p.side) * p.line + column - line * p.side;
}

// Where a row of an operand begins, and what a column adds to that.
fn row_of(operand: u32, row: u32, width: u32) -> u32 {
    if operand == IMAGE {
        return patch_row(row);
    }
    return row * width;
}

fn column_of(operand: u32, column: u32) -> u32 {
    if operand == IMAGE {
        return patch_column(column);
    }
    return column;
}

// Four elements of a row from `column`: 0 beyond `end` where they are read one by one; where at once, columns beyond it
// give the row's last four, which nobody stores.
fn load_a(row: u32, column: u32, end: u32) -> vec4<f32> {
    if A_VEC {
        let at = (row + column_of(1u, min(column, end - 4u))) >> 2u;
        return a[at];
    }
    return vec4<f32>(
        one_a(row, column, end), one_a(row, column + 1u, end), one_a(row, column + 2u, end), one_a(row, column + 3u, end)
    );
}

fn one_a(row: u32, column: u32, end: u32) -> f32 {
    let at = row + column_of(1u, min(column, end - 1u));
    return select(0.0, a[at >> 2u][at & 3u], column < end);
}

fn load_b(row: u32, column: u32, end: u32) -> vec4<f32> {
    if B_VEC {
        return b[(row + column_of(2u, min(column, end - 4u))) >> 2u];
    }
    return vec4<f32>(
        one_b(row, column, end), one_b(row, column + 1u, end), one_b(row, column + 2u, end), one_b(row, column + 3u, end)
    );
}

fn one_b(row: u32, column: u32, end: u32) -> f32 {
    let at = row + column_of(2u, min(column, end - 1u));
    return select(0.0, b[at >> 2u][at & 3u], column < end);
}

// Four elements of a row of C from a column inside it: of those beyond its width none is written, and the last is read.
fn load_c(row: u32, column: u32) -> vec4<f32> {
    if C_VEC {
        return c[(row + column_of(3u, column)) >> 2u];
    }
    return vec4<f32>(one_c(row, column), one_c(row, column + 1u), one_c(row, column + 2u), one_c(row, column + 3u));
}

fn one_c(row: u32, column: u32) -> f32 {
    let at = row + column_of(3u, min(column, p.n - 1u));
    return c[at >> 2u][at & 3u];
}

fn store_c(row: u32, column: u32, value: vec4<f32>) {
    if C_VEC {
        c[(row + column_of(3u, column)) >> 2u] = value;
        return;
    }
    #repeat z 4
    if column + ${z}u < p.n {
        let at = row + column_of(3u, column + ${z}u);
        c[at >> 2u][at & 3u] = value[${z}];
    }
    #end
}

fn store_slope(row: u32, column: u32, value: vec4<f32>) {
    if C_VEC {
        slope[(row + column) >> 2u] = value;
        return;
    }
    #repeat z 4
    if column + ${z}u < p.n {
        let at = row + column + ${z}u;
        slope[at >> 2u][at & 3u] = value[${z}];
    }
    #end
}

fn one_slope(row: u32, column: u32) -> f32 {
    let at = row + min(column, p.n - 1u);
    return slope[at >> 2u][at & 3u];
}

fn load_slope(row: u32, column: u32) -> vec4<f32> {
    if C_VEC {
        return slope[(row + column) >> 2u];
    }
    return vec4<f32>(
        one_slope(row, column), one_slope(row, column + 1u), one_slope(row, column + 2u), one_slope(row, column + 3u)
    );
}

fn one_bias(column: u32) -> f32 {
    let at = min(column, p.n - 1u);
    return bias[at >> 2u][at & 3u];
}

fn load_bias(column: u32) -> vec4<f32> {
    if C_VEC {
        return bias[column >> 2u];
    }
    return vec4<f32>(one_bias(column), one_bias(column + 1u), one_bias(column + 2u), one_bias(column + 3u));
}

// Stores four sums, with the bias or added to what is there.
fn put(row: u32, column: u32, sums: vec4<f32>) {
    var value = sums;
    if BIAS {
        value = value + load_bias(column);
    }
    if TIMES {
        value = value * load_slope(row, column);
    }
    if p.add != 0u {
        value = load_c(row, column) + value;
    }
    store_c(row, column, value);
}

fn activation_both(x: f32) -> vec2<f32> {
    if ACTIVATION == 1u {
        return relu_both(x);
    }
    return gelu_both(x);
}

// Stores four activations of sums that have their bias, and the activation's derivative.
fn put_active(row: u32, column: u32, value: vec4<f32>) {
    let x = activation_both(value.x);
    let y = activation_both(value.y);
    let z = activation_both(value.z);
    let w = activation_both(value.w);
    store_c(row, column, vec4<f32>(x.x, y.x, z.x, w.x));
    if SLOPE {
        store_slope(row, column, vec4<f32>(x.y, y.y, z.y, w.y));
    }
}

// The epilogue of four sums of a row of C, from a column inside it.
fn finish(row: u32, column: u32, sums: vec4<f32>) {
    if ACTIVATION == 0u {
        put(row, column, sums);
    } else if BIAS {
        put_active(row, column, sums + load_bias(column));
    } else {
        put_active(row, column, sums);
    }
}
