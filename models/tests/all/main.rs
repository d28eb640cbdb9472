//! Configurations, weights and adaptation, through the public interface.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers outside of test functions may fail the test too")]

mod adapt;
mod common;
mod registry;
mod weights;
