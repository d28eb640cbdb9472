//! Patch embedding: a convolution whose stride is its kernel, `y[b, p] = W vec(patch p of x[b]) + bias`.
//!
//! `x` [b, c, h, w], `W` [d, c, s, s], `bias` `[d]`, `y` [b, (h/s)(w/s), d]; patches in row-major order, a patch flattened as
//! (channel, row, column). Gradients: `dx[patch] = dy W`, `dW = dy' patches`, `dbias = sum of dy`.
//! Dosovitskiy et al., "An Image is Worth 16x16 Words" (2010.11929), eq. 1.

pub mod cases;
mod cpu;
mod cuda;
mod reference;
mod wgpu;

use engine::{
    Backward, Cost, Error, Exec, Forward, Inputs, Keeps, Op, Result, Scratch, Spec, Tape, Target, Value, Work, real,
};

const NAME: &str = "patch_embed";

#[derive(Debug)]
pub(crate) struct PatchEmbed;

/// Records the patch embedding of `x` [b, c, h, w] by `weight` [d, c, s, s] and `bias` `[d]` -> [b, (h/s)(w/s), d].
///
/// # Errors
/// Channels or dtypes differ, or the image is not a whole number of patches.
pub fn patch_embed(tape: &mut Tape, x: Value, weight: Value, bias: Option<Value>) -> Result<Value> {
    let mut inputs = vec![x, weight];
    inputs.extend(bias);
    tape.record(PatchEmbed, &inputs)
}

/// Sizes of a patch embedding.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sizes {
    pub batch: usize,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub patch: usize,
    pub embed: usize,
}

impl Sizes {
    pub fn of(inputs: &[Spec]) -> Self {
        let dims = |at: usize| inputs.get(at).and_then(|spec| <[usize; 4]>::try_from(spec.dims()).ok());
        let (Some([batch, channels, height, width]), Some([embed, _, patch, _])) = (dims(0), dims(1)) else {
            return Self::default();
        };
        Self { batch, channels, height, width, patch, embed }
    }

    /// Patches along height and width.
    pub fn grid(&self) -> (usize, usize) {
        (self.height / self.patch.max(1), self.width / self.patch.max(1))
    }

    /// Patches of one image.
    pub fn patches(&self) -> usize {
        self.grid().0 * self.grid().1
    }

    /// Elements of one patch.
    pub fn patch_elements(&self) -> usize {
        self.channels * self.patch * self.patch
    }
}

impl Op for PatchEmbed {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, inputs: &[Spec]) -> Result<Spec> {
        let [x, weight, ..] = inputs else {
            return Err(Error::new(NAME, "takes two or three inputs").with("inputs", inputs.len()));
        };
        let mut error = Error::new(NAME, "the shapes do not fit").with("x", x).with("weight", weight);
        let [batch, channels, height, width] = x.array(NAME, "x")?;
        let [embed, inner, rows, columns] = weight.array(NAME, "weight")?;
        let mut fits =
            x.dtype.is_float() && x.dtype == weight.dtype && channels == inner && rows == columns && rows > 0;
        fits = fits && height % rows == 0 && width % rows == 0;
        if let Some(bias) = inputs.get(2) {
            error = error.with("bias", bias);
            fits &= bias.dims() == [embed] && bias.dtype == x.dtype;
        }
        if !fits {
            return Err(error.help("x is [b, c, h, w] with h and w multiples of s, weight [d, c, s, s], bias [d]"));
        }
        Spec::new(x.dtype, &[batch, (height / rows) * (width / rows), embed])
    }

    fn differentiable(&self, inputs: &[Spec]) -> Inputs {
        Inputs::first(inputs.len())
    }

    fn keeps(&self, _inputs: &[Spec], wanted: Inputs) -> Result<Keeps> {
        let inputs = Inputs::NONE.and_if(wanted.has(1), 0).and_if(wanted.has(0), 1);
        Ok(Keeps { inputs, ..Keeps::default() })
    }

    fn scratch(&self, inputs: &[Spec], wanted: Inputs, target: Target) -> Scratch {
        match target {
            Target::Cpu { workers } => cpu::scratch(inputs, wanted, workers),
            Target::Cuda(caps) => cuda::scratch(inputs, wanted, caps),
            Target::Wgpu(caps) => wgpu::scratch(inputs, wanted, caps),
        }
    }

    fn cost(&self, inputs: &[Spec], wanted: Inputs) -> Cost {
        let sizes = Sizes::of(inputs);
        let bytes: usize = inputs.iter().map(Spec::bytes).sum();
        let product = 2 * sizes.batch * sizes.patches() * sizes.patch_elements() * sizes.embed;
        let gradients = usize::from(wanted.has(0)) + usize::from(wanted.has(1));
        Cost { forward: Work::new(product, bytes), backward: Work::new(gradients * product, gradients * bytes) }
    }

    fn forward(&self, exec: &mut Exec, io: Forward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.output.spec().dtype, NAME, T => cpu::forward::<T>(io)),
            Exec::Cuda(exec) => cuda::forward(exec, &io),
            Exec::Wgpu(exec) => wgpu::forward(exec, &io),
        }
    }

    fn backward(&self, exec: &mut Exec, io: Backward) -> Result<()> {
        match exec {
            Exec::Cpu(_) => real!(io.d_output.spec().dtype, NAME, T => cpu::backward::<T>(io)),
            Exec::Cuda(exec) => cuda::backward(exec, &io),
            Exec::Wgpu(exec) => wgpu::backward(exec, &io),
        }
    }
}
