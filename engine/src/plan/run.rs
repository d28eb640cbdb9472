//! Replaying a plan.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{BufferId, GUARD, GradAt, Kernel, Launch, Location, Phase, Plan};
use crate::device::{Buf, BufMut, Exec, Place, Recording};
use crate::dtype::Element;
use crate::error::{Error, Result};
use crate::op::{Backward, Forward, Grad, MAX_INPUTS, UpdateIo};
use crate::profile::{Profile, Timing};
use crate::shape::Spec;
use crate::store::Store;
use crate::tape::Value;
use crate::tensor::Tensor;

const POISON: u8 = 0xFF; // a NaN in every float type
const CANARY: u8 = 0x7F; // a huge number in every float type: a kernel that reads it can't hide that

/// Launches that a device replays, and the arena that they were recorded for.
pub(crate) struct Recorded {
    arena: Option<u32>,
    recording: Recording,
}

/// How launches run.
enum Runner<'p> {
    /// One by one, by the ops.
    Direct(Exec),
    /// As they were recorded.
    Recorded(MutexGuard<'p, Option<Recorded>>),
}

impl Plan {
    /// Runs every launch once.
    ///
    /// # Errors
    /// The device failed, or (with checks) a kernel wrote beyond its buffer.
    pub fn replay(&self, store: &mut Store) -> Result<()> {
        if !self.checks && store.device().records() && !store.device().blocking() {
            self.begin(store)?;
            self.recorded(store)?.as_ref().map_or(Ok(()), |it| it.recording.submit(0..self.launches.len()))?;
            store.own_arena(self.id);
            return Ok(());
        }
        self.each(store, |_, _, _| Ok(true))
    }

    /// Lets the ops launch on memory that is only imagined, before more of it is taken: what exceeds a limit of the device is
    /// refused then.
    pub(super) fn rehearse(&self, store: &mut Store) -> Result<()> {
        let bytes = self.layout.bytes;
        let Some(imagined) = store.device().imagined(bytes).filter(|_| bytes > store.arena().bytes()) else {
            return Ok(());
        };
        let arena = store.swap_arena(imagined);
        let mut exec = store.device().exec();
        let refused = self
            .launches
            .iter()
            .find_map(|launch| self.run(launch, store, &mut exec).err().map(|error| error.within(&launch.path)));
        store.swap_arena(arena);
        refused.map_or(Ok(()), Err)
    }

    /// Lets the ops record their launches, where the device replays recordings.
    pub(super) fn record(&self, store: &Store) -> Result<()> {
        if store.device().records() {
            drop(self.recorded(store)?);
        }
        Ok(())
    }

    /// What ops said about their launches: which take a general kernel, and why. One line per reason.
    pub fn notes(&self) -> Vec<String> {
        let slot = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let notes = slot.as_ref().map_or(&[][..], |recorded| recorded.recording.notes());
        let mut reasons: Vec<(&str, &str, usize)> = Vec::new();
        for (launch, text) in notes {
            let path = self.launches.get(*launch).map_or("?", |launch| launch.path.as_str());
            match reasons.iter_mut().find(|(_, other, _)| other == text) {
                Some((_, _, more)) => *more += 1,
                None => reasons.push((path, text, 0)),
            }
        }
        let line = |(path, text, more): (&str, &str, usize)| match more {
            0 => format!("{path}: {text}"),
            more => format!("{path} and {more} more: {text}"),
        };
        reasons.into_iter().map(line).collect()
    }

