//! The row of numbers that an attack keeps of each sample: how far it is, and what it needs to go on.
//!
//! Samples of one batch are at different places of an attack: where one is done, another takes its row. So what others keep in
//! variables of a program lies here on the device, one row a sample, in the element type of the images. The first three columns
//! are the same for every attack; kernels of all backends know the columns by these numbers.

/// Radius of the ball, in units of the images.
pub const EPS: usize = 0;
/// One of [`IDLE`], [`RUNNING`], [`FOOLED`], [`SPENT`].
pub const STATUS: usize = 1;
/// Steps taken.
pub const STEPS: usize = 2;

/// The row holds no sample: nothing of it is changed.
pub const IDLE: u32 = 0;
/// The attack goes on.
pub const RUNNING: u32 = 1;
/// The sample is misclassified: the attack is done.
pub const FOOLED: u32 = 2;
/// The attack has taken all its steps.
pub const SPENT: u32 = 3;

/// The ball that bounds a perturbation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ball {
    /// |delta| <= eps per element.
    Linf,
    /// Euclidean length of a sample's delta <= eps.
    L2,
}
