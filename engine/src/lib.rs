//! Record, plan, replay: the tensor engine of Vitrum.
//!
//! In reading order: [`shape`], [`dtype`], [`error`] and [`tensor`] are the vocabulary; [`op`] is the contract with an operation;
//! [`tape`] records, [`plan`] decides and replays, [`store`] keeps the variables that outlive a plan; [`device`] runs kernels;
//! [`rng`] draws; [`check`] and [`profile`] verify and measure; [`fs`] writes files that are whole.
//!
//! The engine knows no operation but ones, zeros, copy and add: `vitrum-kernels` has the others. A whole program, with an update
//! that doubles a variable:
//!
//! ```
//! use vitrum_engine::{BufMut, Device, Error, Exec, Result, Role, Spec, Store, Tape, Target, Tensor, Update, UpdateIo, Work};
//!
//! #[derive(Debug)]
//! struct Double;
//! impl Update for Double {
//!     fn name(&self) -> &'static str { "double" }
//!     fn check(&self, _: &[Spec], _: &[Spec]) -> Result<()> { Ok(()) }
//!     fn scratch(&self, _: &[Spec], _: &[Spec], _: Target) -> usize { 0 }
//!     fn cost(&self, state: &[Spec], _: &[Spec]) -> Work { Work::new(state[0].elements(), 2 * state[0].bytes()) }
//!     fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
//!         let double = |buf: &mut BufMut| buf.host::<f32>().map(|x| x.iter_mut().for_each(|x| *x *= 2.0));
//!         match exec {
//!             Exec::Cpu(_) => io.state.iter_mut().try_for_each(double),
//!             Exec::Cuda(_) | Exec::Wgpu(_) => Err(Error::new("double", "has no kernel here")),
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<()> {
//! let mut store = Store::new(Device::cpu(Some(1))?)?;
//! let x = store.constant("x", Role::Data, &Tensor::new(&[2], &[1.0_f32, 3.0])?)?;
//! let mut tape = Tape::new();
//! tape.update(&store, Double, &[x], &[])?;
//! let plan = tape.plan(&mut store, &[])?;
//! plan.replay(&mut store)?;
//! plan.replay(&mut store)?;
//! assert_eq!(store.read(x)?.values::<f32>()?, [4.0, 12.0]);
//! # Ok(())
//! # }
//! ```

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

pub use device::webgpu::{Arg, Kernel, WgpuExec};
pub use device::{Buf, BufMut, Device, Exec, Target};
pub use dtype::{DType, Element, Real};
pub use error::{Error, Result};
pub use op::{Backward, Cost, Forward, Grad, Inputs, Keeps, Mode, Op, Scratch, Update, UpdateIo, Work};
pub use plan::{MemoryReport, Phase, Plan};
pub use profile::Profile;
pub use shape::{Shape, Spec};
pub use store::{Group, Role, Store, Var};
pub use tape::{Gradients, Tape, Value};
pub use tensor::Tensor;
