//! What several suites of this crate share. Each suite compiles its own copy and uses a part.
#![allow(dead_code, reason = "each suite uses a part")]

pub mod goldens;
pub mod gpu;
pub mod graph;
pub mod probes;
pub mod vit;
