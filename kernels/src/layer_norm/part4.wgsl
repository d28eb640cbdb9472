// What a lane takes of a row at a time: four elements, for rows whose length is a multiple of 4. The other version is part.wgsl.
alias Part = vec4<f32>;

fn part_sum(part: Part) -> f32 {
    return (part.x + part.y) + (part.z + part.w);
}
