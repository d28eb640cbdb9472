//! Vision Transformers: configurations, weights in and out, adaptation to other sizes.

pub mod adapt;
pub mod config;
pub mod init;
pub mod registry;
pub mod stochastic;
pub mod tensor_file;
pub mod vit;
pub mod weights;

pub use config::{Activation, Distribution, Normalisation, Pool, Sharing, Stochastic, StochasticLayer, VitConfig};
pub use vit::Vit;
pub use weights::{Layout, LoadOptions, Loaded, load, save};
