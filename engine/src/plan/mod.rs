//! Plans: a tape, decided. What runs in which order, where each value lies, and what it costs.
//!
//! | file | what |
//! |---|---|
//! | `needs.rs` | which values, passes and gradients a program needs |
//! | `lower.rs` | tape to launches: which gradients are needed, first and later contributions, shared buffers |
//! | `run.rs` | replay, reading results, timing, the search for the first value that is not finite |
//! | `listing.rs` | the listing that a performance engineer reads |

mod listing;
mod lower;
mod needs;
mod run;

use std::sync::{Arc, Mutex};

use crate::device::{Builtin, Limits, arena};
use crate::error::{Error, Result};
use crate::op::{Mode, Op, Update, Work};
use crate::shape::Spec;
use crate::store::{Group, Role, Store};
use crate::tape::{Tape, Value};

/// Index of a buffer in its plan.
pub(crate) type BufferId = usize;

/// What a launch belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Forward pass of an op.
    Forward,
    /// Backward pass of an op.
    Backward,
    /// In-place change of variables.
    Update,
}

/// A gradient that a backward launch writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GradAt {
    pub mode: Mode,
    pub buffer: BufferId,
    /// What it is multiplied by.
    pub times: Option<BufferId>,
}

/// An input of a backward launch: its spec, and its buffer where the op keeps it.
pub(crate) type Kept = (Spec, Option<BufferId>);

pub(crate) enum Kernel {
    Forward {
        op: Arc<dyn Op>,
        inputs: Vec<BufferId>,
        output: BufferId,
        extras: Vec<BufferId>,
        scratch: BufferId,
    },
    Backward {
        op: Arc<dyn Op>,
        inputs: Vec<Kept>,
        output: Kept,
        extras: Vec<BufferId>,
        d_output: BufferId,
        d_inputs: Vec<Option<GradAt>>,
        scratch: BufferId,
    },
    Update {
        update: Arc<dyn Update>,
        state: Vec<BufferId>,
        inputs: Vec<BufferId>,
        scratch: BufferId,
    },
    Builtin {
        what: Builtin,
        target: BufferId,
        source: Option<BufferId>,
    },
}

pub(crate) struct Launch {
    pub path: String,
    pub phase: Phase,
    pub kernel: Kernel,
    pub work: Work,
    /// Arena buffers whose life begins or ends here, for canaries and poison.
    pub born: Vec<BufferId>,
    pub dying: Vec<BufferId>,
}

impl Launch {
    fn reads(&self) -> Vec<BufferId> {
        match &self.kernel {
            Kernel::Forward { inputs, .. } => inputs.clone(),
            Kernel::Backward { inputs, output, extras, d_output, d_inputs, .. } => {
                let kept = inputs.iter().chain([output]).filter_map(|(_, buffer)| *buffer);
                let factors = d_inputs.iter().flatten().filter_map(|grad| grad.times);
                kept.chain(extras.iter().copied()).chain([*d_output]).chain(factors).collect()
            }
            Kernel::Update { inputs, .. } => inputs.clone(),
            Kernel::Builtin { source, .. } => source.iter().copied().collect(),
        }
    }

    fn writes(&self) -> Vec<BufferId> {
        match &self.kernel {
            Kernel::Forward { output, extras, scratch, .. } => {
                [*output].into_iter().chain(extras.iter().copied()).chain([*scratch]).collect()
            }
            Kernel::Backward { d_inputs, scratch, .. } => {
                d_inputs.iter().flatten().map(|grad| grad.buffer).chain([*scratch]).collect()
            }
            Kernel::Update { state, scratch, .. } => state.iter().copied().chain([*scratch]).collect(),
            Kernel::Builtin { target, .. } => vec![*target],
        }
    }
}

/// Where a buffer comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Home {
    /// Placed by the planner.
    Arena,
    /// A variable: group and byte offset.
    Store(Group, usize),
    /// A part of another buffer, at a byte offset.
    Window(BufferId, usize),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffer {
    pub spec: Spec,
    pub home: Home,
}

/// Where a buffer lies, decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Location {
    Arena(usize),
    Store(Group, usize),
}

/// Bytes that a plan and its store occupy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemoryReport {
    /// Weights.
    pub parameters: usize,
    /// Optimizer state.
    pub optimizer: usize,
    /// Inputs, perturbations, counters.
    pub data: usize,
    /// Flat gradients of parameter groups (part of the arena).
    pub gradients: usize,
    /// The arena: activations, gradients, scratch.
    pub arena: usize,
    /// Live bytes in the arena at the fullest launch: what a perfect layout would need.
    pub live_peak: usize,
}

impl MemoryReport {
    /// Everything on the device.
    pub fn total(&self) -> usize {
        self.parameters + self.optimizer + self.data + self.arena
    }
}

/// A decided program: replayed any number of times without allocation or look-up.
pub struct Plan {
    id: u64,
    store: u32,
    launches: Vec<Launch>,
    buffers: Vec<Buffer>,
    locations: Vec<Location>,
    kept: Vec<(Value, BufferId)>,
    layout: arena::Layout,
    memory: MemoryReport,
    checks: bool,
    /// The launches as the device replays them, where it records them.
    recorded: Mutex<Option<run::Recorded>>,
}

/// Bytes of canary behind every arena buffer where checks are on.
pub(crate) const GUARD: usize = 64;

