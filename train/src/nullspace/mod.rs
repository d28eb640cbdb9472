//! Noise that a model can't see.

pub mod approximate;
pub mod boxed;
pub mod exact;
pub mod influence;
pub mod patches;
pub mod program;
pub mod pullback;
