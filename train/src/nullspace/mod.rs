//! Noise that a model can't see.

pub mod exact;
