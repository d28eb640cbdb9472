//! Vitrum: bench.
