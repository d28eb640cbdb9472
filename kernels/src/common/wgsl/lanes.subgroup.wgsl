// 8 neighbouring lanes of a workgroup of 64 share a row, of which they take four elements each at a time: the row's length is
// a multiple of 4. Sums over the lanes go through a butterfly of shuffles. Both sides of an exchange add the same two
// numbers, so all lanes hold the same bits. For subgroups of 8 or more; elsewhere lanes.wgsl.
alias Part = vec4<f32>;
const LANES: u32 = 8u;

// The sum of `value` over the lanes of a row, in each of them. All lanes of the subgroup must call it.
fn lanes_sum(lane: u32, value: f32) -> f32 {
    var sum = value;
    sum = sum + subgroupShuffleXor(sum, 4u);
    sum = sum + subgroupShuffleXor(sum, 2u);
    sum = sum + subgroupShuffleXor(sum, 1u);
    return sum;
}

fn part_sum(part: Part) -> f32 {
    return (part.x + part.y) + (part.z + part.w);
}