    /// The recording for the present arena: another plan may have made the arena larger since.
    fn recorded(&self, store: &Store) -> Result<MutexGuard<'_, Option<Recorded>>> {
        let mut slot = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let arena = store.arena().id();
        if slot.as_ref().is_none_or(|recorded| recorded.arena != arena) {
            let mut exec = store.device().exec();
            if self.checks || store.device().blocking() {
                exec.keep_apart();
            }
            for launch in &self.launches {
                self.run(launch, store, &mut exec).map_err(|error| error.within(&launch.path))?;
                exec.end_launch();
            }
            *slot = exec.finish()?.map(|recording| Recorded { arena, recording });
        }
        Ok(slot)
    }

    /// Runs every launch once and measures each.
    ///
    /// # Errors
    /// As [`Plan::replay`].
    pub fn profile(&self, store: &mut Store) -> Result<Profile> {
        if store.device().records() {
            self.begin(store)?;
            let durations = match self.recorded(store)?.as_ref() {
                Some(recorded) => recorded.recording.profile()?,
                None => Vec::new(),
            };
            store.own_arena(self.id);
            let timing = |(launch, duration): (&Launch, _)| Timing {
                path: launch.path.clone(),
                phase: launch.phase,
                duration,
                work: launch.work,
            };
            return Ok(Profile { timings: self.launches.iter().zip(durations).map(timing).collect() });
        }
        let mut timings = Vec::with_capacity(self.launches.len());
        let mut last = Instant::now();
        self.each(store, |_, launch, _| {
            let now = Instant::now();
            timings.push(Timing {
                path: launch.path.clone(),
                phase: launch.phase,
                duration: now.duration_since(last),
                work: launch.work,
            });
            last = Instant::now();
            Ok(true)
        })?;
        Ok(Profile { timings })
    }

    /// Replays once; the time that the device takes for the launches from the first to the last of `phase`, or for all. `before`
    /// runs right before these and is not timed.
    ///
    /// # Errors
    /// As [`Plan::replay`], those of `before`, and a plan without such a launch.
    pub fn time(
        &self,
        store: &mut Store,
        phase: Option<Phase>,
        mut before: impl FnMut() -> Result<()>,
    ) -> Result<Duration> {
        let is_timed = |launch: &Launch| phase.is_none_or(|phase| launch.phase == phase);
        let (first, last) = (self.launches.iter().position(is_timed), self.launches.iter().rposition(is_timed));
        let launches = match (first, last) {
            (Some(first), Some(last)) => first..last + 1,
            _ => return Err(Error::new("plan", "there is no launch to time").with("phase", format!("{phase:?}"))),
        };
        if store.device().records() {
            self.begin(store)?;
            let mut slot = self.recorded(store)?;
            let time = slot.as_mut().map(|it| it.recording.time(launches.clone(), &mut before));
            drop(slot);
            if let Some(time) = time.transpose()?.flatten() {
                store.own_arena(self.id);
                return Ok(time);
            }
        }
        before()?;
        let profile = self.profile(store)?;
        Ok(profile.timings.get(launches).unwrap_or_default().iter().map(|timing| timing.duration).sum())
    }

    /// Runs launches until one of a forward or backward pass writes a value that is NaN or infinite, and gives its name.
    /// Updates before it are left out, so that the variables keep the values that led there.
    ///
    /// # Errors
    /// As [`Plan::replay`].
    pub fn first_nonfinite(&self, store: &mut Store) -> Result<Option<String>> {
        let mut found = None;
        self.each_kernel(
            store,
            |_, launch, _| !matches!(launch.kernel, Kernel::Update { .. }),
            |plan, launch, store| {
                let written = match &launch.kernel {
                    Kernel::Forward { output, .. } => vec![*output],
                    Kernel::Backward { d_inputs, .. } => d_inputs.iter().flatten().map(|grad| grad.buffer).collect(),
                    Kernel::Builtin { target, .. } => vec![*target],
                    Kernel::Update { .. } => Vec::new(),
                };
                for buffer in written {
                    if plan.buffers[buffer].spec.dtype.is_float()
                        && plan.read_buffer(store, buffer)?.to_f64().iter().any(|value| !value.is_finite())
                    {
                        found = Some(format!("{} ({:?})", launch.path, launch.phase));
                        return Ok(false);
                    }
                }
                Ok(true)
            },
        )?;
        Ok(found)
    }

    /// Copies a value that the plan keeps to the host. Valid until another plan of the store is replayed.
    ///
    /// # Errors
    /// The value was not named in [`crate::Tape::plan`], or another plan's values lie in the arena.
    pub fn read(&self, store: &Store, value: Value) -> Result<Tensor> {
        self.read_buffer(store, self.readable(store, value)?)
    }

    /// As [`Plan::read`], into elements at hand: without allocation.
    ///
    /// # Errors
    /// As [`Plan::read`], and where element type or count differ.
    pub fn read_values<T: Element>(&self, store: &Store, value: Value, values: &mut [T]) -> Result<()> {
        let buffer = self.readable(store, value)?;
        let spec = self.buffers[buffer].spec;
        if spec.dtype != T::DTYPE || spec.elements() != values.len() {
            return Err(Error::new("plan", "the slice does not fit the value")
                .with("value", spec)
                .with("slice", format!("{}[{}]", T::DTYPE, values.len())));
        }
        self.read_bytes(store, buffer, bytemuck::cast_slice_mut(values))
    }

    fn readable(&self, store: &Store, value: Value) -> Result<BufferId> {
        let kept = self.kept.iter().find(|&&(other, _)| other == value);
        let &(_, buffer) = kept.ok_or_else(|| {
            Error::new("plan", "the value is not kept by this plan").help("name it in Tape::plan(store, keep)")
        })?;
        self.check_store(store)?;
        if matches!(self.locations[buffer], Location::Arena(_)) && store.arena_owner() != self.id {
            return Err(Error::new("plan", "another plan has been replayed since, or this one never ran to its end")
                .help("read a plan's values before the next replay"));
        }
        Ok(buffer)
    }

    fn check_store(&self, store: &Store) -> Result<()> {
        if store.id() == self.store {
            return Ok(());
        }
        Err(Error::new("plan", "the plan was made for another store"))
    }

    fn read_buffer(&self, store: &Store, buffer: BufferId) -> Result<Tensor> {
        let mut tensor = Tensor::zeros(self.buffers[buffer].spec);
        self.read_bytes(store, buffer, tensor.bytes_mut())?;
        Ok(tensor)
    }

    fn read_bytes(&self, store: &Store, buffer: BufferId, bytes: &mut [u8]) -> Result<()> {
        match self.locations[buffer] {
            Location::Arena(offset) => store.device().memory().read(store.arena(), offset, bytes),
            Location::Store(group, offset) => store.read_bytes(group, offset, bytes),
        }
    }

    fn each(&self, store: &mut Store, after: impl FnMut(&Self, &Launch, &Store) -> Result<bool> + Send) -> Result<()> {
        self.each_kernel(store, |_, _, _| true, after)
    }

    fn each_kernel(
        &self,
        store: &mut Store,
        mut select: impl FnMut(&Self, &Launch, &Store) -> bool + Send,
        mut after: impl FnMut(&Self, &Launch, &Store) -> Result<bool> + Send,
    ) -> Result<()> {
        self.begin(store)?;
        let device = store.device().clone();
        device.run(move || {
            let mut runner = if store.device().records() {
                Runner::Recorded(self.recorded(store)?)
            } else {
                Runner::Direct(store.device().exec())
            };
            let device_waits = store.device().blocking();
            for (at, launch) in self.launches.iter().enumerate() {
                if self.checks {
                    self.poison(launch, store)?;
                }
                if select(self, launch, store) {
                    let outcome = match &mut runner {
                        Runner::Direct(exec) => self.run(launch, store, exec),
                        Runner::Recorded(slot) => slot.as_ref().map_or(Ok(()), |it| it.recording.submit(at..at + 1)),
                    };
                    outcome.map_err(|error| error.within(&launch.path))?;
                    if device_waits {
                        store.device().finish().map_err(|error| self.describe(error, launch))?;
                    }
                }
                if self.checks {
                    self.check_canaries(launch, store)?;
                }
                if !after(self, launch, store)? {
                    return Ok(());
                }
            }
            store.own_arena(self.id);
            Ok(())
        })
    }

    /// What went wrong while a launch ran, with its place and its tensors: the device's error knows neither.
    fn describe(&self, error: Error, launch: &Launch) -> Error {
        let tensors = |buffers: Vec<BufferId>| {
            let specs: Vec<String> = buffers.iter().map(|&buffer| self.buffers[buffer].spec.to_string()).collect();
            specs.join(", ")
        };
        let error = error.with("reads", tensors(launch.reads())).with("writes", tensors(launch.writes()));
        error.within(format!("{} ({:?})", launch.path, launch.phase))
    }

    fn begin(&self, store: &mut Store) -> Result<()> {
        self.check_store(store)?;
        // No value is whole before the last launch has run.
        store.own_arena(0);
        Ok(())
    }

    fn place(&self, store: &Store, buffer: BufferId) -> Result<Place> {
        let bytes = self.buffers[buffer].spec.bytes();
        match self.locations[buffer] {
            Location::Arena(offset) => store.arena().place(offset, bytes),
            Location::Store(group, offset) => store.place(group, offset, bytes),
        }
    }

    fn buf<'s>(&self, store: &'s Store, buffer: BufferId) -> Result<Buf<'s>> {
        Ok(Buf::new(self.buffers[buffer].spec, Some(self.place(store, buffer)?)))
    }

    // A launch holds `&mut Store` (see `each_kernel`), and `check_disjoint` made sure that what it writes overlaps nothing.
    fn buf_mut<'s>(&self, store: &'s Store, buffer: BufferId) -> Result<BufMut<'s>> {
        Ok(BufMut::new(self.buffers[buffer].spec, self.place(store, buffer)?))
    }

    fn run(&self, launch: &Launch, store: &Store, exec: &mut Exec) -> Result<()> {
        match &launch.kernel {
            Kernel::Forward { op, inputs, output, extras, scratch } => {
                let inputs_at = self.bufs(store, inputs)?;
                let mut extras_at = self.bufs_mut(store, extras, *scratch)?;
                op.forward(
                    exec,
                    Forward {
                        inputs: head(&inputs_at, inputs.len()),
                        output: self.buf_mut(store, *output)?,
                        extras: head_mut(&mut extras_at, extras.len()),
                        scratch: self.buf_mut(store, *scratch)?,
                    },
                )
            }
            Kernel::Backward { .. } => self.run_backward(launch, store, exec),
            Kernel::Update { update, state, inputs, scratch } => {
                let inputs_at = self.bufs(store, inputs)?;
                let mut state_at = self.bufs_mut(store, state, *scratch)?;
                update.run(
                    exec,
                    UpdateIo {
                        state: head_mut(&mut state_at, state.len()),
                        inputs: head(&inputs_at, inputs.len()),
                        scratch: self.buf_mut(store, *scratch)?,
                    },
                )
            }
            Kernel::Builtin { what, target, source } => {
                let source = source.map(|source| self.buf(store, source)).transpose()?;
                exec.builtin(*what, self.buf_mut(store, *target)?, source)
            }
        }
    }

    fn run_backward(&self, launch: &Launch, store: &Store, exec: &mut Exec) -> Result<()> {
        let Kernel::Backward { op, inputs, output, extras, d_output, d_inputs, scratch } = &launch.kernel else {
            return Ok(());
        };
        let kept = |&(spec, buffer): &(Spec, Option<BufferId>)| -> Result<Buf> {
            Ok(Buf::new(spec, buffer.map(|buffer| self.place(store, buffer)).transpose()?))
        };
        let mut inputs_at = [kept(output)?; MAX_INPUTS];
        for (slot, input) in inputs_at.iter_mut().zip(inputs) {
            *slot = kept(input)?;
        }
        let mut grads_at = [const { None::<Grad> }; MAX_INPUTS];
        for (slot, grad) in grads_at.iter_mut().zip(d_inputs) {
            if let Some(GradAt { mode, buffer, times }) = *grad {
                let times = times.map(|times| self.buf(store, times)).transpose()?;
                *slot = Some(Grad { mode, buf: self.buf_mut(store, buffer)?, times });
            }
        }
        let extras_at = self.bufs(store, extras)?;
        op.backward(
            exec,
            Backward {
                inputs: head(&inputs_at, inputs.len()),
                output: kept(output)?,
                extras: head(&extras_at, extras.len()),
                d_output: self.buf(store, *d_output)?,
                d_inputs: head_mut(&mut grads_at, d_inputs.len()),
                scratch: self.buf_mut(store, *scratch)?,
            },
        )
    }

    fn bufs<'s>(&self, store: &'s Store, buffers: &[BufferId]) -> Result<[Buf<'s>; MAX_INPUTS]> {
        let mut at = [Buf::new(Spec::new(crate::DType::U8, &[])?, None); MAX_INPUTS];
        for (slot, &buffer) in at.iter_mut().zip(buffers) {
            *slot = self.buf(store, buffer)?;
        }
        Ok(at)
    }

    /// The buffers, then placeholders (never handed out) made of `filler`.
    fn bufs_mut<'s>(
        &self,
        store: &'s Store,
        buffers: &[BufferId],
        filler: BufferId,
    ) -> Result<[BufMut<'s>; MAX_INPUTS]> {
        let place = self.place(store, filler)?;
        let spec = self.buffers[filler].spec;
        let mut at = std::array::from_fn(|_| BufMut::new(spec, place));
        for (slot, &buffer) in at.iter_mut().zip(buffers) {
            *slot = self.buf_mut(store, buffer)?;
        }
        Ok(at)
    }

    fn poison(&self, launch: &Launch, store: &mut Store) -> Result<()> {
        let device = store.device().clone();
        for &buffer in &launch.born {
            if let Location::Arena(offset) = self.locations[buffer] {
                let end = offset + self.buffers[buffer].spec.bytes();
                device.memory().fill(store.arena_mut(), offset..end, POISON)?;
                device.memory().fill(store.arena_mut(), end..end + GUARD, CANARY)?;
            }
        }
        Ok(())
    }

    fn check_canaries(&self, launch: &Launch, store: &Store) -> Result<()> {
        for &buffer in &launch.dying {
            if let Location::Arena(offset) = self.locations[buffer] {
                let mut guard = [0; GUARD];
                let end = offset + self.buffers[buffer].spec.bytes();
                store.device().memory().read(store.arena(), end, &mut guard)?;
                if guard.iter().any(|&byte| byte != CANARY) {
                    return Err(Error::new(&launch.path, "a kernel wrote beyond a buffer (found when its life ended)")
                        .with("buffer", self.buffers[buffer].spec)
                        .help("look at the launches that write it: run `vitrum plan`"));
                }
            }
        }
        Ok(())
    }
}

fn head<T>(slots: &[T; MAX_INPUTS], count: usize) -> &[T] {
    slots.get(..count).unwrap_or(slots)
}

fn head_mut<T>(slots: &mut [T; MAX_INPUTS], count: usize) -> &mut [T] {
    slots.split_at_mut(count.min(MAX_INPUTS)).0
}
