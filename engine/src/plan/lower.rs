//! From a tape to launches.

use std::collections::HashMap;
use std::sync::Arc;

use super::needs::{Needs, contributions};
use super::{Buffer, BufferId, GradAt, Home, Kept, Kernel, Launch, Phase};
use crate::device::Builtin;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::{Inputs, Keeps, Mode, Op, Work};
use crate::shape::{Shape, Spec};
use crate::store::{Store, Var};
use crate::tape::{FlatTarget, Kind, Pass, Step, Tape, Value};

pub(super) struct Program {
    pub launches: Vec<Launch>,
    pub buffers: Vec<Buffer>,
    pub kept: Vec<(Value, BufferId)>,
    pub gradient_bytes: usize,
}

pub(super) fn lower(tape: &Tape, store: &Store, keep: &[Value]) -> Result<Program> {
    let needs = Needs::of(tape, keep)?;
    let mut lowering = Lowering {
        tape,
        store,
        needs,
        launches: Vec::new(),
        buffers: Vec::new(),
        values: HashMap::new(),
        extras: HashMap::new(),
        forwards: HashMap::new(),
        updated: Vec::new(),
        gradient_bytes: 0,
    };
    lowering.steps()?;
    let kept = keep.iter().map(|&value| Ok((value, lowering.value(value)?))).collect::<Result<_>>()?;
    let Lowering { launches, buffers, gradient_bytes, .. } = lowering;
    Ok(Program { launches, buffers, kept, gradient_bytes })
}

struct Lowering<'t> {
    tape: &'t Tape,
    store: &'t Store,
    needs: Needs,
    launches: Vec<Launch>,
    buffers: Vec<Buffer>,
    values: HashMap<Value, BufferId>,
    /// Extras of an op's forward launch, where a backward pass follows.
    extras: HashMap<Value, Vec<BufferId>>,
    /// Number of each op's forward launch.
    forwards: HashMap<Value, usize>,
    /// Variables that updates have written so far, and the number of the launch.
    updated: Vec<(Var, usize)>,
    gradient_bytes: usize,
}

/// The state of one backward pass.
#[derive(Default)]
struct Sweep {
    gradients: HashMap<Value, BufferId>,
    /// Where the gradient of a variable must lie: a window of its group's flat gradient.
    homes: HashMap<Value, BufferId>,
    /// Values that still need a buffer unchanged: their own backward launch, or the reader of the result.
    holders: HashMap<BufferId, Vec<Value>>,
    /// Results, which nobody may change once they are complete, and the seed.
    fixed: Vec<Value>,
    /// Contributions to the gradient of each value, by its node.
    contributions: Vec<usize>,
    /// Values whose gradient is multiplied by their op's slope already.
    multiplied: Vec<Value>,
}

