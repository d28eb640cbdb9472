//! Gradient inversion: an image from the gradient of a training step on it alone.
//!
//! **In closed form** ([`analytic`]): token p enters as `W x_p + b + pos_p`, so with one image in the batch the gradient of
//! `pos_p` *is* the gradient `g_p` of the token, and the gradient of `W` is `Σ g_p x_pᵀ`: a linear system for the patches
//! `x_p`, exact while there are no more patches than the width. It follows APRIL (2112.14087), which reads the tokens from the
//! first attention layer's gradients in the same way; the patch embedding's need no assumption about what lies between
//! (LayerNorm, residual branch), and give pixels at once.
//!
//! **By descent** ([`Leak::descend`]; "Inverting Gradients", 2003.14053): cosine distance of parameter gradients plus total
//! variation. With `c` the derivative of the distance to the gradient `g(x)`, its derivative to the image is
//! `∂/∂x <c, ∂L/∂θ>`, a mixed second derivative, taken by central differences along c in the *parameters*:
//! `(∂L/∂x(θ + h c) - ∂L/∂x(θ - h c)) / 2h`, two ordinary backward passes.

use engine::{DType, Device, Error, Plan, Result, Store, Tape, Tensor, Value, Var};
use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{Mat, MatRef, Par};
use kernels::cross_entropy::cross_entropy_labels;
use models::vit::Run;
use models::{Vit, VitConfig};
use serde::Serialize;

use super::descent::{Descent, Images};

/// Gradients of one model's loss on one image.
pub struct Leak {
    store: Store,
    model: Vit,
    dtype: DType,
    images: Var,
    labels: Var,
    /// The parameters as they are, in their flat layout.
    weights: Vec<f64>,
    to_params: (Plan, Value),
    to_image: (Plan, Value),
}

/// An image found in closed form.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Analytic {
    /// [c, h, w], clipped to [0, 1].
    #[serde(skip)]
    pub image: Vec<f32>,
    /// Patches of the image.
    pub patches: usize,
    /// Independent ones among the tokens' gradients: the image is exact if they are as many.
    pub rank: usize,
    /// Largest over smallest singular value that counts: how much rounding of the gradients grows.
    pub condition: f64,
}

/// An image found by descent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Descended {
    /// [c, h, w] in [0, 1].
    #[serde(skip)]
    pub image: Vec<f32>,
    /// Cosine distance of gradients before each step.
    pub distances: Vec<f64>,
}

impl Leak {
    /// Plans for `config`; `dtype` is f32, or f64 on the CPU for checks.
    ///
    /// # Errors
    /// The tensors do not fit, or out of memory.
    pub fn new(device: &Device, config: &VitConfig, tensors: &[(String, Tensor)], dtype: DType) -> Result<Self> {
        let mut store = Store::new(device.clone())?;
        let model = Vit::new(&mut store, "params", config.clone(), tensors, dtype)?;
        let images = store.data_var("images", dtype, &[1, config.channels, config.image[0], config.image[1]])?;
        let labels = store.data_var("labels", DType::I32, &[1])?;
        let mut record = |params: bool| {
            let mut tape = Tape::new();
            let (x, y) = (tape.var(&store, images)?, tape.var(&store, labels)?);
            let logits = model.forward(&mut tape, &store, x, &Run::default())?.logits;
            let loss = cross_entropy_labels(&mut tape, logits, y, 0.0)?;
            let gradient = if params {
                tape.backward(loss, None, &[], &[(&store, model.params())])?.groups.first().copied()
            } else {
                tape.gradients(loss, &[x])?.first().copied()
            };
            let gradient = gradient.ok_or_else(|| Error::new("gradient inversion", "no gradient"))?;
            Ok((tape.plan(&mut store, &[gradient])?, gradient))
        };
        let (to_params, to_image) = (record(true)?, record(false)?);
        let weights = store.read(store.flat(model.params()))?.to_f64();
        Ok(Self { store, model, dtype, images, labels, weights, to_params, to_image })
    }

    fn write(&mut self, var: Var, values: &[f64]) -> Result<()> {
        let tensor = Tensor::new(self.store.spec(var)?.shape.dims(), values)?;
        let tensor = if self.dtype == DType::F64 { tensor } else { tensor.cast::<f32>()? };
        self.store.write(var, &tensor)
    }

