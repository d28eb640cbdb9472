//! A GPU: multiply-adds in registers, copies of vectors of four, timed on the device where it can.

use std::time::Duration;

use engine::device::cuda;
use engine::device::source::Source;
use engine::{DType, Device, Error, Exec, Kernel, Result, Role, Spec, Store, Tape, Target, Update, UpdateIo, Work};

use super::{Peak, rate};
use crate::common::cuda as on_cuda;
use crate::common::gpu::{source, word};

static MULTIPLY: Source = source("kernels/src/common/peak/multiply.wgsl", include_str!("multiply.wgsl"));
static COPY: Source = source("kernels/src/common/peak/copy.wgsl", include_str!("copy.wgsl"));

static PEAK: Source = on_cuda::source("kernels/src/common/peak/peak.cu", include_str!("peak.cu"));

/// Multiply-adds of an invocation per round: four vectors of four.
const PER_ROUND: usize = 16;

/// How much the probes do.
#[derive(Clone, Copy, Debug)]
struct Load {
    /// Invocations of the multiply kernel: enough to fill a large card several times over.
    invocations: usize,
    /// Rounds of each: a run takes milliseconds on a card, and less than a second in software.
    rounds: usize,
    /// Words that a copy moves: beyond the caches, and on wgpu within every binding limit.
    words: usize,
}

impl Load {
    /// About so many times less: powers of two, so that whole blocks and vectors stay.
    fn divided(self, share: usize) -> Self {
        let part = |count: usize, least: usize| (count / share.next_power_of_two()).max(least);
        Self { invocations: part(self.invocations, 256), rounds: part(self.rounds, 4), words: part(self.words, 4096) }
    }
}

const WGPU: Load = Load { invocations: 1 << 16, rounds: 256, words: 16 << 20 };
const CUDA: Load = Load { invocations: 1 << 20, rounds: 4096, words: 128 << 20 };

#[derive(Clone, Copy, Debug)]
enum Probe {
    Multiply(Load),
    Copy(Load),
}

impl Update for Probe {
    fn name(&self) -> &'static str {
        "peak"
    }

    fn check(&self, _state: &[Spec], _inputs: &[Spec]) -> Result<()> {
        Ok(())
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        0
    }

    fn cost(&self, _state: &[Spec], _inputs: &[Spec]) -> Work {
        Work::default()
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        let ([to], [from]) = (&*io.state, io.inputs) else {
            return Err(Error::new("peak", "the probe goes from one buffer to another"));
        };
        match (exec, *self) {
            (Exec::Cpu(_), _) => Err(Error::new("peak", "the probe runs on a GPU")),
            (Exec::Cuda(exec), Self::Multiply(Load { invocations, rounds, .. })) => {
                let params = [from.address()?, to.address()?, rounds.into()];
                exec.launch(cuda::Kernel::new(&PEAK, "multiply", DType::F32), cuda::Grid::each(invocations), &params)
            }
            (Exec::Cuda(exec), Self::Copy(Load { words, .. })) => {
                let params = [from.address()?, to.address()?];
                exec.launch(cuda::Kernel::new(&PEAK, "copy", DType::F32), cuda::Grid::each(words / 4), &params)
            }
            (Exec::Wgpu(exec), Self::Multiply(Load { invocations, rounds, .. })) => {
                let args = [from.whole()?, to.whole()?];
                exec.launch(&Kernel::new(&MULTIPLY, "main"), &[word(rounds), 0, 0, 0], &args, invocations / 64)
            }
            (Exec::Wgpu(exec), Self::Copy(Load { words, .. })) => {
                let args = [from.whole()?, to.whole()?];
                exec.launch(&Kernel::new(&COPY, "main"), &[word(words / 4), 0, 0, 0], &args, words / 4 / 64)
            }
        }
    }
}

pub(super) fn measure(device: &Device, time: Duration, share: usize) -> Result<Peak> {
    let load = if matches!(device, Device::Cuda(_)) { CUDA } else { WGPU }.divided(share);
    let Load { invocations, rounds, words } = load;
    Ok(Peak {
        flops: probe(device, Probe::Multiply(load), invocations, 2 * PER_ROUND * rounds * invocations, time)?,
        bytes: probe(device, Probe::Copy(load), words, 8 * words, time)?,
    })
}

fn probe(device: &Device, probe: Probe, words: usize, amount: usize, time: Duration) -> Result<f64> {
    let mut store = Store::new(device.clone())?;
    let spec = Spec::new(DType::F32, &[words])?;
    let (from, to) = (store.single("from", Role::Data, spec)?, store.single("to", Role::Data, spec)?);
    store.write_values(from, &vec![0.999_f32; words])?;
    let mut tape = Tape::new();
    let value = tape.var(&store, from)?;
    tape.update(&store, probe, &[to], &[value])?;
    let plan = tape.plan_with(&mut store, &[], false)?;
    rate(amount, time, || Ok(plan.profile(&mut store)?.total()))
}
