//! Random graphs of real ops in f64, to put the planner to the test.
//!
//! Values are reused, appear twice in one op, and are leaves of odd sizes, so that gradients are first and later
//! contributions, shared buffers have to part ways, and flat gradients have gaps.

use engine::check::random;
use engine::{Result, Tape, Tensor, Value};
use kernels::attention::attention;
use kernels::cases::Draw;
use kernels::layer_norm::layer_norm;
use kernels::linear::{Activation, linear};
use kernels::residual::residual;

use super::probes::{Habit, Probe};

/// A value that the graph does not compute.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Its name.
    pub name: String,
    /// Its value.
    pub tensor: Tensor,
    /// The group that it is part of; `None` for inputs.
    pub group: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Residual,
    LayerNorm,
    Linear(Option<Activation>),
    Attention(usize),
    SquarePlus,
}

#[derive(Clone, Debug)]
struct Node {
    what: What,
    inputs: Vec<usize>,
}

/// A graph: values are numbered, leaves first.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Inputs and parameters.
    pub leaves: Vec<Leaf>,
    nodes: Vec<Node>,
    /// Values of the shape of the inputs, `[b, n, d]`: any of them may be the output of a pass, or its seed.
    pub tokens: Vec<usize>,
}

/// Number of parameter groups of a graph.
pub const GROUPS: usize = 2;

const EPS: f32 = 0.1; // smooth enough for differences of tiny rows

impl Graph {
    /// A random graph.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn random(draw: &mut Draw, seed: u64) -> Result<Self> {
        let (heads, width) = draw.pick(&[(1, 3), (2, 2), (1, 5), (2, 3), (3, 3), (1, 7)]);
        let d = heads * width;
        let (b, n) = (draw.range(1, 2), draw.range(1, 4));
        let mut graph = Self { leaves: Vec::new(), nodes: Vec::new(), tokens: Vec::new() };
        let narrow = 0.7 / Tensor::from_fn(&[d], |_| 1.0_f64)?.to_f64().iter().sum::<f64>().sqrt();
        for (name, dims, scale, group) in [
            ("x0", vec![b, n, d], 1.0, None),
            ("x1", vec![b, n, d], 1.0, None),
            ("v0", vec![d], 0.7, Some(0)),
            ("v1", vec![d], 0.7, Some(0)),
            ("m0", vec![d, d], narrow, Some(0)),
            ("v2", vec![d], 0.7, Some(1)),
            ("qkv", vec![3 * d, d], narrow, Some(1)),
            ("v3", vec![3 * d], 0.5, Some(1)),
        ] {
            let mut tensor = random::<f64>(&dims, seed, name)?;
            tensor.values_mut::<f64>()?.iter_mut().for_each(|value| *value *= scale);
            graph.leaves.push(Leaf { name: name.to_owned(), tensor, group });
        }
        graph.tokens = vec![0, 1];
        for _ in 0..draw.range(2, 7) {
            graph.grow(draw, heads);
        }
        Ok(graph)
    }

    fn grow(&mut self, draw: &mut Draw, heads: usize) {
        const VECTORS: [usize; 3] = [2, 3, 5];
        let x = self.pick(draw);
        let node = match draw.range(0, 9) {
            0..=2 => {
                let mut inputs = vec![x, self.pick(draw)];
                if draw.flag() {
                    inputs.push(draw.pick(&VECTORS));
                }
                Node { what: What::Residual, inputs }
            }
            3 | 4 => Node { what: What::LayerNorm, inputs: vec![x, draw.pick(&VECTORS), draw.pick(&VECTORS)] },
            5 | 6 => {
                let mut inputs = vec![x, 4];
                if draw.flag() {
                    inputs.push(draw.pick(&VECTORS));
                }
                Node { what: What::Linear(draw.flag().then_some(Activation::Gelu)), inputs }
            }
            7 => {
                // Normalised first, as in a block: differences are useless where the softmax is saturated.
                let inputs = vec![x, draw.pick(&VECTORS), draw.pick(&VECTORS)];
                let normed = self.push(Node { what: What::LayerNorm, inputs });
                let qkv = self.push(Node { what: What::Linear(None), inputs: vec![normed, 6, 7] });
                Node { what: What::Attention(heads), inputs: vec![qkv] }
            }
            _ => {
                // Of something normalised, for the same reason: squares of squares grow.
                let inputs = vec![x, draw.pick(&VECTORS), draw.pick(&VECTORS)];
                let normed = self.push(Node { what: What::LayerNorm, inputs });
                self.tokens.push(normed);
                let other = if draw.flag() { normed } else { self.pick(draw) };
                Node { what: What::SquarePlus, inputs: vec![normed, other] }
            }
        };
        let value = self.push(node);
        self.tokens.push(value);
    }

    /// One of the token values, the latest ones more often.
    fn pick(&self, draw: &mut Draw) -> usize {
        let last = self.tokens.len() - 1;
        self.tokens[if draw.flag() { last - draw.range(0, last.min(1)) } else { draw.range(0, last) }]
    }

    fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.leaves.len() + self.nodes.len() - 1
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.leaves.len() + self.nodes.len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values that `output` depends on, itself included: those that a gradient reaches.
    pub fn ancestors(&self, output: usize) -> Vec<usize> {
        let mut reached = vec![false; self.len()];
        reached[output] = true;
        for value in (self.leaves.len()..self.len()).rev() {
            if reached[value] {
                self.nodes[value - self.leaves.len()].inputs.iter().for_each(|&input| reached[input] = true);
            }
        }
        (0..self.len()).filter(|&value| reached[value]).collect()
    }

    /// The leaves of a group, in order.
    pub fn members(&self, group: usize) -> Vec<usize> {
        (0..self.leaves.len()).filter(|&leaf| self.leaves[leaf].group == Some(group)).collect()
    }

    /// Records the graph on the values of its leaves; value `cut.0` is replaced by `cut.1`.
    ///
    /// # Errors
    /// Those of recording.
    pub fn record(&self, tape: &mut Tape, leaves: &[Value], cut: Option<(usize, Value)>) -> Result<Vec<Value>> {
        let mut values = leaves.to_vec();
        for node in &self.nodes {
            let at = |position: usize| values[node.inputs[position]];
            let third = node.inputs.get(2).map(|&input| values[input]);
            let value = match node.what {
                What::Residual => residual(tape, at(0), at(1), third)?,
                What::LayerNorm => layer_norm(tape, at(0), at(1), at(2), EPS)?,
                What::Linear(activation) => linear(tape, at(0), at(1), third, activation)?,
                What::Attention(heads) => attention(tape, at(0), heads)?,
                What::SquarePlus => tape.record(Probe(Habit::SquarePlus), &[at(0), at(1)])?,
            };
            values.push(match cut {
                Some((cut, replacement)) if cut == values.len() => replacement,
                _ => value,
            });
        }
        Ok(values)
    }
}
