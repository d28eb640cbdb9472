// C = A B in registers, operands spread through a subgroup: for software drivers (see gemm.wgsl for operands and epilogues).
//
// Mapping: a workgroup is one subgroup of WIDTH invocations; each 8 of them compute a tile of 32 rows and 32 columns,
// and lane l of the 8 owns columns 4 l .. 4 l + 3 of all its rows: 32 vec4. Four steps of k per turn: each element of A is
// loaded by one lane and handed to the others, because a load costs a software driver a loop over the lanes.
// Bytes: A read n / 32 times, B m / 32 times, C written once (read too where it adds).
// Order: every element is summed over k in order, one fused multiply-add per step.
// Tolerance: that of such a sum; the prologue and the epilogue round once per operation.
#include "index.wgsl"
#include "gemm.wgsl"

override WIDTH: u32 = 8u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) id: u32,
) {
    let wide = (p.n + 31u) / 32u;
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
    let n0 = (tile - line * wide) * 32u + 4u * lane;
    let first = (p.first + batch) * p.m;
    let base_b = batch * p.k * p.n;

    #repeat g 4
    #repeat h 2
    #repeat e 4
    var c${g}${h}${e} = vec4<f32>(); // row 8 g + 4 h + e
    #end
    #end
    var row${g} = 0u;
    if !A_ACROSS {
        row${g} = row_of(1u, first + min(m0 + ${g}u * 8u + lane, p.m - 1u), p.k);
    }
    var column${g} = 0u;
    if B_ALONG {
        column${g} = base_b + row_of(2u, min(n0 + ${g}u, p.n - 1u), p.k);
    }
    #end
    for (var k = 0u; k < p.k; k += 4u) {
        let mine = k + (lane & 3u);
        let safe = min(mine, p.k - 1u);
        #repeat z 4
        var b${z}: vec4<f32>;
        #end
        if B_ALONG {
            #repeat z 4
            let t${z} = load_b(column${z}, k, p.k);
            #end
            #repeat z 4
            b${z} = vec4<f32>(t0[${z}], t1[${z}], t2[${z}], t3[${z}]);
            #end
        } else {
            let row_b = base_b + row_of(2u, safe, p.n);
            #repeat z 4
            b${z} = load_b(subgroupShuffle(row_b, leader + ${z}u), n0, p.n);
            // Not 0 times whatever lies there: that may be NaN.
            b${z} = select(vec4<f32>(), b${z}, k + ${z}u < p.k);
            #end
        }
        if A_ACROSS {
            let row_a = safe * p.m;
            #repeat g 4
            {
                let four = load_a(row_a, m0 + ${g}u * 8u + (lane >> 2u) * 4u, p.m);
                let t = select(vec4<f32>(), four, mine < p.k);
                #repeat h 2
                #repeat e 4
                #repeat z 4
                c${g}${h}${e} = fma(vec4<f32>(subgroupShuffle(t[${e}], leader + ${h}u * 4u + ${z}u)), b${z}, c${g}${h}${e});
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
                    c${g}${h}${e} = fma(vec4<f32>(s[${z}]), b${z}, c${g}${h}${e});
                    #end
                }
                #end
                #end
            }
            #end
        }
    }
    if n0 >= p.n {
        return;
    }
    if C_VEC && IMAGE != 3u && ACTIVATION == 0u {
        #repeat g 4
        #repeat h 2
        #repeat e 4
        if m0 + ${g}u * 8u + ${h}u * 4u + ${e}u < end {
            put((first + m0 + ${g}u * 8u + ${h}u * 4u + ${e}u) * p.n, n0, c${g}${h}${e});
        }
        #end
        #end
        #end
        return;
    }
    // A long epilogue, once: to compile it for each row takes longer than these selections.
    for (var i = 0u; i < 32u && m0 + i < end; i++) {
        var sums = c000;
        #repeat g 4
        #repeat h 2
        #repeat e 4
        sums = select(sums, c${g}${h}${e}, i == ${g}u * 8u + ${h}u * 4u + ${e}u);
        #end
        #end
        #end
        finish(row_of(3u, first + m0 + i, p.n), n0, sums);
    }
}
