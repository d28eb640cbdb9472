//! Noise that a model can't see.

pub mod approximate;
pub mod exact;
