//! Launches on wgpu.

use std::ops::Range;

use engine::device::source::Source;
use engine::{Arg, Backward, Buf, Forward, Kernel, Result, Spec, WgpuExec};

use super::{Layout, Part, Place, Tokens};
use crate::common::gpu::{grad_rows, grad_whole, source, word};

static FORWARD: Source = source("kernels/src/tokens/forward.wgsl", include_str!("forward.wgsl"));
static BACKWARD: Source = source("kernels/src/tokens/backward.wgsl", include_str!("backward.wgsl"));

#[repr(C)]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    n: u32,
    d: u32,
    padding: u32,
    ends: [u32; 3],
    noise: u32,
    position: u32,
    more_padding: [u32; 3],
}

pub(super) fn forward(op: &Tokens, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let specs: Vec<Spec> = io.inputs.iter().map(Buf::spec).collect();
    let Layout { b, p, d, prefix } = op.layout(&specs)?;
    let n = prefix + p;
    let mut params = Params { n: word(n), d: word(d), ends: [word(prefix); 3], ..Params::default() };
    let (mut of_prefix, mut position, mut noise) = ([Arg::Nothing; 3], None, None);
    let mut slots = of_prefix.iter_mut().zip(&mut params.ends);
    for (at, (part, input)) in (1..).zip(op.parts.iter().zip(&io.inputs[1..])) {
        let Place { first, tokens, shared } = op.place(&specs, at)?;
        let arg = if shared { input.whole()? } else { input.rows()? };
        match part {
            Part::Prefix => {
                if let Some((slot, end)) = slots.next() {
                    (*slot, *end) = (arg, word(first + tokens));
                }
            }
            Part::Position => (position, params.position) = (Some(arg), word(first)),
            Part::Noise => (noise, params.noise) = (Some(arg), if shared { 0 } else { word(p * d) }),
        }
    }
    let kernel = Kernel::new(&FORWARD, "main").when("POSITION", position.is_some()).when("NOISE", noise.is_some());
    let [first, second, third] = of_prefix;
    let (position, noise) = (position.unwrap_or(Arg::Nothing), noise.unwrap_or(Arg::Nothing));
    let args = [io.inputs[0].rows()?, first, second, third, position, noise, io.output.rows()?];
    let params = |part: Range<usize>| Params { count: word(part.len() * n * d), ..params };
    exec.launch_rows(&kernel, b, &args, |samples| (samples * n * d).div_ceil(64), params)
}

pub(super) fn backward(op: &Tokens, exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let specs: Vec<Spec> = io.inputs.iter().map(Buf::spec).collect();
    let layout = op.layout(&specs)?;
    let dy = io.d_output.rows()?;
    for (position, grad) in io.d_inputs.iter().enumerate() {
        let place = op.place(&specs, position)?;
        let to = if place.shared { grad_whole(grad.as_ref())? } else { grad_rows(grad.as_ref())? };
        if let Some(to) = to {
            gradient(exec, layout, place, dy, to)?;
        }
    }
    Ok(())
}

/// The gradient of one input. Sums over samples take several launches where dy exceeds the binding limit: all but the first
/// add.
fn gradient(exec: &mut WgpuExec, layout: Layout, place: Place, dy: Arg, (to, add): (Arg, bool)) -> Result<()> {
    let Layout { b, p, d, prefix } = layout;
    let Place { first, tokens, shared } = place;
    let kernel = Kernel::new(&BACKWARD, if shared { "sum" } else { "slice" });
    let count = |samples: usize| if shared { tokens * d } else { samples * tokens * d };
    let groups = |samples: usize| count(samples).div_ceil(64);
    exec.launch_rows(&kernel, b, &[dy, to], groups, |part| {
        let add = add || (shared && part.start > 0);
        [count(part.len()), part.len(), prefix + p, d, first, tokens, usize::from(add), 0].map(word)
    })
}
