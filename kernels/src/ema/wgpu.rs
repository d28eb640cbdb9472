//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Kernel, Real, Result, UpdateIo, WgpuExec};

use crate::common::gpu::{quads, source, word};

static UPDATE: Source = source("kernels/src/ema/update.wgsl", include_str!("update.wgsl"));

pub(super) fn run(decay: f64, exec: &mut WgpuExec, io: &UpdateIo) -> Result<()> {
    let args = [io.state[0].rows()?, io.inputs[0].rows()?];
    let rate = f32::from_f64(1.0 - decay).to_bits();
    let count = io.inputs[0].spec().elements();
    exec.launch_rows(&Kernel::new(&UPDATE, "main"), count, &args, quads, |part| [word(part.len()), rate, 0, 0])
}
