//! Matrix products on CUDA.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | a product and its launches |
//! | `hopper.rs`, `hopper.cu` | the same on sm_90: products of warpgroups (`wgmma`) |
//! | `tensor.rs`, `tensor.cuh`, `tensor.bf16.cu`, `images.bf16.cu` | tensors in bf16: tensor cores (`mma.sync`) |
//! | `gemm.cu` | tensors in f32, and what tensor cores refuse |
//! | `sums.rs`, `sums.cu` | sums over rows, and of parts |
//! | `product.cuh`, `epilogue.cuh`, `tiles.cuh` | what kernels share |

mod hopper;
mod sums;
mod tensor;

use bytemuck::{Pod, Zeroable};
use engine::device::cuda::{Caps, CudaExec, Grid, Kernel, Param};
use engine::device::source::Source;
use engine::{DType, Error, Result};

use crate::activation::Activation;
use crate::common::cuda::source;
pub(crate) use crate::common::product::{Image, Layout, Operand};
use crate::common::product::{activation_number, image_number};
pub(crate) use sums::ColumnSums;
use sums::add_up;

static TENSOR: Source = source("kernels/src/common/gemm_cuda/tensor.bf16.cu", include_str!("tensor.bf16.cu"));
static IMAGES: Source = source("kernels/src/common/gemm_cuda/images.bf16.cu", include_str!("images.bf16.cu"));
static GEMM: Source = source("kernels/src/common/gemm_cuda/gemm.cu", include_str!("gemm.cu"));

/// The compute capability whose tensor cores take operands of four warps from shared memory.
const HOPPER: u32 = 90;

/// Steps of k that a part of a divided sum has at least.
const LONG: usize = 256;

/// `C = act(A B + bias)`, times a factor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    /// How tensors are stored.
    pub storage: DType,
    pub layout: Layout,
    /// Rows of C, of each batch.
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Param,
    pub b: Param,
    pub c: Param,
    /// So many products whose operands lie one behind the other.
    pub batches: usize,
    /// Add to C instead.
    pub add: bool,
    pub bias: Param,
    pub activation: Option<Activation>,
    /// Where the derivative of the activation goes, as C; may be [`Param::NULL`].
    pub slope: Param,
    /// A factor of the result, as C; may be [`Param::NULL`].
    pub times: Param,
    pub image: Option<Image>,
    /// With [`Layout::Tn`]: sums of A along k, `[m]`, and whether they are added to.
    pub a_sums: Option<(Param, bool)>,
    /// Of [`Product::scratch`] bytes, if those are not 0.
    pub scratch: Param,
}

/// As `Product` in product.cuh.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    a: Param,
    b: Param,
    bias: Param,
    times: Param,
    c: Param,
    c_slope: Param,
    sums: Param,
    a_sums: Param,
    batches: [Param; 3],
    /// m, n, k, chunk; activation, add; image, across, down, side, channels; batches or parts of k.
    numbers: [u32; 12],
}

/// A number as the kernel takes it.
fn word(place: &str, number: usize) -> Result<u32> {
    u32::try_from(number).map_err(|_| {
        Error::new("product", "an extent exceeds 32 bits").with(place, number).help("take a smaller batch")
    })
}

/// How a product is computed.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// By tensor cores, as sm_80 has them.
    Tensor(tensor::Way),
    /// By tensor cores, as sm_90 has them.
    Hopper(hopper::Way),
    /// By the general kernel: side of a tile, and the steps of k that are summed at a time.
    General { side: usize, chunk: usize },
}

impl Way {
    fn chunk(self) -> usize {
        match self {
            Self::Tensor(way) => way.chunk,
            Self::Hopper(way) => way.chunk,
            Self::General { chunk, .. } => chunk,
        }
    }

    /// Whether sums of A are made beside the product.
    fn sums_a(self) -> bool {
        matches!(self, Self::Tensor(_) | Self::Hopper(_))
    }
}

