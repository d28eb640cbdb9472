//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Arg, Error, Kernel, Real, Result, UpdateIo, WgpuExec};

use super::{NAME, Sgd};
use crate::common::gpu::{quads, source, word};

static UPDATE: Source = source("kernels/src/sgd/update.wgsl", include_str!("update.wgsl"));

pub(super) fn run(options: &Sgd, exec: &mut WgpuExec, io: &UpdateIo) -> Result<()> {
    let [p, momentum @ ..] = &*io.state else { return Err(Error::new(NAME, "needs a state")) };
    let [g, lr, clip] = io.inputs else { return Err(Error::new(NAME, "needs three inputs")) };
    let momentum = momentum.first();
    let kernel = Kernel::new(&UPDATE, "main").when("MOMENTUM", momentum.is_some()).when("NESTEROV", options.nesterov);
    let u = Arg::or_nothing(momentum.map(|u| u.rows()))?;
    let table = options.decay.table();
    let pieces = exec.constant(&table)?;
    let args = [p.rows()?, u, g.rows()?, lr.whole()?, clip.whole()?, pieces];
    let mu = f32::from_f64(options.momentum).to_bits();
    exec.launch_rows(&kernel, g.spec().elements(), &args, quads, |part| {
        [word(part.len()), word(part.start), word(table.len()), mu]
    })
}
