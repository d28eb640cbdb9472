//! Record, plan, replay: the tensor engine of Vitrum.

pub mod check;
pub mod device;
pub mod dtype;
pub mod error;
pub mod fs;
pub mod op;
pub mod plan;
pub mod profile;
pub mod rng;
pub mod shape;
pub mod store;
pub mod tape;
pub mod tensor;

pub use device::{Buf, BufMut, Device, Exec};
pub use dtype::{DType, Element, Real};
pub use error::{Error, Result};
pub use op::{Backward, Cost, Forward, Grad, Inputs, Keeps, Mode, Op, Scratch, Update, UpdateIo, Work};
pub use plan::{MemoryReport, Phase, Plan};
pub use profile::Profile;
pub use shape::{Shape, Spec};
pub use store::{Group, Role, Store, Var};
pub use tape::{Gradients, Tape, Value};
pub use tensor::Tensor;
