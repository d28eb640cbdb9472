//! What a model is worth: accuracy, calibration, corruptions.

pub mod accuracy;
pub mod calibration;
pub mod classes;
pub mod corruption;
pub mod mce;
pub mod outputs;
pub mod sanity;
