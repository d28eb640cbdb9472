// What a lane takes of a row at a time: one element. The other version is part4.wgsl.
alias Part = f32;

fn part_sum(part: Part) -> f32 {
    return part;
}
