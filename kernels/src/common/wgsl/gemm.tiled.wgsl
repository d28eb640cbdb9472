// The body of gemm.tile64.wgsl, gemm.tile128.wgsl and their .f16 twins: 16 T invocations, each with 8 rows and 4 Q = T / 2
// columns of a tile whose operands lie in workgroup memory as E.
#include "index.wgsl"
#include "gemm.wgsl"

const SIDE = 8u * ${T}u;
const THREADS = 16u * ${T}u;

// 16 steps of k: column i of step k lies at slot(k, i). Blocks of 8 change places with k / 4, so that neighbours that store
// four steps of a row each hit different banks.
var<workgroup> tile_a: array<vec4<${E}>, 4u * SIDE>;
var<workgroup> tile_b: array<vec4<${E}>, 4u * SIDE>;

fn slot(k: u32, i: u32) -> u32 {
    return ((((i >> 3u) ^ (k >> 2u)) << 1u) | ((i >> 2u) & 1u));
}

// Piece `index` of a tile whose rows lie along k in memory: (row, first of four steps of k).
fn along(index: u32) -> vec2<u32> {
    return vec2<u32>(index >> 2u, (index & 3u) << 2u);
}

// Piece `index` of a tile whose rows lie across k: (first of four columns, step of k).
fn across(index: u32) -> vec2<u32> {
    return vec2<u32>((index % (SIDE / 4u)) << 2u, index / (SIDE / 4u));
}

// Four elements of A for piece `index` of the tile at row m0 and step k, 0 from step `end` on.
fn fetch_a(index: u32, first: u32, m0: u32, k: u32, end: u32) -> vec4<f32> {
    if A_ACROSS {
        let at = across(index);
        let four = load_a(min(k + at.y, end - 1u) * p.m, m0 + at.x, p.m);
        return select(vec4<f32>(), four, k + at.y < end);
    }
    let at = along(index);
    let row = row_of(1u, first + min(m0 + at.x, p.m - 1u), p.k);
    return select(vec4<f32>(), load_a(row, k + at.y, p.k), k + at.y < end);
}

fn fetch_b(index: u32, base: u32, n0: u32, k: u32, end: u32) -> vec4<f32> {
    if B_ALONG {
        let at = along(index);
        let row = base + row_of(2u, min(n0 + at.x, p.n - 1u), p.k);
        return select(vec4<f32>(), load_b(row, k + at.y, p.k), k + at.y < end);
    }
    let at = across(index);
    let four = load_b(base + row_of(2u, min(k + at.y, end - 1u), p.n), n0 + at.x, p.n);
    return select(vec4<f32>(), four, k + at.y < end);
}

fn keep_a(index: u32, four: vec4<f32>) {
    if A_ACROSS {
        let at = across(index);
        tile_a[at.y * (SIDE / 4u) + slot(at.y, at.x)] = vec4<${E}>(four);
    } else {
        let at = along(index);
        #repeat z 4
        tile_a[(at.y + ${z}u) * (SIDE / 4u) + slot(at.y, at.x)][at.x & 3u] = ${E}(four[${z}]);
        #end
    }
}

fn keep_b(index: u32, four: vec4<f32>) {
    if B_ALONG {
        let at = along(index);
        #repeat z 4
        tile_b[(at.y + ${z}u) * (SIDE / 4u) + slot(at.y, at.x)][at.x & 3u] = ${E}(four[${z}]);
        #end
    } else {
        let at = across(index);
        tile_b[at.y * (SIDE / 4u) + slot(at.y, at.x)] = vec4<${E}>(four);
    }
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let wide = (p.n + SIDE - 1u) / SIDE;
    let high = (p.m + SIDE - 1u) / SIDE;
    let tile = flat_group(group, groups);
    let line = tile / wide;
    let block = line / high; // batch, or part of k
    let parts = (p.k + p.chunk - 1u) / p.chunk;
    if block >= p.batches * parts { // the whole workgroup
        return;
    }
    let part = block % parts;
    let m0 = (line - block * high) * SIDE;
    let n0 = (tile - line * wide) * SIDE;
    let first = (p.first + block / parts) * p.m;
    let base = block / parts * p.k * p.n;
    let end = min((part + 1u) * p.chunk, p.k);
    let x = thread & 15u;
    let y = thread >> 4u;

    #repeat h 2
    #repeat e 4
    #repeat q ${Q}
    var c${h}${e}_${q} = vec4<f32>(); // row 8 y + 4 h + e, columns 64 q + 4 x ..
    #end
    #end
    #end
    #repeat i 2
    var a${i} = fetch_a(thread + ${i}u * THREADS, first, m0, part * p.chunk, end);
    var b${i} = fetch_b(thread + ${i}u * THREADS, base, n0, part * p.chunk, end);
    #end
    for (var k = part * p.chunk; k < end; k += 16u) {
        workgroupBarrier(); // the tiles before may still be read
        #repeat i 2
        keep_a(thread + ${i}u * THREADS, a${i});
        keep_b(thread + ${i}u * THREADS, b${i});
        #end
        workgroupBarrier();
        if k + 16u < end { // the next tiles are under way while these are multiplied
            #repeat i 2
            a${i} = fetch_a(thread + ${i}u * THREADS, first, m0, k + 16u, end);
            b${i} = fetch_b(thread + ${i}u * THREADS, base, n0, k + 16u, end);
            #end
        }
        for (var s = 0u; s < 16u; s++) {
            #repeat h 2
            let t${h} = vec4<f32>(tile_a[s * (SIDE / 4u) + slot(s, 8u * y) + ${h}u]);
            #end
            #repeat q ${Q}
            let u${q} = vec4<f32>(tile_b[s * (SIDE / 4u) + slot(s, 64u * ${q}u + 4u * x)]);
            #end
            #repeat h 2
            #repeat e 4
            #repeat q ${Q}
            c${h}${e}_${q} = fma(vec4<f32>(t${h}[${e}]), u${q}, c${h}${e}_${q});
            #end
            #end
            #end
        }
    }
    let rows = first + part * p.m; // of C before this tile's block: one of the two is 0
    #repeat q ${Q}
    {
        let column = n0 + 64u * ${q}u + 4u * x;
        for (var i = 0u; i < 8u; i++) {
            // The epilogue once, not for each row: its code may be longer than these selections.
            var sums = c00_${q};
            #repeat h 2
            #repeat e 4
            sums = select(sums, c${h}${e}_${q}, i == ${h}u * 4u + ${e}u);
            #end
            #end
            let row = m0 + 8u * y + i;
            if row < p.m && column < p.n {
                finish(row_of(3u, rows + row, p.n), column, sums);
            }
        }
    }
    #end
}
