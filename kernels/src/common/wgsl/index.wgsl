// Number of a workgroup: the host folds grids of more than 65,535 groups into two dimensions.
fn flat_group(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}
