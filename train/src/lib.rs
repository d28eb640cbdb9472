//! Vitrum: train.

pub mod eval;
