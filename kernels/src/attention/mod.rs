//! Multi-head self-attention.

pub mod cpu;
