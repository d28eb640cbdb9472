//! Vitrum: train.

pub mod data;
pub mod eval;
pub mod nullspace;
pub mod report;
