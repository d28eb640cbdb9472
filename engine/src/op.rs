//! The contract between the engine and an operation.
//!
//! An [`Op`] is a pure function of its inputs with a gradient; an [`Update`] writes variables in place (optimizers,
//! attack steps). Neither has default bodies, and both match exhaustively on [`Exec`]: a backend or a gradient that is
//! missing does not compile.

use std::fmt::Debug;

use crate::device::{Buf, BufMut, Exec, Target};
use crate::error::Result;
use crate::shape::Spec;

/// Most inputs of an op, and most states or inputs of an update.
pub const MAX_INPUTS: usize = 8;

/// A set of inputs, by position.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Inputs(u8);

impl Inputs {
    /// No input.
    pub const NONE: Self = Self(0);

    /// The inputs at the given positions (below [`MAX_INPUTS`]).
    pub const fn of(positions: &[usize]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < positions.len() {
            bits |= 1 << positions[at];
            at += 1;
        }
        Self(bits)
    }

    /// The first `count` inputs.
    pub fn first(count: usize) -> Self {
        (0..count.min(MAX_INPUTS)).fold(Self::NONE, Self::and)
    }

    /// Whether it holds input `position`.
    pub const fn has(self, position: usize) -> bool {
        position < MAX_INPUTS && self.0 & (1 << position) != 0
    }

    /// With input `position` too.
    #[must_use]
    pub const fn and(self, position: usize) -> Self {
        Self(self.0 | (1 << position))
    }

    /// With input `position` too, if `condition`.
    #[must_use]
    pub const fn and_if(self, condition: bool, position: usize) -> Self {
        if condition { self.and(position) } else { self }
    }

    /// Inputs in both sets.
    #[must_use]
    pub const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// No input is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What the backward pass reads besides the gradient of the output. Everything else may be freed or overwritten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keeps {
    /// Inputs that it reads.
    pub inputs: Inputs,
    /// Whether it reads the output.
    pub output: bool,
    /// Buffers that forward writes for it: log-sum-exp, statistics, pre-activations.
    pub extras: Vec<Spec>,
    /// Inputs whose gradient equals the output's gradient: the planner shares the buffer and asks for nothing.
    pub passes: Inputs,
    /// The extra, like the output, that backward wants its gradient multiplied by: the slope of an activation. It is the first
    /// of the extras, and backward is not given it: the gradient that it reads is multiplied already.
    pub slope: bool,
    /// Inputs whose gradient backward can multiply by another op's slope on its way to memory: [`Grad::times`].
    pub multiplies: Inputs,
}

/// Floating-point operations and bytes of memory traffic at the least.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Work {
    /// Multiplications and additions, counted apart.
    pub flops: u64,
    /// Bytes that must be read and written once.
    pub bytes: u64,
}

impl Work {
    /// Work from counts.
    pub fn new(flops: usize, bytes: usize) -> Self {
        let wide = |count| u64::try_from(count).unwrap_or(u64::MAX);
        Self { flops: wide(flops), bytes: wide(bytes) }
    }
}

impl std::iter::Sum for Work {
    fn sum<I: Iterator<Item = Self>>(works: I) -> Self {
        works.fold(Self::default(), |sum, work| Self { flops: sum.flops + work.flops, bytes: sum.bytes + work.bytes })
    }
}

/// Cost of an op.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cost {
    /// Of the forward pass.
    pub forward: Work,
    /// Of the backward pass, for the gradients that are wanted.
    pub backward: Work,
}

/// Bytes of working memory that live for one launch only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scratch {
    /// For the forward pass.
    pub forward: usize,
    /// For the backward pass.
    pub backward: usize,
}

/// Buffers of a forward launch.
pub struct Forward<'a> {
    /// The inputs, in the order in which they were recorded.
    pub inputs: &'a [Buf<'a>],
    /// To be written, every element.
    pub output: BufMut<'a>,
    /// To be written; empty where no backward pass follows.
    pub extras: &'a mut [BufMut<'a>],
    /// Working memory of [`Op::scratch`], not initialised.
    pub scratch: BufMut<'a>,
}

