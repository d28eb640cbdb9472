// What attention's kernels for subgroups share: 8 lanes, each with a row of its own, spread their values to each other.
override WIDTH: u32 = 8u; // invocations of a subgroup
override QUADS: u32 = 16u; // vectors of four of a head's row, at most 16

// Groups of 8 lanes that have work.
fn count_of_groups() -> u32 {
    return p.images * p.heads * p.blocks;
}

// The values of lanes 0 to 3 of the 8 that begin at `leader`.
fn low_four(value: f32, leader: u32) -> vec4<f32> {
    return vec4<f32>(
        subgroupShuffle(value, leader),
        subgroupShuffle(value, leader + 1u),
        subgroupShuffle(value, leader + 2u),
        subgroupShuffle(value, leader + 3u),
    );
}

// Those of lanes 4 to 7.
fn high_four(value: f32, leader: u32) -> vec4<f32> {
    return low_four(value, leader + 4u);
}
