//! Vision Transformers: configurations, weights in and out, adaptation to other sizes.

pub mod config;
pub mod registry;
pub mod stochastic;

pub use config::{Activation, Distribution, Normalisation, Pool, Sharing, Stochastic, StochasticLayer, VitConfig};
