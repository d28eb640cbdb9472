//! What a model, its features or its gradients give away about the images that they saw.
//!
//! [`inversion`] reconstructs images from features, [`gradients`] from the gradient of a training step, [`membership`] tells
//! whether a sample was trained on. Reconstructions are measured by [`quality`].

pub mod descent;
pub mod gradients;
pub mod inversion;
pub mod membership;
pub mod quality;