impl Lowering<'_> {
    fn steps(&mut self) -> Result<()> {
        let tape = self.tape;
        for step in &tape.steps {
            match step {
                Step::Op(value) if self.needs.values[value.at] => self.forward(*value)?,
                Step::Backward(index) if self.needs.passes[*index] => self.backward(*index)?,
                Step::Op(_) | Step::Backward(_) => {}
                Step::Update { update, state, inputs, path } => {
                    let states: Vec<Spec> = state.iter().map(|&var| self.store.spec(var)).collect::<Result<_>>()?;
                    let specs: Vec<Spec> = inputs.iter().map(|&input| tape.spec(input)).collect::<Result<_>>()?;
                    let scratch = update.scratch(&states, &specs, self.store.device().target());
                    let work = update.cost(&states, &specs);
                    let state_buffers = state.iter().map(|&var| self.variable(var)).collect::<Result<_>>()?;
                    let inputs = inputs.iter().map(|&input| self.value(input)).collect::<Result<_>>()?;
                    let scratch = self.scratch(scratch)?;
                    let kernel = Kernel::Update { update: Arc::clone(update), state: state_buffers, inputs, scratch };
                    self.launch(path.clone(), Phase::Update, kernel, work);
                    let at = self.launches.len();
                    self.updated.extend(state.iter().map(|&var| (var, at)));
                }
            }
        }
        Ok(())
    }

    fn forward(&mut self, value: Value) -> Result<()> {
        let node = self.tape.node(value)?;
        let Kind::Op { op, inputs } = &node.kind else { return Ok(()) };
        let specs = self.specs(inputs)?;
        let union = self.needs.union[value.at];
        let buffers = inputs.iter().map(|&input| self.value(input)).collect::<Result<_>>()?;
        let output = self.buffer(node.spec, Home::Arena);
        let mut extras = Vec::new();
        if !union.is_empty() {
            for spec in op.keeps(&specs, union)?.extras {
                extras.push(self.buffer(spec, Home::Arena));
            }
        }
        let scratch = self.scratch(op.scratch(&specs, union, self.store.device().target()).forward)?;
        let work = op.cost(&specs, union).forward;
        self.values.insert(value, output);
        self.extras.insert(value, extras.clone());
        self.forwards.insert(value, self.launches.len());
        let kernel = Kernel::Forward { op: Arc::clone(op), inputs: buffers, output, extras, scratch };
        self.launch(node.path.clone(), Phase::Forward, kernel, work);
        Ok(())
    }

    fn backward(&mut self, index: usize) -> Result<()> {
        let tape = self.tape;
        let pass = &tape.passes[index];
        let mut sweep = self.begin(pass)?;
        sweep.contributions = contributions(tape, &self.needs.wanted[index]);
        for at in (0..=pass.output.at).rev() {
            let value = tape.value(at);
            let wanted = self.needs.wanted[index][at];
            let (false, Some(&d_output)) = (wanted.is_empty(), sweep.gradients.get(&value)) else { continue };
            let Kind::Op { op, inputs } = &tape.nodes[at].kind else { continue };
            self.backward_of(&mut sweep, value, op, inputs, wanted, d_output)?;
            if !sweep.fixed.contains(&value)
                && let Some(holders) = sweep.holders.get_mut(&d_output)
            {
                holders.retain(|&holder| holder != value);
            }
        }
        for &(target, gradient) in &pass.targets {
            if let Some(&buffer) = sweep.gradients.get(&target) {
                self.values.insert(gradient, buffer);
            }
        }
        Ok(())
    }

    /// Seeds the pass and lays out the flat gradients of its groups.
    fn begin(&mut self, pass: &Pass) -> Result<Sweep> {
        let mut sweep = Sweep::default();
        for FlatTarget { group, gradient, leaves } in &pass.groups {
            if !self.needs.values[gradient.at] {
                continue;
            }
            let (layout, flat_spec) = self.store.layout(*group)?;
            let flat = self.buffer(flat_spec, Home::Arena);
            self.gradient_bytes += flat_spec.bytes();
            self.values.insert(*gradient, flat);
            for (entry, (&leaf, &(offset, spec))) in leaves.iter().zip(&layout).enumerate() {
                let window = self.buffer(spec, Home::Window(flat, offset));
                sweep.homes.insert(leaf, window);
                let end = layout.get(entry + 1).map_or(flat_spec.bytes(), |&(next, _)| next);
                self.zero_gap(flat, spec.dtype, offset + spec.bytes(), end)?;
            }
        }
        sweep.fixed.extend(pass.targets.iter().map(|&(target, _)| target));
        let seed = match pass.seed {
            Some(seed) => {
                // The seed is somebody's value: the output's gradient may be read there but not added to.
                sweep.fixed.push(pass.output);
                let buffer = self.value(seed)?;
                if self.is_variable(buffer) && pass.targets.iter().any(|&(target, _)| target == pass.output) {
                    let own = self.buffer(self.tape.spec(pass.output)?, Home::Arena);
                    self.builtin(&self.tape.node(pass.output)?.path.clone(), Builtin::Copy, own, Some(buffer));
                    own
                } else {
                    buffer
                }
            }
            None => {
                let spec = self.tape.spec(pass.output)?;
                let ones = self.buffer(spec, Home::Arena);
                self.builtin(&self.tape.node(pass.output)?.path.clone(), Builtin::Ones, ones, None);
                ones
            }
        };
        sweep.gradients.insert(pass.output, seed);
        sweep.holders.insert(seed, vec![pass.output]);
        Ok(sweep)
    }

    fn zero_gap(&mut self, flat: BufferId, dtype: DType, start: usize, end: usize) -> Result<()> {
        if start < end {
            let shape = Shape::new(&[(end - start) / dtype.size()])?;
            let gap = self.buffer(Spec { shape, dtype }, Home::Window(flat, start));
            self.builtin("alignment gap", Builtin::Zeros, gap, None);
        }
        Ok(())
    }

    fn backward_of(
        &mut self,
        sweep: &mut Sweep,
        value: Value,
        op: &Arc<dyn Op>,
        inputs: &[Value],
        wanted: Inputs,
        d_output: BufferId,
    ) -> Result<()> {
        let tape = self.tape;
        let path = &tape.nodes[value.at].path;
        let specs = self.specs(inputs)?;
        let keeps = op.keeps(&specs, self.needs.union[value.at])?;
        let mut d_inputs: Vec<Option<GradAt>> = vec![None; inputs.len()];
        let mut repeats = Vec::new();
        for (position, &input) in inputs.iter().enumerate() {
            if !wanted.has(position) || keeps.passes.has(position) {
                continue;
            }
            let (mode, buffer) = self.contribution(sweep, input, path)?;
            d_inputs[position] = if d_inputs.iter().flatten().any(|other| other.buffer == buffer) {
                // An input that appears twice: its second gradient is computed apart and added.
                let apart = self.buffer(specs[position], Home::Arena);
                repeats.push((apart, buffer));
                Some(GradAt { mode: Mode::Write, buffer: apart, times: None })
            } else {
                let times = if keeps.multiplies.has(position) { self.factor(sweep, input)? } else { None };
                Some(GradAt { mode, buffer, times })
            };
        }
        if d_inputs.iter().any(Option::is_some) {
            let launched = (0..inputs.len()).fold(Inputs::NONE, |set, at| set.and_if(d_inputs[at].is_some(), at));
            let scratch = self.scratch(op.scratch(&specs, launched, self.store.device().target()).backward)?;
            let work = op.cost(&specs, launched).backward;
            let mut extras = self.extras.get(&value).cloned().unwrap_or_default();
            let mut d_output = d_output;
            if keeps.slope && !extras.is_empty() {
                let slope = extras.remove(0);
                d_output = self.multiplied(sweep, value, d_output, slope)?;
            }
            let kernel = Kernel::Backward {
                op: Arc::clone(op),
                inputs: self.kept_inputs(&keeps, value, inputs, &specs)?,
                output: (tape.nodes[value.at].spec, if keeps.output { Some(self.value(value)?) } else { None }),
                extras,
                d_output,
                d_inputs,
                scratch,
            };
            self.launch(path.clone(), Phase::Backward, kernel, work);
        }
        for (apart, buffer) in repeats {
            self.builtin(path, Builtin::Add, buffer, Some(apart));
        }
        // After the launch: what it writes first, an input that also passes the gradient on adds to.
        for (position, &input) in inputs.iter().enumerate() {
            if wanted.has(position) && keeps.passes.has(position) {
                self.pass_on(sweep, input, d_output, path)?;
            }
        }
        Ok(())
    }

    /// The slope that the gradient of `input` is multiplied by on its way to memory: where its op wants that, and this is all
    /// of the gradient.
    fn factor(&mut self, sweep: &mut Sweep, input: Value) -> Result<Option<BufferId>> {
        let Kind::Op { op, inputs } = &self.tape.node(input)?.kind else { return Ok(None) };
        if sweep.contributions.get(input.at) != Some(&1) || sweep.fixed.contains(&input) {
            return Ok(None);
        }
        if !op.keeps(&self.specs(inputs)?, self.needs.union[input.at])?.slope {
            return Ok(None);
        }
        let slope = self.extras.get(&input).and_then(|extras| extras.first()).copied();
        sweep.multiplied.extend(slope.map(|_| input));
        Ok(slope)
    }

    /// The gradient of `value` times its slope: by a launch of its own where nobody multiplied yet, in place where nobody else
    /// reads it.
    fn multiplied(&mut self, sweep: &Sweep, value: Value, gradient: BufferId, slope: BufferId) -> Result<BufferId> {
        if sweep.multiplied.contains(&value) {
            return Ok(gradient);
        }
        let path = self.tape.node(value)?.path.clone();
        let held = |holders: &Vec<Value>| holders.iter().any(|&holder| holder != value);
        let shared = sweep.fixed.contains(&value) || sweep.holders.get(&gradient).is_some_and(held);
        let mut target = gradient;
        if shared || self.is_variable(gradient) {
            target = self.buffer(self.tape.spec(value)?, Home::Arena);
            self.builtin(&path, Builtin::Copy, target, Some(gradient));
        }
        self.builtin(&path, Builtin::Multiply, target, Some(slope));
        Ok(target)
    }

    fn kept_inputs(&mut self, keeps: &Keeps, op: Value, inputs: &[Value], specs: &[Spec]) -> Result<Vec<Kept>> {
        let path = &self.tape.nodes[op.at].path;
        let forward = self.forwards.get(&op).copied().unwrap_or(0);
        let mut kept = Vec::new();
        for (position, (&input, &spec)) in inputs.iter().zip(specs).enumerate() {
            let buffer = if keeps.inputs.has(position) {
                if let Kind::Var(var) = self.tape.node(input)?.kind
                    && self.updated.iter().any(|&(other, at)| at > forward && other.overlaps(var))
                {
                    return Err(Error::new(path, "the backward pass would read a variable after an update changed it")
                        .with("variable", self.store.name(var))
                        .help("record the update after the gradients"));
                }
                Some(self.value(input)?)
            } else {
                None
            };
            kept.push((spec, buffer));
        }
        Ok(kept)
    }

    /// The gradient of `input` is `d_output` itself: share the buffer where that is safe, else copy or add.
    fn pass_on(&mut self, sweep: &mut Sweep, input: Value, d_output: BufferId, path: &str) -> Result<()> {
        let first = !sweep.gradients.contains_key(&input) && !sweep.homes.contains_key(&input);
        if first && !self.is_variable(d_output) {
            sweep.gradients.insert(input, d_output);
            sweep.holders.entry(d_output).or_default().push(input);
            return Ok(());
        }
        let (mode, buffer) = self.contribution(sweep, input, path)?;
        let what = match mode {
            Mode::Write => Builtin::Copy,
            Mode::Add => Builtin::Add,
        };
        self.builtin(path, what, buffer, Some(d_output));
        Ok(())
    }

    /// Where the next contribution to the gradient of `input` goes, and how.
    fn contribution(&mut self, sweep: &mut Sweep, input: Value, path: &str) -> Result<(Mode, BufferId)> {
        let Some(&buffer) = sweep.gradients.get(&input) else {
            let buffer = match sweep.homes.get(&input) {
                Some(&home) => home,
                None => self.buffer(self.tape.spec(input)?, Home::Arena),
            };
            sweep.gradients.insert(input, buffer);
            sweep.holders.entry(buffer).or_default().push(input);
            return Ok((Mode::Write, buffer));
        };
        let holders = sweep.holders.entry(buffer).or_default();
        if holders.iter().all(|&holder| holder == input) {
            return Ok((Mode::Add, buffer));
        }
        // Somebody else still reads the shared buffer: part ways.
        holders.retain(|&holder| holder != input);
        let own = self.buffer(self.tape.spec(input)?, Home::Arena);
        self.builtin(path, Builtin::Copy, own, Some(buffer));
        sweep.gradients.insert(input, own);
        sweep.holders.insert(own, vec![input]);
        Ok((Mode::Add, own))
    }

    fn value(&mut self, value: Value) -> Result<BufferId> {
        if let Some(&buffer) = self.values.get(&value) {
            return Ok(buffer);
        }
        let node = self.tape.node(value)?;
        let Kind::Var(var) = node.kind else {
            return Err(Error::new(&node.path, "the value is read before it is computed")
                .help("this is a defect of the engine: please report it"));
        };
        let buffer = self.variable(var)?;
        self.values.insert(value, buffer);
        Ok(buffer)
    }

    /// Whether a buffer lies in a variable, which a later update may change: a gradient must not.
    fn is_variable(&self, buffer: BufferId) -> bool {
        matches!(self.buffers[buffer].home, Home::Store(..))
    }

    fn variable(&mut self, var: Var) -> Result<BufferId> {
        let (offset, spec) = self.store.locate(var)?;
        Ok(self.buffer(spec, Home::Store(var.group(), offset)))
    }

    fn scratch(&mut self, bytes: usize) -> Result<BufferId> {
        let spec = Spec::new(DType::U8, &[bytes])?;
        Ok(self.buffer(spec, Home::Arena))
    }

    fn specs(&self, inputs: &[Value]) -> Result<Vec<Spec>> {
        inputs.iter().map(|&input| self.tape.spec(input)).collect()
    }

    fn buffer(&mut self, spec: Spec, home: Home) -> BufferId {
        self.buffers.push(Buffer { spec, home });
        self.buffers.len() - 1
    }

    fn builtin(&mut self, path: &str, what: Builtin, target: BufferId, source: Option<BufferId>) {
        let bytes = self.buffers[target].spec.bytes();
        let (streams, flops) = match what {
            Builtin::Ones | Builtin::Zeros => (1, 0),
            Builtin::Copy => (2, 0),
            Builtin::Add | Builtin::Multiply => (3, self.buffers[target].spec.elements()),
        };
        let work = Work::new(flops, streams * bytes);
        self.launch(path.to_owned(), Phase::Backward, Kernel::Builtin { what, target, source }, work);
    }

    fn launch(&mut self, path: String, phase: Phase, kernel: Kernel, work: Work) {
        self.launches.push(Launch { path, phase, kernel, work, born: Vec::new(), dying: Vec::new() });
    }
}
