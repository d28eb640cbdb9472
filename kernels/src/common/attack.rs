//! What attack steps share: operands, their checks, and the walk over samples.

use engine::{Error, Result, Spec, UpdateIo, Value, Var};

use super::flat::is_vector;
use super::math::Float;
use super::parallel::{blocks, for_each_block};
use super::specs::{misfit, per_sample_elements, samples};

/// Operands of one step of a perturbation: `delta`, `gradient` and `images` are [b, ...] of one spec.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The perturbation, changed in place.
    pub delta: Var,
    /// Gradient of what is to be ascended, with respect to images + delta.
    pub gradient: Value,
    /// Clean images in [0, 1].
    pub images: Value,
    /// Radius of the ball `[1]`, in units of the images.
    pub eps: Value,
    /// Length of the step `[1]`, in units of the images; negative to descend.
    pub alpha: Value,
    /// Samples to be stepped `[b]`: all but those that are 0. `None` steps all.
    pub active: Option<Value>,
}

impl Step {
    /// The inputs in the order in which the updates take them.
    pub(crate) fn inputs(&self) -> Vec<Value> {
        [self.gradient, self.images, self.eps, self.alpha].into_iter().chain(self.active).collect()
    }
}

/// Checks the operands of a step.
///
/// # Errors
/// They do not fit; the message names update `op` and all of them.
pub(crate) fn check(op: &str, state: &[Spec], inputs: &[Spec]) -> Result<()> {
    let fits = match (state, inputs) {
        ([delta], [gradient, images, eps, alpha, active @ ..]) => {
            delta.dtype.is_real()
                && delta.shape.rank() > 1
                && delta.elements() > 0
                && gradient == delta
                && images == delta
                && is_vector(eps, delta, 1)
                && is_vector(alpha, delta, 1)
                && active.len() <= 1
                && active.iter().all(|active| is_vector(active, delta, samples(delta)))
        }
        _ => false,
    };
    if fits {
        return Ok(());
    }
    let specs: Vec<Spec> = state.iter().chain(inputs).copied().collect();
    let names = ["delta", "gradient", "images", "eps", "alpha", "active"];
    Err(misfit(
        op,
        &names,
        &specs,
        "delta, gradient and images [b, ...], eps [1], alpha [1], active [b]: one float type",
    ))
}

/// Calls `step(delta, gradient, images, eps, alpha)` for each active sample, over the threads.
///
/// # Errors
/// The buffers are not of type `T`.
pub(crate) fn for_active<T: Float>(io: UpdateIo, step: impl Fn(&mut [T], &[T], &[T], T, T) + Sync) -> Result<()> {
    let [gradient, images, eps, alpha, active @ ..] = io.inputs else {
        return Err(Error::new("attack step", "needs at least four inputs"));
    };
    let [delta] = io.state else { return Err(Error::new("attack step", "needs one state")) };
    let width = per_sample_elements(&gradient.spec());
    let (gradient, images) = (gradient.host::<T>()?, images.host::<T>()?);
    let (eps, alpha) = (super::flat::scalar_at::<T>(eps, 0)?, super::flat::scalar_at::<T>(alpha, 0)?);
    let active = active.first().map(|active| active.host::<T>()).transpose()?;
    for_each_block(blocks(delta.host::<T>()?, width), |sample, delta| {
        if active.is_none_or(|active| active[sample] != T::ZERO) {
            let sample = sample * width..(sample + 1) * width;
            step(delta, &gradient[sample.clone()], &images[sample], eps, alpha);
        }
    });
    Ok(())
}

/// `delta` such that the perturbed pixel stays in [0, 1]. NaN becomes the lower end.
#[inline(always)]
pub(crate) fn into_box<T: Float>(delta: T, image: T) -> T {
    delta.max(T::ZERO - image).min(T::ONE - image)
}
