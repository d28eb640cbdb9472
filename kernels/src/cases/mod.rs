//! Cases: one list per op that drives tests, `vitrum selftest`, benches and documentation.

mod draw;
mod run;
mod stored;

use std::sync::Arc;

use engine::{DType, Result, Store, Tape, Tensor, Value, Var};

pub use draw::Draw;
pub use run::{Verdict, adding_error, check, gradient_bound, gradient_error, reproducible, tensors, timed, wide_error};
pub use stored::{IN_BF16, in_bf16};

/// Records an op on its inputs.
pub type RecordOp = Arc<dyn Fn(&mut Tape, &[Value]) -> Result<Value> + Send + Sync>;
/// Records an update of states from inputs.
pub type RecordUpdate = Arc<dyn Fn(&mut Tape, &Store, &[Var], &[Value]) -> Result<()> + Send + Sync>;
/// Computes what a case should give, from its inputs and (for an op) the gradient of its output: for an op the output and
/// then one gradient per wanted input; for an update its states after.
pub type Reference = Arc<dyn Fn(&[Tensor], Option<&Tensor>) -> Result<Vec<Tensor>> + Send + Sync>;

/// How an input of a case is filled. Everything is a function of the case's label and the input's position.
#[derive(Clone, Debug, PartialEq)]
pub enum Fill {
    /// Normal with the given standard deviation.
    Normal(f32),
    /// Uniform in [low, high).
    Uniform(f32, f32),
    /// Rows that sum to 1 and are positive: soft labels.
    Probabilities,
    /// i32 class indices below the given count.
    Labels(u32),
    /// u32 sample ids, all different.
    Ids,
    /// u32 random state of `engine::rng`: seed 7, and the given step.
    RandomState(u32),
    /// The given floats.
    Exactly(Vec<f32>),
    /// Rows in random order whose values differ by at least 3/4 of the given gap and lie within 1/4 of its multiples:
    /// for ops that select, so that no order changes where differences are taken.
    Separated(f32),
    /// The given u32 words.
    Words(Vec<u32>),
}

/// One input of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Dimensions.
    pub dims: Vec<usize>,
    /// Values.
    pub fill: Fill,
    /// Whether it stays f32 where tensors are stored in 16 bits: scalars such as a probability.
    pub wide: bool,
}

impl Input {
    /// An input of `dims` filled as `fill` says.
    pub fn new(dims: &[usize], fill: Fill) -> Self {
        Self { dims: dims.to_vec(), fill, wide: false }
    }

    /// The same input, f32 in every storage.
    #[must_use]
    pub fn always_f32(mut self) -> Self {
        self.wide = true;
        self
    }

    /// Float, i32 or u32, from the fill; floats are f32 (and f64 in oracles).
    pub fn dtype(&self) -> DType {
        match self.fill {
            Fill::Normal(_) | Fill::Uniform(..) | Fill::Probabilities | Fill::Exactly(_) | Fill::Separated(_) => {
                DType::F32
            }
            Fill::Labels(_) => DType::I32,
            Fill::Ids | Fill::RandomState(_) | Fill::Words(_) => DType::U32,
        }
    }
}

/// What a case records.
#[derive(Clone)]
pub enum Record {
    /// An op; the gradients of the inputs at these positions are checked.
    Op(RecordOp, Vec<usize>),
    /// An update whose states are the first inputs, so many of them.
    Update(RecordUpdate, usize),
}

/// One configuration of an op or update with everything that is needed to check and to time it.
#[derive(Clone)]
pub struct Case {
    /// Shapes and flags, for people: `b3 n65 d192 gelu`.
    pub label: String,
    /// Inputs; the states first for an update.
    pub inputs: Vec<Input>,
    /// How it is recorded.
    pub record: Record,
    /// The reference in f32: the naive same-precision implementation, whose error is the measure.
    pub naive: Reference,
    /// The reference in f64: the truth.
    pub oracle: Reference,
    /// Whether the gradient is that of the forward function and may be checked by differences. Not so for grad_gate,
    /// which cuts gradients on purpose.
    pub differentiable: bool,
    /// The type in which its tensors are stored, on devices that compute in it: f32, or bf16 with arithmetic in f32.
    pub storage: DType,
    /// Whether [`in_bf16`] makes a case in bf16 of it.
    pub narrows: bool,
}

impl Case {
    /// A case of an op.
    pub fn op(
        label: impl Into<String>,
        inputs: Vec<Input>,
        wanted: &[usize],
        record: impl Fn(&mut Tape, &[Value]) -> Result<Value> + Send + Sync + 'static,
        naive: impl Fn(&[Tensor], Option<&Tensor>) -> Result<Vec<Tensor>> + Send + Sync + 'static,
        oracle: impl Fn(&[Tensor], Option<&Tensor>) -> Result<Vec<Tensor>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            label: label.into(),
            inputs,
            record: Record::Op(Arc::new(record), wanted.to_vec()),
            naive: Arc::new(naive),
            oracle: Arc::new(oracle),
            differentiable: true,
            storage: DType::F32,
            narrows: true,
        }
    }

    /// A case of an update whose first `states` inputs are its states.
    pub fn update(
        label: impl Into<String>,
        inputs: Vec<Input>,
        states: usize,
        record: impl Fn(&mut Tape, &Store, &[Var], &[Value]) -> Result<()> + Send + Sync + 'static,
        naive: impl Fn(&[Tensor], Option<&Tensor>) -> Result<Vec<Tensor>> + Send + Sync + 'static,
        oracle: impl Fn(&[Tensor], Option<&Tensor>) -> Result<Vec<Tensor>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            label: label.into(),
            inputs,
            record: Record::Update(Arc::new(record), states),
            naive: Arc::new(naive),
            oracle: Arc::new(oracle),
            differentiable: false,
            storage: DType::F32,
            narrows: true,
        }
    }

    /// The same case, run only where the device computes in `storage`, with errors measured in its last place.
    #[must_use]
    pub fn stored_as(mut self, storage: DType) -> Self {
        self.storage = storage;
        self.narrows = false;
        self
    }

    /// The same case, which bf16 can't represent well enough for the usual bound; say why at the call.
    #[must_use]
    pub fn not_in_bf16(mut self) -> Self {
        self.narrows = false;
        self
    }

    /// The same case, exempt from the check by differences; say why at the call.
    #[must_use]
    pub fn not_differentiable(mut self) -> Self {
        self.differentiable = false;
        self
    }
}

/// The cases of one op.
pub struct OpCases {
    /// Name of the op, as [`engine::Op::name`] gives it.
    pub name: &'static str,
    /// Shapes where mistakes hide: 1, primes, 65, 197, widths that no vector register divides.
    pub cases: Vec<Case>,
    /// A small case of random shape, for property tests.
    pub random: fn(&mut Draw) -> Case,
    /// Sizes of real models, for benches.
    pub bench: Vec<Case>,
}
