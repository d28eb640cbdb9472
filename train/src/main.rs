//! The vitrum binary.
fn main() {}
