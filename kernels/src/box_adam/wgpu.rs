//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Error, Kernel, Real, Result, UpdateIo, WgpuExec};

use super::{B1, B2, EPS, NAME};
use crate::common::gpu::{source, word};
use crate::common::specs::per_sample_elements;

static UPDATE: Source = source("kernels/src/box_adam/update.wgsl", include_str!("update.wgsl"));

pub(super) fn run(exec: &mut WgpuExec, io: &UpdateIo) -> Result<()> {
    let ([x, m, v], [g, low, high, rates, active]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs three states and five inputs"));
    };
    let spec = g.spec();
    let width = word(per_sample_elements(&spec));
    let [b1, b2, from_g, from_g2, eps] = [B1, B2, 1.0 - B1, 1.0 - B2, EPS].map(|x| f32::from_f64(x).to_bits());
    let args = [x.rows()?, m.rows()?, v.rows()?, g.rows()?, low.rows()?, high.rows()?, rates.whole()?, active.whole()?];
    exec.launch_each(&Kernel::new(&UPDATE, "main"), spec.elements(), &args, |part| {
        [word(part.len()), word(part.start), width, b1, b2, from_g, from_g2, eps]
    })
}
