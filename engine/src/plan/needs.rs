//! What a program needs: values, passes, and gradients of each op's inputs.

use crate::error::Result;
use crate::op::Inputs;
use crate::shape::Spec;
use crate::tape::{Kind, Pass, Step, Tape, Value};

/// Which values and passes are needed, and which gradients each op must give.
pub(super) struct Needs {
    pub values: Vec<bool>,
    pub passes: Vec<bool>,
    /// Per pass and node: inputs whose gradient is wanted.
    pub wanted: Vec<Vec<Inputs>>,
    /// Per node: the union over the needed passes.
    pub union: Vec<Inputs>,
}

impl Needs {
    pub fn of(tape: &Tape, keep: &[Value]) -> Result<Self> {
        let mut values = vec![false; tape.nodes.len()];
        let mut passes = vec![false; tape.passes.len()];
        let mark = |values: &mut Vec<bool>, wanted: &[Value]| {
            for value in wanted {
                if let Some(slot) = values.get_mut(value.at) {
                    *slot = true;
                }
            }
        };
        for &value in keep {
            tape.node(value)?;
        }
        mark(&mut values, keep);
        for step in tape.steps.iter().rev() {
            match step {
                Step::Update { inputs, .. } => mark(&mut values, inputs),
                Step::Backward(index) => {
                    let pass = &tape.passes[*index];
                    let results =
                        pass.targets.iter().map(|&(_, g)| g).chain(pass.groups.iter().map(|flat| flat.gradient));
                    if results.into_iter().any(|gradient| values[gradient.at]) {
                        passes[*index] = true;
                        mark(&mut values, &[pass.output]);
                        mark(&mut values, pass.seed.as_slice());
                    }
                }
                Step::Op(value) => {
                    if let (true, Kind::Op { inputs, .. }) = (values[value.at], &tape.node(*value)?.kind) {
                        mark(&mut values, inputs);
                    }
                }
            }
        }
        let mut wanted = Vec::new();
        let mut union = vec![Inputs::NONE; tape.nodes.len()];
        for (pass, &needed) in tape.passes.iter().zip(&passes) {
            let sets = if needed { wanted_inputs(tape, pass, &values)? } else { Vec::new() };
            for (slot, set) in union.iter_mut().zip(&sets) {
                *slot = (0..8).fold(*slot, |sum, position| sum.and_if(set.has(position), position));
            }
            wanted.push(sets);
        }
        Ok(Self { values, passes, wanted, union })
    }
}

/// Per node that the pass goes through: the inputs whose gradient leads to a target.
fn wanted_inputs(tape: &Tape, pass: &Pass, values: &[bool]) -> Result<Vec<Inputs>> {
    let reached = tape.reached(pass.output)?;
    let mut leads = vec![false; tape.nodes.len()];
    for &(target, gradient) in &pass.targets {
        leads[target.at] |= values[gradient.at];
    }
    for flat in &pass.groups {
        for leaf in &flat.leaves {
            leads[leaf.at] |= values[flat.gradient.at];
        }
    }
    let mut sets = vec![Inputs::NONE; tape.nodes.len()];
    for (index, node) in tape.nodes.iter().enumerate() {
        let Kind::Op { op, inputs } = &node.kind else { continue };
        let specs: Vec<Spec> = inputs.iter().map(|&input| tape.spec(input)).collect::<Result<_>>()?;
        let differentiable = op.differentiable(&specs);
        for (position, input) in inputs.iter().enumerate() {
            if reached[index] && differentiable.has(position) && leads[input.at] {
                sets[index] = sets[index].and(position);
                leads[index] = true;
            }
        }
    }
    Ok(sets)
}

/// How many ops contribute to the gradient of each node in a pass.
pub(super) fn contributions(tape: &Tape, wanted: &[Inputs]) -> Vec<usize> {
    let mut counts = vec![0; tape.nodes.len()];
    for (node, wanted) in tape.nodes.iter().zip(wanted) {
        let Kind::Op { inputs, .. } = &node.kind else { continue };
        for (position, input) in inputs.iter().enumerate() {
            counts[input.at] += usize::from(wanted.has(position));
        }
    }
    counts
}
