//! Launches on wgpu: what all elements share is computed on the device, where the counter and the learning rate lie.

use engine::device::source::Source;
use engine::{Error, Kernel, Real, Result, UpdateIo, WgpuExec};

use super::{AdamW, NAME};
use crate::common::gpu::{quads, source, word};

static UPDATE: Source = source("kernels/src/adamw/update.wgsl", include_str!("update.wgsl"));

/// Bytes of what all elements share: four floats.
pub(super) const SCRATCH: usize = 16;

pub(super) fn run(options: &AdamW, exec: &mut WgpuExec, io: &UpdateIo) -> Result<()> {
    let [p, m, v, steps] = &*io.state else { return Err(Error::new(NAME, "needs four states")) };
    let [g, lr, clip] = io.inputs else { return Err(Error::new(NAME, "needs three inputs")) };
    let (b1, b2) = options.betas;
    // Of 0 the logarithm is infinite; e^-1000 is 0 too.
    let log = |beta: f64| f32::from_f64(beta.ln().max(-1000.0));
    let prepare = Kernel::new(&UPDATE, "prepare");
    let shared = io.scratch.whole()?;
    exec.launch(&prepare, &[log(b1), log(b2), 0.0, 0.0], &[steps.whole()?, lr.whole()?, clip.whole()?, shared], 1)?;
    let table = options.decay.table();
    let pieces = exec.constant(&table)?;
    let args = [p.rows()?, m.rows()?, v.rows()?, g.rows()?, shared, pieces];
    let [b1, b2, from_g, from_g2, eps] = [b1, b2, 1.0 - b1, 1.0 - b2, options.eps].map(|x| f32::from_f64(x).to_bits());
    exec.launch_rows(&Kernel::new(&UPDATE, "main"), g.spec().elements(), &args, quads, |part| {
        [word(part.len()), word(part.start), word(table.len()), b1, b2, from_g, from_g2, eps]
    })
}
