//! Attacks that go from sample to sample as each one's fate asks: PGD with early stop, Auto-PGD, FAB, Square, and AutoAttack, which is four
//! of them in a row (Croce and Hein, 2003.01690).
//!
//! A stage is one attack. Only samples that withstood all stages before it are attacked; a sample may need several attempts (restarts,
//! target classes). Attempts run side by side in the slots of a batch, each at its own step: a step of all of them is one replay
//! of a plan, and where a sample is done, another takes its slot. When none is left, the batch shrinks. So cost falls as samples do.
//!
//! Everything random is keyed by the sample's id, its attempt and its step: the result does not depend on batch size, order or on
//! what else is attacked. With a stochastic model all attempts of a batch are kept in step, because a draw is shared by a batch.

mod campaign;
mod record;
mod slots;
mod stage;
mod state;
mod verify;

pub use campaign::{Campaign, CascadeReport, Options, Robust, StageReport, Targets};
pub use stage::{Apgd, ApgdLoss, Fab, Square, Stage, Version};
pub use verify::{Verified, verify};