impl Plan {
    pub(crate) fn new(tape: &Tape, store: &mut Store, keep: &[Value], checks: bool) -> Result<Self> {
        let lower::Program { mut launches, buffers, kept, gradient_bytes } = lower::lower(tape, store, keep)?;
        let ends = lifetimes(&launches, &buffers, &kept);
        let guard = if checks { GUARD } else { 0 };
        let (mut ids, mut lives) = (Vec::new(), Vec::new());
        for (id, end) in ends.iter().enumerate() {
            if let (Home::Arena, Some((first, last))) = (buffers[id].home, *end) {
                ids.push(id);
                lives.push(arena::Lifetime { bytes: buffers[id].spec.bytes() + guard, first, last });
            }
        }
        let layout = arena::place(&lives, store.device().alignment())?;
        let mut offsets = vec![0; buffers.len()];
        for (at, &id) in ids.iter().enumerate() {
            offsets[id] = layout.offsets[at];
            launches[lives[at].first].born.push(id);
            // What is kept outlives the last launch; its canary is looked at there.
            let last = lives[at].last.min(launches.len() - 1);
            launches[last].dying.push(id);
        }
        let locations: Vec<Location> = (0..buffers.len()).map(|id| locate(&buffers, &offsets, id)).collect();
        let memory = MemoryReport {
            parameters: store.bytes(Role::Parameter),
            optimizer: store.bytes(Role::Optimizer),
            data: store.bytes(Role::Data),
            gradients: gradient_bytes,
            arena: layout.bytes,
            live_peak: layout.live_peak,
        };
        check_fits(&launches, &layout, &memory, store)?;
        let recorded = Mutex::default();
        let mut plan =
            Self { id: 0, store: store.id(), launches, buffers, locations, kept, layout, memory, checks, recorded };
        plan.check_disjoint()?;
        plan.rehearse(store)?;
        plan.id = store.register_plan(plan.layout.bytes)?;
        plan.record(store)?;
        Ok(plan)
    }

    /// No buffer that a launch writes may overlap another buffer of the launch: kernels rely on it.
    fn check_disjoint(&self) -> Result<()> {
        let range = |id: BufferId| {
            let bytes = self.buffers[id].spec.bytes();
            match self.locations[id] {
                Location::Arena(offset) => (None, offset, offset + bytes),
                Location::Store(group, offset) => (Some(group), offset, offset + bytes),
            }
        };
        for launch in &self.launches {
            let (writes, reads) = (launch.writes(), launch.reads());
            for (index, &write) in writes.iter().enumerate() {
                let (place, start, end) = range(write);
                for &other in writes.iter().skip(index + 1).chain(&reads) {
                    let (other_place, other_start, other_end) = range(other);
                    if place == other_place && start < other_end && other_start < end {
                        return Err(Error::new(&launch.path, "the planner made two buffers of a launch overlap")
                            .with("written", self.buffers[write].spec)
                            .with("other", self.buffers[other].spec)
                            .help("this is a defect of the engine: please report it"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Work of one replay: FLOPs and bytes of all launches.
    pub fn work(&self) -> Work {
        self.works(None).sum()
    }

    /// Work of each launch of `phase`, or of every launch.
    pub fn works(&self, phase: Option<Phase>) -> impl Iterator<Item = Work> {
        let wanted = move |launch: &&Launch| phase.is_none_or(|phase| launch.phase == phase);
        self.launches.iter().filter(wanted).map(|launch| launch.work)
    }

    /// Memory of the plan and its store.
    pub fn memory(&self) -> MemoryReport {
        self.memory
    }

    /// Paths and phases of the launches, in order.
    pub fn launches(&self) -> impl Iterator<Item = (&str, Phase)> {
        self.launches.iter().map(|launch| (launch.path.as_str(), launch.phase))
    }
}

/// Refuses a plan whose arena the device can't allocate, before it tries.
fn check_fits(launches: &[Launch], layout: &arena::Layout, memory: &MemoryReport, store: &Store) -> Result<()> {
    let Limits { slab, free } = store.device().limits();
    // A larger arena takes the present one's place.
    let limit = slab.min(free.saturating_add(store.arena().bytes()));
    if layout.bytes <= limit {
        return Ok(());
    }
    let peak = launches.get(layout.peak_launch).map_or("?", |launch| launch.path.as_str());
    Err(Error::new("plan", "the plan needs more memory in one piece than the device has")
        .with("arena", format!("{} bytes", layout.bytes))
        .with("limit", format!("{limit} bytes"))
        .with("peak set by", format!("launch {}: {peak}", layout.peak_launch))
        .with("with variables", format!("{} bytes", memory.total()))
        .help("take a smaller batch; `vitrum plan` finds the largest that fits")
        .too_large())
}

/// First and last launch of each buffer; `None` where nothing touches it.
fn lifetimes(launches: &[Launch], buffers: &[Buffer], kept: &[(Value, BufferId)]) -> Vec<Option<(usize, usize)>> {
    let mut ends: Vec<Option<(usize, usize)>> = vec![None; buffers.len()];
    let root = |mut id: BufferId| {
        while let Home::Window(parent, _) = buffers[id].home {
            id = parent;
        }
        id
    };
    for (at, launch) in launches.iter().enumerate() {
        for id in launch.reads().into_iter().chain(launch.writes()) {
            let end = &mut ends[root(id)];
            *end = Some(end.map_or((at, at), |(first, _)| (first, at)));
        }
    }
    for &(_, id) in kept {
        if let Some((_, last)) = &mut ends[root(id)] {
            *last = launches.len();
        }
    }
    ends
}

fn locate(buffers: &[Buffer], offsets: &[usize], id: BufferId) -> Location {
    match buffers[id].home {
        Home::Arena => Location::Arena(offsets[id]),
        Home::Store(group, offset) => Location::Store(group, offset),
        Home::Window(parent, offset) => match locate(buffers, offsets, parent) {
            Location::Arena(start) => Location::Arena(start + offset),
            Location::Store(group, start) => Location::Store(group, start + offset),
        },
    }
}
