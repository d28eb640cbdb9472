//! The nearest of several decision boundaries, per sample (Croce and Hein, 1907.02044, eq. 7): where the boundary of class k is nearer than
//! those looked at before, it is kept.
//!
//! The distance to the boundary f = z_k - z_y = 0, linearised with gradient w, is `|f| / (|w|' + 1e-12)`, where |w|' is the dual norm: the sum
//! of absolute values for the Linf ball, the Euclidean length for L2. The label's own class is none. Class 0 begins anew.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{Exec, Result, Spec, Store, Tape, Target, Update, UpdateIo, Value, Var, Work, real};

use crate::common::progress::Ball;
use crate::common::specs::{misfit, samples};

const NAME: &str = "fab_choose";
/// Keeps the distance finite where the gradient is 0.
const TINY: f64 = 1e-12;
/// Farther than any boundary, and finite on every backend.
const FARTHEST: f64 = 1e30;

/// What is kept of the nearest boundary.
#[derive(Clone, Copy, Debug)]
pub struct Nearest {
    /// Gradient, [b, ...].
    pub gradient: Var,
    /// z_k - z_y, `[b]`.
    pub difference: Var,
    /// Distance, `[b]`.
    pub distance: Var,
}

#[derive(Debug)]
struct FabChoose {
    ball: Ball,
    class: u32,
}

/// Records the choice: `gradient` [b, ...] and `difference` `[b]` are those of `class`, `labels` i32 `[b]`.
///
/// # Errors
/// Shapes do not fit.
pub fn fab_choose(
    tape: &mut Tape,
    store: &Store,
    ball: Ball,
    class: u32,
    nearest: Nearest,
    [gradient, difference, labels]: [Value; 3],
) -> Result<()> {
    let states = [nearest.gradient, nearest.difference, nearest.distance];
    tape.update(store, FabChoose { ball, class }, &states, &[gradient, difference, labels])
}

impl Update for FabChoose {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()> {
        match (state, inputs) {
            ([kept, kept_difference, distance], [gradient, difference, labels])
                if kept.dtype.is_real()
                    && kept.shape.rank() > 1
                    && kept.elements() > 0
                    && gradient == kept
                    && [kept_difference, distance].into_iter().all(|spec| spec == difference)
                    && difference.dtype == kept.dtype
                    && difference.dims() == [samples(kept)]
                    && labels.dtype == engine::DType::I32
                    && labels.dims() == difference.dims() =>
            {
                Ok(())
            }
            _ => {
                let specs: Vec<Spec> = state.iter().chain(inputs).copied().collect();
                let names = ["nearest gradient", "its difference", "its distance", "gradient", "difference", "labels"];
                Err(misfit(NAME, &names, &specs, "gradients [b, ...], the others [b], labels i32"))
            }
        }
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        0
    }

    fn cost(&self, state: &[Spec], _inputs: &[Spec]) -> Work {
        state.first().map_or(Work::default(), |kept| Work::new(2 * kept.elements(), 2 * kept.bytes()))
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.inputs[0].spec().dtype, NAME, T => cpu::run::<T>(self, io)),
            Exec::Cuda(exec) => cuda::run(self, exec, &io),
            Exec::Wgpu(exec) => wgpu::run(self, exec, &io),
        }
    }
}