    /// Gradient of the cross-entropy to all parameters, in their flat layout.
    ///
    /// # Errors
    /// The image has another size, or the device failed.
    pub fn parameters(&mut self, image: &[f64], label: i32) -> Result<Vec<f64>> {
        self.write(self.images, image)?;
        self.store.write_values(self.labels, &[label])?;
        self.to_params.0.replay(&mut self.store)?;
        Ok(self.to_params.0.read(&self.store, self.to_params.1)?.to_f64())
    }

    /// The part of a flat gradient that belongs to a parameter.
    ///
    /// # Errors
    /// There is no such parameter.
    pub fn part<'a>(&self, gradient: &'a [f64], name: &str) -> Result<&'a [f64]> {
        let elements = self.store.elements(self.model.params())?;
        let found = elements.iter().find(|(other, ..)| *other == name);
        let part = found.and_then(|(_, start, spec)| gradient.get(*start..start + spec.elements()));
        part.ok_or_else(|| Error::new("gradient inversion", "the gradient lacks a parameter").with("parameter", name))
    }

    /// The label of the one image: only its logit's gradient, p - 1, is below 0.
    ///
    /// # Errors
    /// The model has no head.
    pub fn label(&self, gradient: &[f64]) -> Result<i32> {
        let bias = self.part(gradient, "head.bias")?;
        let least = bias.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(class, _)| class);
        i32::try_from(least).map_err(|_| Error::new("gradient inversion", "too many classes"))
    }

    /// The image from the gradient of the position embedding and the patch embedding.
    ///
    /// # Errors
    /// As [`analytic`].
    pub fn analytic(&self, gradient: &[f64]) -> Result<Analytic> {
        let position = self.part(gradient, "pos_embed")?;
        let weight = self.part(gradient, "patch_embed.proj.weight")?;
        analytic(self.model.config(), position, weight)
    }

    /// Derivative to the image of `<direction, ∂L/∂θ>`, by central differences over parameters that move by `relative` times
    /// their own length.
    ///
    /// # Errors
    /// The sizes do not match, or the device failed.
    pub fn mixed(&mut self, image: &[f64], label: i32, direction: &[f64], relative: f64) -> Result<Vec<f64>> {
        let length = norm(direction);
        if length == 0.0 {
            return Ok(vec![0.0; image.len()]);
        }
        let step = relative * norm(&self.weights) / length;
        self.write(self.images, image)?;
        self.store.write_values(self.labels, &[label])?;
        let params = self.store.flat(self.model.params());
        let mut sides = Vec::new();
        for side in [step, -step] {
            let moved: Vec<f64> = self.weights.iter().zip(direction).map(|(w, c)| w + side * c).collect();
            self.write(params, &moved)?;
            self.to_image.0.replay(&mut self.store)?;
            sides.push(self.to_image.0.read(&self.store, self.to_image.1)?.to_f64());
        }
        let weights = std::mem::take(&mut self.weights);
        let written = self.write(params, &weights);
        self.weights = weights;
        written?;
        let [ahead, behind] = sides.as_slice() else { return Err(Error::new("gradient inversion", "no gradient")) };
        Ok(ahead.iter().zip(behind).map(|(a, b)| (a - b) / (2.0 * step)).collect())
    }

    /// Finds an image whose gradient points where `leaked` does, from noise that is a function of seed and id.
    ///
    /// # Errors
    /// The device failed.
    pub fn descend(&mut self, leaked: &[f64], label: i32, seed: u64, id: u32, how: &Descent) -> Result<Descended> {
        let config = self.model.config();
        let dims = [config.channels, config.image[0], config.image[1]];
        let mut image = Images::noise(seed, &[id], dims);
        let mut distances = Vec::new();
        for _ in 0..how.steps {
            let found = self.parameters(&image.pixels, label)?;
            let (distance, direction) = cosine(&found, leaked);
            distances.push(distance);
            let gradient = self.mixed(&image.pixels, label, &direction, RELATIVE)?;
            image.step(&gradient, how);
        }
        Ok(Descended { image: image.f32(), distances })
    }
}

/// Length of the differences over that of the parameters, for f32: here truncation, which grows with its square, meets rounding.
/// On the model of the tests below, the relative error is 1e-2 at 1e-3, 1e-4 at 1e-4 and 7e-5 at 1e-5.
const RELATIVE: f64 = 1e-4;

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// `1 - <a, b> / |a||b|`, and its derivative to `a`. Where one is 0, the distance is 1 and has no derivative: 0.
fn cosine(a: &[f64], b: &[f64]) -> (f64, Vec<f64>) {
    let (length_a, length_b) = (norm(a), norm(b));
    if length_a == 0.0 || length_b == 0.0 {
        return (1.0, vec![0.0; a.len()]);
    }
    let cosine = a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / (length_a * length_b);
    let slope = |(a, b): (&f64, &f64)| (cosine * a / length_a - b / length_b) / length_a;
    (1.0 - cosine, a.iter().zip(b).map(slope).collect())
}

