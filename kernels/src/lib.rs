//! Vitrum: kernels.
