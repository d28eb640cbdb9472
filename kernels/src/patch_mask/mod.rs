//! Perturbation random masking (PRM; Mo et al., 2210.07540, section 4.2): forgets the perturbation on some patches.
//!
//! Of the P patches of an image, `floor(P (1 - q))` are set to 0 in all channels, the same ones for the whole batch, q
//! being the keep probability. A patch is masked where its Philox word is among the smallest (of equals, the first
//! patch): so every choice of that many patches is as likely. Only the carried perturbation is masked; the gradient that
//! is taken there is not.
//!
//! q comes as f32, whose rounding must not lose a patch: the product may be short of a whole number by P * 2^-23.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::rng::Stream;
use engine::{Error, Exec, Result, Spec, Store, Tape, Target, Update, UpdateIo, Value, Var, Work, real};

use crate::common::flat::is_vector;
use crate::common::specs::{misfit, random_state};

const NAME: &str = "patch_mask";

#[derive(Debug)]
struct PatchMask {
    patch: usize,
    stream: Stream,
}

/// Records the masking of `delta` [b, c, h, w] in squares of `patch` pixels, with `keep` `[1]` the keep probability q and
/// `state` the random state u32 `[4]`; words are drawn from the stream of name `stream`.
///
/// # Errors
/// Shapes do not fit, or the patches do not tile the image.
pub fn patch_mask(
    tape: &mut Tape,
    store: &Store,
    delta: Var,
    keep: Value,
    state: Value,
    patch: usize,
    stream: &str,
) -> Result<()> {
    tape.update(store, PatchMask { patch, stream: Stream::named(stream) }, &[delta], &[keep, state])
}

/// Number of patches of `patches` that are masked at keep probability `keep`; all of them where it is no number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=patches")]
fn masked(patches: usize, keep: f64) -> usize {
    #[expect(clippy::cast_precision_loss, reason = "patches stay below 2^32")]
    let all = patches as f64;
    let lost = all * (1.0 - keep) + all * f64::from(f32::EPSILON);
    if lost.is_nan() { patches } else { lost.clamp(0.0, all) as usize }
}

impl PatchMask {
    /// (b * c, h, w), and the number of patches of an image.
    fn sizes(&self, delta: &Spec) -> Result<([usize; 3], usize)> {
        let [b, c, h, w] = delta.array(NAME, "delta")?;
        let patches = (h / self.patch.max(1)) * (w / self.patch.max(1));
        Ok(([b * c, h, w], patches))
    }
}

impl Update for PatchMask {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        let ([delta], [keep, words]) = (state, inputs) else {
            let specs: Vec<Spec> = state.iter().chain(inputs).copied().collect();
            return Err(misfit(NAME, &["delta", "keep", "random state"], &specs, "one state and two inputs"));
        };
        random_state(NAME, *words)?;
        let ([_, h, w], patches) = self.sizes(delta)?;
        let tiles = self.patch > 0 && h % self.patch == 0 && w % self.patch == 0;
        if !tiles || !(1..=u32::MAX as usize).contains(&patches) {
            return Err(Error::new(NAME, "the patches do not tile the image")
                .with("delta", delta)
                .with("patch", self.patch)
                .help("height and width must be multiples of the patch size"));
        }
        if delta.dtype.is_real() && is_vector(keep, delta, 1) {
            return Ok(());
        }
        Err(misfit(
            NAME,
            &["delta", "keep"],
            &[*delta, *keep],
            "delta is float [b, c, h, w], keep is [1] of the same type",
        ))
    }

    fn scratch(&self, state: &[Spec], _inputs: &[Spec], target: Target) -> usize {
        let patches = state.first().and_then(|delta| self.sizes(delta).ok()).map_or(0, |(_, patches)| patches);
        match target {
            Target::Cpu { .. } => 2 * patches * size_of::<u32>(),
            Target::Cuda(_) => cuda::scratch(patches),
            Target::Wgpu(_) => wgpu::scratch(patches),
        }
    }

    fn cost(&self, state: &[Spec], _inputs: &[Spec]) -> Work {
        Work::new(0, state.first().map_or(0, Spec::bytes))
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.inputs[0].spec().dtype, NAME, T => cpu::run::<T>(self, io)),
            Exec::Cuda(exec) => cuda::run(self, exec, &io),
            Exec::Wgpu(exec) => wgpu::run(self, exec, &io),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn counts_do_not_suffer_from_the_rounding_of_q() {
        for (patches, tenths, expected) in [(64, 0, 64), (64, 10, 0), (10, 4, 6), (10, 9, 1), (196, 5, 98), (64, 3, 44)]
        {
            let q = f64::from(f32::from(u8::try_from(tenths).unwrap()) / 10.0);
            assert_eq!(masked(patches, q), expected, "{patches} patches, q = {q}");
        }
        assert_eq!((masked(9, f64::NAN), masked(9, -3.0), masked(9, 2.0)), (9, 9, 0));
    }
}
