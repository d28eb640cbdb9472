//! Recording: which ops run on which values, and which gradients and updates follow.
//!
//! Nothing is computed here. Shapes are checked as ops are recorded; [`Tape::plan`] decides the rest once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, Result};
use crate::op::{MAX_INPUTS, Op, Update};
use crate::plan::Plan;
use crate::shape::Spec;
use crate::store::{Group, Store, Var};

/// A value on a tape. It knows its tape: using it with another one is an error.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Value {
    tape: u32,
    pub(crate) at: usize,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub kind: Kind,
    pub spec: Spec,
    pub path: String,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Var(Var),
    Op { op: Arc<dyn Op>, inputs: Vec<Value> },
    Gradient,
}

/// One entry of the program, in order.
#[derive(Debug)]
pub(crate) enum Step {
    Op(Value),
    Backward(usize),
    Update { update: Arc<dyn Update>, state: Vec<Var>, inputs: Vec<Value>, path: String },
}

/// A backward pass: from an output to some values.
#[derive(Debug)]
pub(crate) struct Pass {
    pub output: Value,
    /// Gradient of the output; ones for `None`.
    pub seed: Option<Value>,
    /// (value, its gradient).
    pub targets: Vec<(Value, Value)>,
    /// Flat gradients of groups.
    pub groups: Vec<FlatTarget>,
}

/// The flat gradient of a group of variables.
#[derive(Debug)]
pub(crate) struct FlatTarget {
    pub group: Group,
    pub gradient: Value,
    /// Value of each of the group's variables, in order.
    pub leaves: Vec<Value>,
}

/// A recorded step: ops, backward passes, updates.
#[derive(Debug)]
pub struct Tape {
    id: u32,
    pub(crate) nodes: Vec<Node>,
    pub(crate) steps: Vec<Step>,
    pub(crate) passes: Vec<Pass>,
    scope: Vec<String>,
}

/// Gradients of one backward pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gradients {
    /// One per value asked for, of that value's spec.
    pub values: Vec<Value>,
    /// One per group asked for: flat, with the group's layout, gaps zero.
    pub groups: Vec<Value>,
}

impl Default for Tape {
    fn default() -> Self {
        static TAPES: AtomicU32 = AtomicU32::new(0);
        let id = TAPES.fetch_add(1, Ordering::Relaxed);
        Self { id, nodes: Vec::new(), steps: Vec::new(), passes: Vec::new(), scope: Vec::new() }
    }
}

impl Tape {
    /// An empty tape.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records under a name: launches inside are listed as `name.…`, and errors carry it.
    ///
    /// # Errors
    /// Those of `record`.
    pub fn scope<R>(&mut self, name: impl Into<String>, record: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        self.scope.push(name.into());
        let result = record(self);
        self.scope.pop();
        result
    }

    /// Spec of a value.
    ///
    /// # Errors
    /// The value belongs to another tape.
    pub fn spec(&self, value: Value) -> Result<Spec> {
        self.node(value).map(|node| node.spec)
    }

    pub(crate) fn node(&self, value: Value) -> Result<&Node> {
        let node = if value.tape == self.id { self.nodes.get(value.at) } else { None };
        node.ok_or_else(|| Error::new("tape", "the value belongs to another tape"))
    }

    /// The value at a position.
    pub(crate) fn value(&self, at: usize) -> Value {
        Value { tape: self.id, at }
    }

    /// The value of a variable. Asking twice gives the same value. Ops read what the variable holds when they run: those
    /// recorded after an update see what the update wrote.
    ///
    /// # Errors
    /// The variable belongs to another store.
    pub fn var(&mut self, store: &Store, var: Var) -> Result<Value> {
        let known = self.nodes.iter().position(|node| matches!(node.kind, Kind::Var(other) if other == var));
        if let Some(index) = known {
            return Ok(self.value(index));
        }
        let spec = store.spec(var)?;
        Ok(self.push(Node { kind: Kind::Var(var), spec, path: store.name(var) }))
    }

