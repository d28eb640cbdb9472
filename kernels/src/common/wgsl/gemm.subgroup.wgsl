// The body of gemm.narrow.subgroup.wgsl and gemm.wide.subgroup.wgsl: 8 lanes per tile, each with 32 rows and 4 Q columns.
#include "index.wgsl"
#include "gemm.wgsl"

const COLUMNS = 32u * ${Q}u;

override WIDTH: u32 = 8u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) id: u32,
) {
    let wide = (p.n + COLUMNS - 1u) / COLUMNS;
    let high = (p.m + 31u) / 32u;
    let start = flat_group(group, groups) * (WIDTH / 8u);
    if start >= wide * high * p.batches { // the whole workgroup
        return;
    }
    let tile = start + id / 8u;
    let lane = id & 7u;
    let leader = id - lane;
    // Lanes beyond the last tile take part, since others read from them, and store nothing.
    let line = tile / wide;
    let batch = min(line / high, p.batches - 1u);
    let end = select(0u, p.m, line < high * p.batches);
    let m0 = (line - batch * high) * 32u;
    let n0 = (tile - line * wide) * COLUMNS + 4u * lane;
    let first = (p.first + batch) * p.m;
    let base_b = batch * p.k * p.n;

    #repeat g 4
    #repeat h 2
    #repeat e 4
    #repeat q ${Q}
    var c${g}${h}${e}_${q} = vec4<f32>(); // row 8 g + 4 h + e, columns 32 q + 4 lane ..
    #end
    #end
    #end
    var row${g} = 0u;
    if !A_ACROSS {
        row${g} = row_of(1u, first + min(m0 + ${g}u * 8u + lane, p.m - 1u), p.k);
    }
    #end
    #repeat q ${Q}
    #repeat z 4
    var column${z}_${q} = 0u;
    if B_ALONG {
        column${z}_${q} = base_b + row_of(2u, min(n0 + 32u * ${q}u + ${z}u, p.n - 1u), p.k);
    }
    #end
    #end
    for (var k = 0u; k < p.k; k += 4u) {
        let mine = k + (lane & 3u);
        let safe = min(mine, p.k - 1u);
        var row_b = 0u;
        if !B_ALONG {
            row_b = base_b + row_of(2u, safe, p.n);
        }
        #repeat q ${Q}
        #repeat z 4
        var b${z}_${q}: vec4<f32>;
        #end
        if B_ALONG {
            #repeat z 4
            let t${z} = load_b(column${z}_${q}, k, p.k);
            #end
            #repeat z 4
            b${z}_${q} = vec4<f32>(t0[${z}], t1[${z}], t2[${z}], t3[${z}]);
            #end
        } else {
            #repeat z 4
            b${z}_${q} = load_b(subgroupShuffle(row_b, leader + ${z}u), n0 + 32u * ${q}u, p.n);
            // Not 0 times whatever lies there: that may be NaN.
            b${z}_${q} = select(vec4<f32>(), b${z}_${q}, k + ${z}u < p.k);
            #end
        }
        #end
        if A_ACROSS {
            let row_a = safe * p.m;
            #repeat g 4
            {
                let four = load_a(row_a, m0 + ${g}u * 8u + (lane >> 2u) * 4u, p.m);
                let t = select(vec4<f32>(), four, mine < p.k);
                #repeat h 2
                #repeat e 4
                #repeat z 4
                {
                    let s = vec4<f32>(subgroupShuffle(t[${e}], leader + ${h}u * 4u + ${z}u));
                    #repeat q ${Q}
                    c${g}${h}${e}_${q} = fma(s, b${z}_${q}, c${g}${h}${e}_${q});
                    #end
                }
                #end
                #end
                #end
            }
            #end
        } else {
            #repeat g 4
            {
                let t = load_a(row${g}, k, p.k);
                #repeat h 2
                #repeat e 4
                {
                    let s = subgroupShuffle(t, leader + ${h}u * 4u + ${e}u);
                    #repeat z 4
                    #repeat q ${Q}
                    c${g}${h}${e}_${q} = fma(vec4<f32>(s[${z}]), b${z}_${q}, c${g}${h}${e}_${q});
                    #end
                    #end
                }
                #end
                #end
            }
            #end
        }
    }
    #repeat q ${Q}
    {
        let column = n0 + 32u * ${q}u;
        if C_VEC && IMAGE != 3u && ACTIVATION == 0u {
            #repeat g 4
            for (var i = 0u; i < 8u && m0 + ${g}u * 8u + i < end && column < p.n; i++) {
                var sums = c${g}00_${q};
                #repeat h 2
                #repeat e 4
                sums = select(sums, c${g}${h}${e}_${q}, i == ${h}u * 4u + ${e}u);
                #end
                #end
                put((first + m0 + ${g}u * 8u + i) * p.n, column, sums);
            }
            #end
        } else {
            // A long epilogue, once: to compile it for each row takes longer than these selections.
            for (var i = 0u; i < 32u && m0 + i < end && column < p.n; i++) {
                var sums = c000_${q};
                #repeat g 4
                #repeat h 2
                #repeat e 4
                sums = select(sums, c${g}${h}${e}_${q}, i == ${g}u * 8u + ${h}u * 4u + ${e}u);
                #end
                #end
                #end
                finish(row_of(3u, first + m0 + i, p.n), column, sums);
            }
        }
    }
    #end
}