/// Whether a gradient is the first contribution or a later one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Overwrite: the buffer holds nothing yet.
    Write,
    /// Add to what is there.
    Add,
}

/// Where an input's gradient goes.
pub struct Grad<'a> {
    /// First contribution or a later one.
    pub mode: Mode,
    /// The gradient, of the input's spec.
    pub buf: BufMut<'a>,
    /// A factor of it, of the same spec; only where [`Keeps::multiplies`] offers that, and with [`Mode::Write`].
    pub times: Option<Buf<'a>>,
}

/// Buffers of a backward launch.
pub struct Backward<'a> {
    /// The inputs. Reading one that [`Keeps`] does not name is an error; its spec is always there.
    pub inputs: &'a [Buf<'a>],
    /// The output, if [`Keeps`] names it.
    pub output: Buf<'a>,
    /// What forward wrote for this pass, without a slope.
    pub extras: &'a [Buf<'a>],
    /// Gradient of the output, times the slope where [`Keeps::slope`] says that there is one.
    pub d_output: Buf<'a>,
    /// One per input; `None` where nobody wants it.
    pub d_inputs: &'a mut [Option<Grad<'a>>],
    /// Working memory of [`Op::scratch`], not initialised.
    pub scratch: BufMut<'a>,
}

/// A differentiable operation.
pub trait Op: Debug + Send + Sync {
    /// Name in listings and errors.
    fn name(&self) -> &'static str;

    /// Spec of the output. The only place where inputs are checked.
    ///
    /// # Errors
    /// The inputs do not fit; the message names the op and every input.
    fn output(&self, inputs: &[Spec]) -> Result<Spec>;

    /// The inputs that have a gradient at all (labels and random states have none).
    fn differentiable(&self, inputs: &[Spec]) -> Inputs;

    /// What backward reads when the gradients `wanted` are asked for.
    ///
    /// # Errors
    /// As [`Spec::new`].
    fn keeps(&self, inputs: &[Spec], wanted: Inputs) -> Result<Keeps>;

    /// Working memory of its launches on `target`.
    fn scratch(&self, inputs: &[Spec], wanted: Inputs, target: Target) -> Scratch;

    /// FLOPs and bytes.
    fn cost(&self, inputs: &[Spec], wanted: Inputs) -> Cost;

    /// Computes the output (and the extras, where asked for).
    ///
    /// # Errors
    /// The device failed.
    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()>;

    /// Computes the wanted gradients of the inputs.
    ///
    /// # Errors
    /// The device failed.
    fn backward(&self, exec: &mut Exec, io: Backward) -> Result<()>;
}

/// Buffers of an update.
pub struct UpdateIo<'a> {
    /// Variables, read and written.
    pub state: &'a mut [BufMut<'a>],
    /// Values, read.
    pub inputs: &'a [Buf<'a>],
    /// Working memory, not initialised.
    pub scratch: BufMut<'a>,
}

/// An in-place change of variables: an optimizer step, an attack step, a counter.
pub trait Update: Debug + Send + Sync {
    /// Name in listings and errors.
    fn name(&self) -> &'static str;

    /// Checks states and inputs.
    ///
    /// # Errors
    /// They do not fit; the message names the update and every spec.
    fn check(&self, state: &[Spec], inputs: &[Spec]) -> Result<()>;

    /// Bytes of working memory of its launch on `target`.
    fn scratch(&self, state: &[Spec], inputs: &[Spec], target: Target) -> usize;

    /// FLOPs and bytes.
    fn cost(&self, state: &[Spec], inputs: &[Spec]) -> Work;

    /// Runs it.
    ///
    /// # Errors
    /// The device failed.
    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()>;
}
