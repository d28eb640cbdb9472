//! The token sequence: `y = concat(class, distillation, registers, patches + noise) + position`.
//!
//! | input | shape | reaches |
//! |---|---|---|
//! | patches | `[b, p, d]` | |
//! | class, distillation | `[1, 1, d]` | one token each, of every sample |
//! | registers | `[1, r, d]` | r tokens |
//! | position | `[1, n, d]` | all n tokens, in the order above |
//! | position | `[1, p, d]` | only the patch tokens (timm's `no_embed_class`: added before the prefix is joined) |
//! | noise | `[1, p, d]` or `[b, p, d]` | only the patch tokens, before prefix and position |
//!
//! Gradients: slices of dy; of what a batch shares, their sums over samples, in a fixed order.
//! Noise on patch embeddings: "Approximate Nullspace Augmented Finetuning", 2403.10476.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{
    Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, Work, real,
};

use crate::common::specs;

const NAME: &str = "tokens";

/// What joins the patch tokens: each is optional.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Parts {
    /// Class token, `[1, 1, d]`.
    pub class: Option<Value>,
    /// Distillation token, `[1, 1, d]`.
    pub distillation: Option<Value>,
    /// Register tokens, `[1, r, d]`.
    pub registers: Option<Value>,
    /// Position embedding, `[1, n, d]` for all tokens or `[1, p, d]` for the patch tokens.
    pub position: Option<Value>,
    /// Noise on the patch tokens, `[1, p, d]` for all samples or `[b, p, d]`.
    pub noise: Option<Value>,
}

/// The role of an input after the patches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// Tokens before the patches.
    Prefix,
    Position,
    Noise,
}

#[derive(Debug)]
struct Tokens {
    /// Role of input `1 + i`.
    parts: Vec<Part>,
}

/// Sizes: batch, patches, width, prefix tokens.
#[derive(Clone, Copy, Debug)]
struct Layout {
    b: usize,
    p: usize,
    d: usize,
    prefix: usize,
}

/// The tokens that an input reaches.
#[derive(Clone, Copy, Debug)]
struct Place {
    first: usize,
    tokens: usize,
    shared: bool,
}

/// Records the token sequence `[b, n, d]` of patch tokens `[b, p, d]`; n counts class, distillation, registers and patches.
///
/// # Errors
/// A part has not the shape that [`Parts`] says.
pub fn tokens(tape: &mut Tape, patches: Value, parts: Parts) -> Result<Value> {
    let roles = [
        (parts.class, Part::Prefix),
        (parts.distillation, Part::Prefix),
        (parts.registers, Part::Prefix),
        (parts.position, Part::Position),
        (parts.noise, Part::Noise),
    ];
    for (name, token) in [("class token", parts.class), ("distillation token", parts.distillation)] {
        if let Some(token) = token
            && tape.spec(token)?.dims().get(1) != Some(&1)
        {
            return Err(Error::new(NAME, format!("the {name} must be [1, 1, d]")).with(name, tape.spec(token)?));
        }
    }
    let present: Vec<(Value, Part)> =
        roles.into_iter().filter_map(|(value, part)| value.map(|value| (value, part))).collect();
    let inputs: Vec<Value> = [patches].into_iter().chain(present.iter().map(|&(value, _)| value)).collect();
    tape.record(Tokens { parts: present.iter().map(|&(_, part)| part).collect() }, &inputs)
}

impl Tokens {
    fn layout(&self, inputs: &[Spec]) -> Result<Layout> {
        let Some((patches, rest)) = inputs.split_first() else {
            return Err(Error::new(NAME, "takes patches and what joins them"));
        };
        let [b, p, d] = patches.array(NAME, "patches")?;
        let prefix_of =
            |(part, spec): (&Part, &Spec)| if *part == Part::Prefix { spec.dims().get(1).copied() } else { None };
        Ok(Layout { b, p, d, prefix: self.parts.iter().zip(rest).filter_map(prefix_of).sum() })
    }