    /// Records an op.
    ///
    /// # Errors
    /// The inputs do not fit.
    pub fn record(&mut self, op: impl Op + 'static, inputs: &[Value]) -> Result<Value> {
        let path = self.path(op.name());
        if inputs.len() > MAX_INPUTS {
            return Err(Error::new(path, "too many inputs").with("inputs", inputs.len()).with("most", MAX_INPUTS));
        }
        let specs: Vec<Spec> = inputs.iter().map(|&input| self.spec(input)).collect::<Result<_>>()?;
        let spec = op
            .output(&specs)
            .map_err(|error| if self.scope.is_empty() { error } else { error.within(self.scope.join(".")) })?;
        let value = self.push(Node { kind: Kind::Op { op: Arc::new(op), inputs: inputs.to_vec() }, spec, path });
        self.steps.push(Step::Op(value));
        Ok(value)
    }

    /// Gradients of a scalar (or of the sum of a tensor) with respect to values.
    ///
    /// # Errors
    /// A value that no gradient reaches, by name.
    pub fn gradients(&mut self, loss: Value, wanted: &[Value]) -> Result<Vec<Value>> {
        Ok(self.backward(loss, None, wanted, &[])?.values)
    }

    /// The general backward pass: from `output` with gradient `seed` (ones for `None`) to values and to whole groups of
    /// `groups` of variables, each as one flat vector for an optimizer.
    ///
    /// # Errors
    /// A value or variable that no gradient reaches, by name; a seed that is not of the output's spec.
    pub fn backward(
        &mut self,
        output: Value,
        seed: Option<Value>,
        wanted: &[Value],
        groups: &[(&Store, Group)],
    ) -> Result<Gradients> {
        if let Some(seed) = seed
            && self.spec(seed)? != self.spec(output)?
        {
            return Err(Error::new("backward", "the seed must have the output's spec")
                .with("output", self.spec(output)?)
                .with("seed", self.spec(seed)?));
        }
        let pass = self.passes.len();
        let mut leaves: Vec<Value> = wanted.to_vec();
        let mut members = Vec::new();
        for &(store, group) in groups {
            let vars = store.vars(group)?;
            let entries = vars.iter().map(|&(_, var)| self.var(store, var)).collect::<Result<Vec<_>>>()?;
            leaves.extend(&entries);
            members.push((store, group, entries));
        }
        self.check_reached(output, &leaves)?;
        let mut targets = Vec::new();
        for &value in wanted {
            let node = Node { kind: Kind::Gradient, spec: self.spec(value)?, path: self.gradient_path(value)? };
            targets.push((value, self.push(node)));
        }
        let mut flats = Vec::new();
        for (store, group, leaves) in members {
            let flat = store.flat(group);
            let path = format!("d {}", store.name(flat));
            let node = Node { kind: Kind::Gradient, spec: store.spec(flat)?, path };
            flats.push(FlatTarget { group, gradient: self.push(node), leaves });
        }
        let gradients = Gradients {
            values: targets.iter().map(|&(_, gradient)| gradient).collect(),
            groups: flats.iter().map(|flat| flat.gradient).collect(),
        };
        self.passes.push(Pass { output, seed, targets, groups: flats });
        self.steps.push(Step::Backward(pass));
        Ok(gradients)
    }

    fn gradient_path(&self, value: Value) -> Result<String> {
        Ok(format!("d {}", self.node(value)?.path))
    }

