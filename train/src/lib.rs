//! Vitrum: train.

pub mod eval;
pub mod nullspace;