/// The image from gradients on it alone: of the position embedding, [positions, d], and of the patch embedding, [d, c p²].
/// Where there are more patches than independent gradients, the least-squares image of least norm.
///
/// # Errors
/// Sizes that don't match, values that aren't finite, or gradients that are all 0.
pub fn analytic(config: &VitConfig, position: &[f64], weight: &[f64]) -> Result<Analytic> {
    let (patches, d, values) = (config.patches(), config.width, config.patch_values());
    let error = |problem: &str| Error::new("gradient inversion", problem);
    if position.len() != config.positions() * d || weight.len() != d * values {
        return Err(error("the gradients do not have the model's shapes")
            .with("position embedding", position.len())
            .with("patch embedding", weight.len()));
    }
    if position.iter().chain(weight).any(|value| !value.is_finite()) {
        return Err(error("a gradient isn't finite"));
    }
    let tokens = position.get((config.positions() - patches) * d..).unwrap_or_default();
    let tokens = MatRef::from_row_major_slice(tokens, patches, d); // [p, d]
    let weight = MatRef::from_row_major_slice(weight, d, values);
    let count = patches.min(d);
    let (mut singular, mut u, mut v) = (Diag::zeros(count), Mat::zeros(patches, count), Mat::zeros(d, count));
    let (thin, par) = (ComputeSvdVectors::Thin, Par::Seq);
    let mut scratch = MemBuffer::new(svd_scratch::<f64>(patches, d, thin, thin, par, Default::default()));
    let stack = MemStack::new(&mut scratch);
    svd(tokens, singular.as_mut(), Some(u.as_mut()), Some(v.as_mut()), par, stack, Default::default())
        .map_err(|failed| error(&format!("the singular value decomposition failed: {failed:?}")))?;
    let singular: Vec<f64> = singular.column_vector().iter().copied().collect();
    let largest = singular.first().copied().unwrap_or(0.0);
    if largest == 0.0 {
        return Err(
            error("the position embedding has no gradient").help("it must be trained, and be in what is shared")
        );
    }
    let least = largest * f64::from(f32::EPSILON) * patches.max(d) as f64;
    let rank = singular.iter().filter(|&&value| value > least).count();
    // X = U S⁻¹ Vᵀ M
    let mut image = vec![0.0_f64; patches * values];
    for k in 0..rank {
        let row: Vec<f64> =
            (0..values).map(|j| (0..d).map(|i| v[(i, k)] * weight[(i, j)]).sum::<f64>() / singular[k]).collect();
        for (patch, out) in image.chunks_exact_mut(values).enumerate() {
            out.iter_mut().zip(&row).for_each(|(out, value)| *out += u[(patch, k)] * value);
        }
    }
    let condition = largest / singular.get(rank - 1).copied().unwrap_or(largest);
    Ok(Analytic { image: unpatched(config, &image), patches, rank, condition })
}

/// Patches of normalised pixels as an image [c, h, w] in [0, 1].
fn unpatched(config: &VitConfig, patches: &[f64]) -> Vec<f32> {
    let ([height, width], side) = (config.image, config.patch);
    let pixel = |at: usize| {
        let (channel, y, x) = (at / (height * width), at / width % height, at % width);
        let patch = y / side * (width / side) + x / side;
        let value = patches[patch * config.patch_values() + (channel * side + y % side) * side + x % side];
        let [mean, std] = [&config.normalisation.mean, &config.normalisation.std].map(|v| f64::from(v[channel]));
        crate::nullspace::exact::rounded((value * std + mean).clamp(0.0, 1.0))
    };
    (0..config.channels * height * width).map(pixel).collect()
}

#[cfg(test)]
mod tests {
    use models::{init, registry};

    use super::super::quality::psnr;
    use super::*;

    fn model(width: usize) -> (VitConfig, Vec<(String, Tensor)>) {
        let base = registry::lookup("vit_tiny_patch16_224").unwrap();
        let config = VitConfig {
            image: [8, 12],
            patch: 4,
            channels: 3,
            width,
            depth: 2,
            heads: 2,
            head_width: width / 2,
            mlp_width: 24,
            classes: 5,
            ..base
        };
        let tensors = init::init(&config, 9).unwrap();
        (config, tensors)
    }

