//! Vitrum: train.

pub mod data;
pub mod eps;
pub mod eval;
pub mod nullspace;
pub mod report;
