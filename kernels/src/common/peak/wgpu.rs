//! A GPU: multiply-adds in registers, copies of vectors of four, timed on the device where it can.

use std::time::Duration;

use engine::device::source::Source;
use engine::{DType, Device, Error, Exec, Kernel, Result, Role, Spec, Store, Tape, Target, Update, UpdateIo, Work};

use super::{Peak, rate};
use crate::common::gpu::{source, word};

static MULTIPLY: Source = source("kernels/src/common/peak/multiply.wgsl", include_str!("multiply.wgsl"));
static COPY: Source = source("kernels/src/common/peak/copy.wgsl", include_str!("copy.wgsl"));

/// Invocations of the multiply kernel: enough to fill a large card several times over.
const INVOCATIONS: usize = 1 << 16;
/// Multiply-adds of an invocation per round: four vectors of four.
const PER_ROUND: usize = 16;
/// Words that a copy moves: 64 MiB, beyond most caches and within every binding limit.
const WORDS: usize = 16 << 20;

#[derive(Clone, Copy, Debug)]
enum Probe {
    Multiply { rounds: usize },
    Copy,
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
        let (Exec::Wgpu(exec), [to], [from]) = (exec, &*io.state, io.inputs) else {
            return Err(Error::new("peak", "the probe runs on a GPU, from one buffer to another"));
        };
        let args = [from.whole()?, to.whole()?];
        match *self {
            Self::Multiply { rounds } => {
                exec.launch(&Kernel::new(&MULTIPLY, "main"), &[word(rounds), 0, 0, 0], &args, INVOCATIONS / 64)
            }
            Self::Copy => exec.launch(&Kernel::new(&COPY, "main"), &[word(WORDS / 4), 0, 0, 0], &args, WORDS / 4 / 64),
        }
    }
}

pub(super) fn measure(device: &Device, time: Duration) -> Result<Peak> {
    // So many rounds that a run takes milliseconds on a card and less than a second in software.
    let rounds = 256;
    Ok(Peak {
        flops: probe(device, Probe::Multiply { rounds }, INVOCATIONS, 2 * PER_ROUND * rounds * INVOCATIONS, time)?,
        bytes: probe(device, Probe::Copy, WORDS, 8 * WORDS, time)?,
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
