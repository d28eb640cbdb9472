//! Vitrum: train.