    fn image(id: u32) -> Images {
        Images::noise(31, &[id], [3, 8, 12])
    }

    #[test]
    fn the_closed_form_is_the_image() {
        let (config, tensors) = model(16);
        let device = Device::cpu(Some(1)).unwrap();
        let mut leak = Leak::new(&device, &config, &tensors, DType::F32).unwrap();
        for id in 0..3 {
            let original = image(id);
            let label = i32::try_from(id).unwrap() + 1;
            let gradient = leak.parameters(&original.pixels, label).unwrap();
            assert_eq!(leak.label(&gradient).unwrap(), label);
            let found = leak.analytic(&gradient).unwrap();
            assert_eq!((found.rank, found.patches), (6, 6));
            assert!(
                psnr(&found.image, &original.f32()) > 50.0,
                "{} dB, {found:?}",
                psnr(&found.image, &original.f32())
            );
        }
    }

    #[test]
    fn more_patches_than_the_width_are_told() {
        let (config, tensors) = model(4);
        let device = Device::cpu(Some(1)).unwrap();
        let mut leak = Leak::new(&device, &config, &tensors, DType::F32).unwrap();
        let gradient = leak.parameters(&image(1).pixels, 2).unwrap();
        let found = leak.analytic(&gradient).unwrap();
        assert!(found.rank <= 4 && found.patches == 6, "{found:?}");
        let zeros = vec![0.0; gradient.len()];
        assert!(leak.analytic(&zeros).unwrap_err().to_string().contains("no gradient"));
        assert!(analytic(&config, &gradient[1..], &gradient).is_err());
    }

    /// The derivative of the cosine distance to the image: mixed differences in f32 against differences of the distance itself
    /// in f64.
    #[test]
    fn mixed_differences_are_the_derivative_of_the_distance() {
        let (config, tensors) = model(16);
        let device = Device::cpu(Some(1)).unwrap();
        let mut wide = Leak::new(&device, &config, &tensors, DType::F64).unwrap();
        let mut single = Leak::new(&device, &config, &tensors, DType::F32).unwrap();
        let leaked = wide.parameters(&image(1).pixels, 2).unwrap();
        let start = image(8);
        let found = single.parameters(&start.pixels, 2).unwrap();
        // The flat layouts of f32 and f64 differ by padding.
        let (_, direction) = cosine(&found, &single.parameters(&image(1).pixels, 2).unwrap());
        let gradient = single.mixed(&start.pixels, 2, &direction, RELATIVE).unwrap();
        let mut distance = |at: usize, step: f64| {
            let mut pixels = start.pixels.clone();
            pixels[at] += step;
            cosine(&wide.parameters(&pixels, 2).unwrap(), &leaked).0
        };
        let expected: Vec<f64> =
            (0..gradient.len()).map(|at| (distance(at, 1e-5) - distance(at, -1e-5)) / 2e-5).collect();
        let error: Vec<f64> = gradient.iter().zip(&expected).map(|(a, b)| a - b).collect();
        assert!(norm(&error) < 1e-3 * norm(&expected), "{} of {}", norm(&error), norm(&expected));
        // The parameters are what they were.
        assert_eq!(single.parameters(&start.pixels, 2).unwrap(), found);
    }

    #[test]
    fn descent_turns_the_gradient_towards_the_leaked_one() {
        let (config, tensors) = model(16);
        let device = Device::cpu(Some(1)).unwrap();
        let mut leak = Leak::new(&device, &config, &tensors, DType::F32).unwrap();
        let wave = |i: u16| {
            let (c, y, x) = (f64::from(i / 96), f64::from(i / 12 % 8), f64::from(i % 12));
            0.5 + 0.4 * (0.4 * x + 0.3 * y + c).sin()
        };
        let mut original = image(1);
        original.pixels = (0..288).map(wave).collect();
        let leaked = leak.parameters(&original.pixels, 2).unwrap();
        let how = Descent { steps: 100, lr: 0.1, tv: 0.02, signed: true, decay: true };
        let found = leak.descend(&leaked, 2, 4, 0, &how).unwrap();
        let (first, last) = (found.distances[0], found.distances[99]);
        assert!(last < 0.1 * first, "{first} {last}");
        let start = Images::noise(4, &[0], [3, 8, 12]).f32();
        let original = original.f32();
        let (before, after) = (psnr(&start, &original), psnr(&found.image, &original));
        assert!(after > before + 1.0, "{after} from {before}");
    }
}