    /// Where input `position` lies in a sample: its first token, how many there are, and whether all samples share it.
    fn place(&self, inputs: &[Spec], position: usize) -> Result<Place> {
        let Layout { p, prefix, b, .. } = self.layout(inputs)?;
        let [batch, tokens, _] = inputs[position].array(NAME, "input")?;
        let part = position.checked_sub(1).and_then(|at| self.parts.get(at));
        let first = match part {
            Some(Part::Prefix) => self.layout(&inputs[..position])?.prefix,
            Some(Part::Position) => prefix + p - tokens,
            Some(Part::Noise) | None => prefix,
        };
        let shared = part.is_some_and(|&part| part != Part::Noise || batch != b);
        Ok(Place { first, tokens, shared })
    }
}

impl Op for Tokens {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        let Layout { b, p, d, prefix } = self.layout(inputs)?;
        let n = prefix + p;
        let mut error = Error::new(NAME, "the shapes do not fit");
        let mut fits = inputs.len() == self.parts.len() + 1;
        for (position, spec) in inputs.iter().enumerate() {
            specs::float(NAME, "input", *spec)?;
            fits &= spec.dtype == inputs[0].dtype;
            let Some(part) = position.checked_sub(1).and_then(|at| self.parts.get(at)) else {
                error = error.with("patches", spec);
                continue;
            };
            let [batch, rows, width] = spec.array(NAME, "input")?;
            let (name, right) = match part {
                Part::Prefix => ("prefix", batch == 1),
                Part::Position => ("position", batch == 1 && (rows == n || rows == p)),
                Part::Noise => ("noise", (batch == 1 || batch == b) && rows == p),
            };
            error = error.with(name, spec);
            fits &= right && width == d;
        }
        if fits {
            return Spec::new(inputs[0].dtype, &[b, n, d]);
        }
        Err(error
            .help("patches [b, p, d], prefix [1, r, d], position [1, n, d] or [1, p, d], noise [1, p, d] or [b, p, d]"))
    }

    fn differentiable(&self, inputs: &[Spec]) -> Inputs {
        Inputs::first(inputs.len())
    }

    fn keeps(&self, inputs: &[Spec], _wanted: Inputs) -> Result<Keeps> {
        // Without a prefix the patches' gradient is dy itself, and so is that of noise with a batch dimension.
        let output = self.output(inputs)?;
        let alike = inputs.iter().enumerate().filter(|(_, spec)| **spec == output);
        Ok(Keeps { passes: alike.fold(Inputs::NONE, |set, (position, _)| set.and(position)), ..Keeps::default() })
    }

    fn scratch(&self, _inputs: &[Spec], _wanted: Inputs, _target: Target) -> Scratch {
        Scratch::default()
    }

    fn cost(&self, inputs: &[Spec], wanted: Inputs) -> Cost {
        let Ok(output) = self.output(inputs) else { return Cost::default() };
        let extra = self.parts.iter().filter(|part| **part != Part::Prefix).count();
        let read: usize = inputs.iter().map(Spec::bytes).sum();
        let written = (0..inputs.len()).filter(|&position| wanted.has(position)).map(|at| inputs[at].bytes());
        let sums = (1..inputs.len()).filter(|&position| wanted.has(position)).count();
        Cost {
            forward: Work::new(extra * output.elements(), read + output.bytes()),
            backward: Work::new(sums * output.elements(), output.bytes() + written.sum::<usize>()),
        }
    }

    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.output.spec().dtype, NAME, T => cpu::forward::<T>(self, io)),
            Exec::Cuda(exec) => cuda::forward(self, exec, &io),
            Exec::Wgpu(exec) => wgpu::forward(self, exec, &io),
        }
    }

    fn backward(&self, exec: &mut Exec, io: Backward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.d_output.spec().dtype, NAME, T => cpu::backward::<T>(self, io)),
            Exec::Cuda(exec) => cuda::backward(self, exec, &io),
            Exec::Wgpu(exec) => wgpu::backward(self, exec, &io),
        }
    }
}
