// What attention's kernels share: where a workgroup stands. Packed layout: qkv [images, tokens, 3, heads, width], out and its
// gradient [images, tokens, heads, width], log-sum-exps and the like [images, heads, tokens].
struct Params {
    images: u32,
    tokens: u32,
    heads: u32,
    width: u32, // of a head
    blocks: u32, // of rows, per head
    parts: u32, // of 64 output features, per head
    scale: f32, // 1 / sqrt(width)
}

@group(0) @binding(0) var<uniform> p: Params;

var<private> packed: u32; // where the head's queries begin in qkv
var<private> plain: u32; // where the head begins in out

struct Place {
    task: u32, // image and head
    row: u32, // the first
    feature: u32, // the first
}

// Goes to the place of group `group`, blocks of `rows` rows: all blocks of a head, then of the next part, head, image.
fn go_to(group: u32, rows: u32) -> Place {
    let block = group % p.blocks;
    let part = group / p.blocks % p.parts;
    let task = group / p.blocks / p.parts;
    let head = task % p.heads * p.width;
    let row = task / p.heads * p.tokens * p.heads * p.width;
    packed = 3u * row + head;
    plain = row + head;
    return Place(task, block * rows, part * 64u);
}

// Where a feature of a row of the queries, keys or values of the head lies in qkv.
fn in_packed(part: u32, row: u32, feature: u32) -> u32 {
    return packed + (3u * row + part) * p.heads * p.width + feature;
}

// Where a feature of a row of the head lies in out.
fn in_plain(row: u32, feature: u32) -> u32 {
    return plain + row * p.heads * p.width + feature;
}

const QUERIES = 0u;
const KEYS = 1u;
const VALUES = 2u;
const GRADIENTS = 3u;

const LOWEST = -3.4028234e38;

// Which columns from `column` on are tokens.
fn present(column: u32) -> vec4<bool> {
    return vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(p.tokens);
}

// The larger ones. NaN is not: it comes back through the exponentials.
fn larger(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    return select(a, b, b > a);
}
