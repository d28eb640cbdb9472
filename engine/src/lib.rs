//! Record, plan, replay: the tensor engine of Vitrum.

pub mod dtype;
pub mod error;
pub mod rng;
pub mod shape;
pub mod tensor;

pub use dtype::{DType, Element, Real};
pub use error::{Error, Result};
pub use shape::{Shape, Spec};
pub use tensor::Tensor;
