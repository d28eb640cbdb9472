//! Data, attacks, training methods, evaluation and reports: everything above the models.

pub mod attack;
pub mod checkpoint;
pub mod data;
pub mod demo;
pub mod eps;
pub mod eval;
pub mod federated;
pub mod inputs;
pub mod losses;
pub mod nullspace;
pub mod optim;
pub mod recipe;
pub mod report;
pub mod trainer;
