//! Matrix products on wgpu: which kernel, and its launches.

use std::ops::Range;

use engine::device::source::Source;
use engine::device::webgpu::{AdapterKind, Caps};
use engine::{Arg, Kernel, Result, WgpuExec};

use super::gpu::{source, word};
use crate::activation::Activation;

static SUBGROUP: Source = source("kernels/src/common/wgsl/gemm.subgroup.wgsl", include_str!("wgsl/gemm.subgroup.wgsl"));
static COLUMN_SUMS: Source = source("kernels/src/common/wgsl/column_sums.wgsl", include_str!("wgsl/column_sums.wgsl"));

/// How the operands of `C = A B` lie in memory; C is `[m, n]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Layout {
    /// A `[m, k]`, B `[n, k]`: `y = x W'`.
    Nt,
    /// A `[m, k]`, B `[k, n]`: `dx = dy W`.
    Nn,
    /// A `[k, m]`, B `[k, n]`: `dW = dy' x`.
    Tn,
}

/// What is done with the derivative of the activation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Slope {
    /// There is none, or nobody wants it.
    None,
    /// Stored, `[m, n]`.
    Store(Arg),
    /// Multiplied into A.
    Factor(Arg),
}

/// `C = act(A B + bias)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    pub layout: Layout,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Arg,
    pub b: Arg,
    pub c: Arg,
    /// Add to C instead.
    pub add: bool,
    pub bias: Option<Arg>,
    pub activation: Option<Activation>,
    pub slope: Slope,
}

impl Product {
    /// The bare product.
    pub fn new(layout: Layout, [m, n, k]: [usize; 3], [a, b, c]: [Arg; 3]) -> Self {
        Self { layout, m, n, k, a, b, c, add: false, bias: None, activation: None, slope: Slope::None }
    }

    /// Launches it. Where rows exceed the adapter's binding limit, those of A and C go part by part; for [`Layout::Tn`],
    /// whose rows are summed over, those of A and B do, and later parts add.
    ///
    /// # Errors
    /// The kernel does not compile, or a buffer that is not divided exceeds the limit.
    pub fn launch(&self, exec: &mut WgpuExec) -> Result<()> {
        let width = subgroup(exec.caps());
        let kernel = self.kernel(width);
        let rows = if self.layout == Layout::Tn { self.k } else { self.m };
        let slope = match self.slope {
            Slope::None => Arg::Nothing,
            Slope::Store(slope) | Slope::Factor(slope) => slope,
        };
        let args = [self.a, self.b, self.c, self.bias.unwrap_or(Arg::Nothing), slope];
        let groups = |rows: usize| {
            let high = if self.layout == Layout::Tn { self.m } else { rows };
            (high.div_ceil(32) * self.n.div_ceil(32)).div_ceil(width / 8)
        };
        exec.launch_rows(&kernel, rows, &args, groups, |part| self.params(part))
    }

    fn params(&self, part: Range<usize>) -> [u32; 12] {
        let (m, k, add) = if self.layout == Layout::Tn {
            (self.m, part.len(), self.add || part.start > 0)
        } else {
            (part.len(), self.k, self.add)
        };
        [word(m), word(self.n), word(k), 1, u32::from(add), 0, 0, 0, 0, 0, 0, 0]
    }

    fn kernel(&self, width: usize) -> Kernel {
        // The extent along which four neighbours lie.
        let (along_a, along_b) = match self.layout {
            Layout::Nt => (self.k, self.k),
            Layout::Nn => (self.k, self.n),
            Layout::Tn => (self.m, self.n),
        };
        let activation: u32 = match self.activation {
            None => 0,
            Some(Activation::Relu) => 1,
            Some(Activation::Gelu) => 2,
        };
        Kernel::new(&SUBGROUP, "main")
            .with("WIDTH", word(width))
            .when("A_ACROSS", self.layout == Layout::Tn)
            .when("B_ALONG", self.layout == Layout::Nt)
            .when("A_VEC", along_a.is_multiple_of(4))
            .when("B_VEC", along_b.is_multiple_of(4))
            .when("C_VEC", self.n.is_multiple_of(4))
            .when("FACTOR", matches!(self.slope, Slope::Factor(_)))
            .when("SLOPE", matches!(self.slope, Slope::Store(_)))
            .when("BIAS", self.bias.is_some())
            .with("ACTIVATION", activation)
    }
}

fn subgroup(caps: Caps) -> usize {
    let fits =
        |&width: &u32| caps.kind == AdapterKind::Software && width.is_power_of_two() && (8..=64).contains(&width);
    caps.subgroup.filter(fits).and_then(|width| usize::try_from(width).ok()).unwrap_or(8)
}

/// Sums over the rows of a matrix: the gradient of a bias.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColumnSums {
    pub rows: usize,
    pub width: usize,
    pub x: Arg,
    /// Multiplied into x.
    pub slope: Option<Arg>,
    pub sums: Arg,
    /// Add to the sums.
    pub add: bool,
    /// Of [`ColumnSums::scratch`] bytes.
    pub scratch: Arg,
}

impl ColumnSums {
    /// Rows that are summed at a time: about as many as there are blocks; 64 where the adapter's binding limit divides the
    /// rows, into multiples of that.
    fn block(rows: usize, width: usize, caps: Caps) -> usize {
        let whole = rows * width * size_of::<f32>();
        if u64::try_from(whole).is_ok_and(|whole| whole <= caps.max_binding) {
            rows.isqrt().next_multiple_of(64)
        } else {
            64
        }
    }

    /// Bytes of working memory.
    pub fn scratch(rows: usize, width: usize, caps: Caps) -> usize {
        rows.div_ceil(Self::block(rows, width, caps)) * width * size_of::<f32>()
    }

    /// Launches them.
    ///
    /// # Errors
    /// As [`Product::launch`].
    pub fn launch(&self, exec: &mut WgpuExec) -> Result<()> {
        let (width, vec) = (self.width, self.width.is_multiple_of(4));
        let block = Self::block(self.rows, width, exec.caps());
        let kernel = Kernel::new(&COLUMN_SUMS, "part").when("VEC", vec).when("FACTOR", self.slope.is_some());
        let args = [self.x, self.slope.unwrap_or(Arg::Nothing), self.scratch];
        let each = if vec { 4 } else { 1 };
        let groups = |rows: usize| (rows.div_ceil(block) * (width / each)).div_ceil(64);
        let params =
            |part: Range<usize>| [word(part.len()), word(width), word(block), word(part.start / block), 0, 0, 0, 0];
        exec.launch_rows(&kernel, self.rows, &args, groups, params)?;
        let args = [self.scratch, Arg::Nothing, self.sums];
        let params = [word(self.rows.div_ceil(block)), word(width), 0, 0, u32::from(self.add), 0, 0, 0];
        exec.launch(&Kernel::new(&COLUMN_SUMS, "total"), &params, &args, width.div_ceil(64))
    }
}