impl Product {
    /// The bare product.
    pub fn new(storage: DType, layout: Layout, [m, n, k]: [usize; 3], [a, b, c]: [Param; 3]) -> Self {
        Self {
            storage,
            layout,
            m,
            n,
            k,
            a,
            b,
            c,
            batches: 1,
            add: false,
            bias: Param::NULL,
            activation: None,
            slope: Param::NULL,
            times: Param::NULL,
            image: None,
            a_sums: None,
            scratch: Param::NULL,
        }
    }

    /// The same operands, not yet in memory: for asking what they need.
    pub fn of(storage: DType, layout: Layout, extents: [usize; 3]) -> Self {
        Self::new(storage, layout, extents, [Param::NULL; 3])
    }

    /// Why tensor cores can't take it; `None` where they do.
    pub fn refused(&self, caps: Caps) -> Option<String> {
        if self.storage != DType::Bf16 {
            return Some(format!("tensors are stored in {}", self.storage));
        }
        tensor::refused(self, caps)
    }

    fn way(&self, caps: Caps) -> Way {
        let extents = [self.m, self.n, self.k];
        if self.refused(caps).is_none() {
            let tensor = tensor::way(self.layout, extents, self.batches, caps);
            if caps.capability == HOPPER && hopper::refused(self, caps).is_none() {
                let hopper = hopper::way(self.layout, extents, self.batches, caps);
                if hopper.cost < tensor.cost {
                    return Way::Hopper(hopper);
                }
            }
            return Way::Tensor(tensor);
        }
        let chunk = if self.layout == Layout::Tn { chunk(extents, caps) } else { self.k };
        Way::General { side: side(extents, self.batches, caps), chunk }
    }

    /// Parts of k, whose sums are added at the end.
    fn parts(&self, way: Way) -> usize {
        self.k.div_ceil(way.chunk().max(1)).max(1)
    }

    /// Bytes of the sums of parts, where there are several, before those of A's.
    fn parts_bytes(&self, way: Way) -> usize {
        match self.parts(way) {
            1 => 0,
            parts => parts * self.m * self.n * size_of::<f32>(),
        }
    }

    /// Bytes of working memory.
    pub fn scratch(&self, caps: Caps) -> usize {
        let way = self.way(caps);
        let divided = self.parts_bytes(way);
        match (self.a_sums, way) {
            (None, _) => divided,
            (Some(_), way) if way.sums_a() => divided + self.parts(way) * self.m * size_of::<f32>(),
            (Some(_), _) => divided.max(ColumnSums::scratch(self.k, self.m)),
        }
    }

    /// Launches it.
    ///
    /// # Errors
    /// The kernel does not compile, or an extent exceeds 32 bits.
    pub fn launch(&self, exec: &mut CudaExec) -> Result<()> {
        let caps = exec.caps();
        if let (DType::Bf16, Some(reason)) = (self.storage, self.refused(caps)) {
            exec.note(format!("a product without tensor cores: {reason}"));
        }
        let way = self.way(caps);
        let parts = self.parts(way);
        let times = if parts > 1 { parts } else { self.batches };
        let params = self.params(way)?;
        match way {
            Way::Hopper(_) => hopper::launch(exec, self, &params, times)?,
            Way::Tensor(tensor::Way { tile, .. }) => {
                let from_image = self.image.is_some_and(|image| image.operand != Operand::C);
                let source = if from_image { &IMAGES } else { &TENSOR };
                let kernel = Kernel::new(source, tile.entry(self.layout), self.storage);
                exec.launch_with(kernel, self.tensor_grid(tile).times(times), &params)?;
            }
            Way::General { side, .. } => {
                let tiles = self.m.div_ceil(side) * self.n.div_ceil(side);
                let kernel = Kernel::new(&GEMM, general(self.layout, side), self.storage);
                exec.launch_with(kernel, Grid::new(tiles, 256).times(times), &params)?;
            }
        }
        if parts > 1 {
            add_up(exec, self.storage, [parts, self.m * self.n], self.scratch, (self.c, self.add))?;
        }
        match (self.a_sums, way) {
            (None, _) => Ok(()),
            (Some(total), way) if way.sums_a() => add_up(exec, self.storage, [parts, self.m], params.a_sums, total),
            (Some(total), _) => self.column_sums(exec, total),
        }
    }

