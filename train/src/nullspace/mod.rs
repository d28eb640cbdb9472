//! Noise that a model can't see.

pub mod approximate;
pub mod boxed;
pub mod exact;
pub mod patches;
pub mod program;