    /// Records an in-place change of variables.
    ///
    /// # Errors
    /// States or inputs do not fit, or a state is also an input.
    pub fn update(
        &mut self,
        store: &Store,
        update: impl Update + 'static,
        state: &[Var],
        inputs: &[Value],
    ) -> Result<()> {
        let path = self.path(update.name());
        if inputs.len() > MAX_INPUTS || state.len() > MAX_INPUTS {
            return Err(Error::new(path, "too many states or inputs").with("most", MAX_INPUTS));
        }
        let states: Vec<Spec> = state.iter().map(|&var| store.spec(var)).collect::<Result<_>>()?;
        let specs: Vec<Spec> = inputs.iter().map(|&input| self.spec(input)).collect::<Result<_>>()?;
        update.check(&states, &specs)?;
        for (index, &var) in state.iter().enumerate() {
            let read = inputs.iter().any(|&input| {
                matches!(self.nodes.get(input.at).map(|node| &node.kind), Some(Kind::Var(other)) if other.overlaps(var))
            });
            if read || state.iter().skip(index + 1).any(|other| other.overlaps(var)) {
                return Err(Error::new(path, "a variable that an update writes may not be another of its operands")
                    .with("variable", store.name(var)));
            }
        }
        let update = Arc::new(update);
        self.steps.push(Step::Update { update, state: state.to_vec(), inputs: inputs.to_vec(), path });
        Ok(())
    }

    /// Decides once what runs, in which order, and where each value lies. `keep` names the values to be read after a
    /// replay; everything that neither they nor an update need is left out.
    ///
    /// # Errors
    /// A value of another tape, or the device is out of memory.
    pub fn plan(&self, store: &mut Store, keep: &[Value]) -> Result<Plan> {
        Plan::new(self, store, keep, cfg!(debug_assertions))
    }

    /// As [`Tape::plan`], with canaries round every buffer and fresh memory poisoned (`checks`), as debug builds do.
    ///
    /// # Errors
    /// As [`Tape::plan`].
    pub fn plan_with(&self, store: &mut Store, keep: &[Value], checks: bool) -> Result<Plan> {
        Plan::new(self, store, keep, checks)
    }

    fn path(&self, name: &str) -> String {
        if self.scope.is_empty() { name.to_owned() } else { format!("{}: {name}", self.scope.join(".")) }
    }

    fn push(&mut self, node: Node) -> Value {
        self.nodes.push(node);
        self.value(self.nodes.len() - 1)
    }

    /// Per node: whether a gradient of `output` reaches it.
    pub(crate) fn reached(&self, output: Value) -> Result<Vec<bool>> {
        let mut reached = vec![false; self.nodes.len()];
        self.node(output)?;
        reached[output.at] = true;
        for (index, node) in self.nodes.iter().enumerate().rev() {
            let (true, Kind::Op { op, inputs }) = (reached[index], &node.kind) else { continue };
            let specs: Vec<Spec> = inputs.iter().map(|&input| self.spec(input)).collect::<Result<_>>()?;
            let differentiable = op.differentiable(&specs);
            for (position, input) in inputs.iter().enumerate() {
                reached[input.at] |= differentiable.has(position);
            }
        }
        Ok(reached)
    }

    fn check_reached(&self, output: Value, leaves: &[Value]) -> Result<()> {
        let reached = self.reached(output)?;
        let path = |value: Value| Ok::<_, Error>(self.node(value)?.path.clone());
        for (at, node) in self.nodes.iter().enumerate() {
            if let (true, Kind::Gradient) = (reached[at] && at != output.at, &node.kind) {
                return Err(Error::new(
                    "backward",
                    "the output depends on a gradient: second derivatives do not exist",
                )
                .with("output", path(output)?)
                .with("gradient", &node.path)
                .help("copy the gradient to a variable with an update, and read that"));
            }
        }
        let mut missing = Vec::new();
        for &leaf in leaves {
            let path = path(leaf)?;
            if !reached[leaf.at] {
                missing.push(path);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let error = Error::new("backward", "no gradient reaches these values from the output");
        let error = error.with("output", path(output)?);
        Err(missing
            .into_iter()
            .fold(error, |error, path| error.with("not reached", path))
            .help("is the value cut off by a non-differentiable input, or not part of this computation?"))
    }
}