    fn tensor_grid(&self, tile: tensor::Tile) -> Grid {
        let tiles = self.m.div_ceil(tile.m) * self.n.div_ceil(tile.n);
        Grid::new(tiles, tile.threads).shared(tile.shared())
    }

    /// Launches kernels of another source that are named as those for tensor cores and take more than [`Params`]. k is not
    /// divided, and [`Product::refused`] must have nothing to say.
    ///
    /// # Errors
    /// As [`Product::launch`].
    pub fn launch_as<P: Pod>(
        &self,
        exec: &mut CudaExec,
        source: &'static Source,
        whole: impl FnOnce(Params) -> P,
    ) -> Result<()> {
        let way = tensor::Way {
            chunk: self.k,
            ..tensor::way(self.layout, [self.m, self.n, self.k], self.batches, exec.caps())
        };
        let params = whole(self.params(Way::Tensor(way))?);
        let kernel = Kernel::new(source, way.tile.entry(self.layout), self.storage);
        exec.launch_with(kernel, self.tensor_grid(way.tile).times(self.batches), &params)
    }

    /// Sums of A along k by a launch of their own.
    fn column_sums(&self, exec: &mut CudaExec, (sums, add): (Param, bool)) -> Result<()> {
        let Self { storage, k: rows, m: width, a: x, scratch, .. } = *self;
        ColumnSums { storage, rows, width, x, sums, add, scratch }.launch(exec)
    }

    fn params(&self, way: Way) -> Result<Params> {
        let Self { m, n, k, .. } = *self;
        let [across, down, side, channels] = match self.image {
            None => [0; 4],
            Some(Image { grid: (down, across), side, channels, .. }) => [across, down, side, channels],
        };
        let parts = self.parts(way);
        let divided = parts > 1;
        let sum_a = self.a_sums.is_some() && way.sums_a();
        Ok(Params {
            a: self.a,
            b: self.b,
            bias: self.bias,
            times: self.times,
            c: self.c,
            c_slope: self.slope,
            sums: if divided { self.scratch } else { Param::NULL },
            a_sums: if sum_a { self.scratch.after(self.parts_bytes(way)) } else { Param::NULL },
            batches: [(m * k).into(), (n * k).into(), (m * n).into()],
            numbers: [
                word("m", m)?,
                word("n", n)?,
                word("k", k)?,
                word("chunk", way.chunk())?,
                activation_number(self.activation),
                u32::from(self.add),
                image_number(self.image),
                word("patches", across)?,
                word("patches", down)?,
                word("patch", side)?,
                word("channels", channels)?,
                word("batches", if divided { parts } else { self.batches })?,
            ],
        })
    }
}

/// The general kernel of a layout and a tile.
fn general(layout: Layout, side: usize) -> &'static str {
    match (layout, side) {
        (Layout::Nt, 64) => "nt64",
        (Layout::Nt, _) => "nt128",
        (Layout::Nn, 64) => "nn64",
        (Layout::Nn, _) => "nn128",
        (Layout::Tn, 64) => "tn64",
        (Layout::Tn, _) => "tn128",
    }
}

/// Tiles that keep the processors busy.
fn busy(caps: Caps) -> usize {
    2 * usize::try_from(caps.processors).unwrap_or(1)
}

/// Side of a tile: 128 where there are then enough of them, else 64. Nothing is measured at run time: the same product
/// takes the same kernel, and gives the same bits, in every run on a GPU.
fn side([m, n, _]: [usize; 3], batches: usize, caps: Caps) -> usize {
    if m.div_ceil(128) * n.div_ceil(128) * batches >= busy(caps) { 128 } else { 64 }
}

/// Steps of k that are summed at a time: k, or a part of it where there are too few tiles.
fn chunk([m, n, k]: [usize; 3], caps: Caps) -> usize {
    let side = side([m, n, k], 1, caps);
    let tiles = m.div_ceil(side) * n.div_ceil(side);
    let parts = (busy(caps) / tiles.max(1)).min(k / LONG);
    if parts < 2 { k } else { k.div_ceil(parts).next_multiple_of(8) }
}
