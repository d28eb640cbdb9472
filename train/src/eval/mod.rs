//! What a model is worth: accuracy, calibration, corruptions.

pub mod accuracy;
pub mod calibration;
pub mod corruption;
pub mod interval;
pub mod randomised;
