//! The same model for another image size, patch, number of channels or set of classes.

use engine::{Error, Result, Tensor};

use crate::config::VitConfig;
use crate::init;
use crate::weights::Loaded;

/// Brings weights to another image size, patch and number of channels.
///
/// Position embeddings are resampled ([`resample_positions`]), patch kernels summed over blocks ([`shrink_patch`]), channels folded
/// or repeated ([`change_channels`]). What no parameter depends on (activation, eps, drop-path, stochastic layer, normalisation)
/// is taken from `target`.
///
/// # Errors
/// `target` is not valid, differs in anything else, or has a patch that does not divide the present one. One error lists all
/// differing fields.
pub fn adapt(mut loaded: Loaded, target: &VitConfig) -> Result<Loaded> {
    target.validate()?;
    same_architecture(&loaded.config, target)?;
    let from = loaded.config.clone();
    let prefix = from.positions().saturating_sub(from.patches());
    for (name, tensor) in &mut loaded.tensors {
        let adapted = match name.as_str() {
            "pos_embed" if from.grid() != target.grid() => {
                resample_positions(tensor, prefix, from.grid(), target.grid())?
            }
            "patch_embed.proj.weight" => {
                let kernel = if from.channels == target.channels {
                    None
                } else {
                    Some(change_channels(tensor, target.channels)?)
                };
                let kernel = kernel.as_ref().unwrap_or(tensor);
                if from.patch == target.patch { kernel.clone() } else { shrink_patch(kernel, target.patch)? }
            }
            _ => continue,
        };
        *tensor = adapted;
    }
    loaded.config = target.clone();
    Ok(loaded)
}

fn same_architecture(from: &VitConfig, to: &VitConfig) -> Result<()> {
    let fields = |config: &VitConfig| {
        [
            ("width", config.width.to_string()),
            ("depth", config.depth.to_string()),
            ("heads", config.heads.to_string()),
            ("head_width", config.head_width.to_string()),
            ("mlp_width", config.mlp_width.to_string()),
            ("classes", config.classes.to_string()),
            ("qkv_bias", config.qkv_bias.to_string()),
            ("layer_scale", config.layer_scale.to_string()),
            ("class_token", config.class_token.to_string()),
            ("distilled", config.distilled.to_string()),
            ("register_tokens", config.register_tokens.to_string()),
            ("no_embed_class", config.no_embed_class.to_string()),
            ("pool", format!("{:?}", config.pool)),
        ]
    };
    let different: Vec<_> = fields(from).into_iter().zip(fields(to)).filter(|(a, b)| a != b).collect();
    if different.is_empty() {
        return Ok(());
    }
    let error = Error::new("adapt", "only image, patch and channels can be adapted")
        .help("another number of classes needs a fresh head");
    Err(different.into_iter().fold(error, |error, ((field, a), (_, b))| error.with(field, format!("{a}, wanted {b}"))))
}

/// Checks that a head fits the data.
///
/// # Errors
/// The numbers of classes differ: the message names both and `data`.
pub fn check_classes(config: &VitConfig, classes: usize, data: &str) -> Result<()> {
    if config.classes == classes {
        return Ok(());
    }
    Err(Error::new("head", "the model's head and the data have different numbers of classes")
        .with("head", format!("{} classes", config.classes))
        .with(data, format!("{classes} classes"))
        .help("ask for a fresh head to finetune on these classes"))
}

/// Cuts the model off after its first `blocks` blocks: norm and head then read the tokens there.
///
/// # Errors
/// `blocks` is 0 or more than the model has.
pub fn truncate(mut loaded: Loaded, blocks: usize) -> Result<Loaded> {
    if blocks == 0 || blocks > loaded.config.depth {
        return Err(Error::new("truncate", "the model does not have so many blocks")
            .with("blocks", blocks)
            .with("depth", loaded.config.depth)
            .help("--blocks takes 1 to the model's depth"));
    }
    let cut: Vec<String> = (blocks..loaded.config.depth).map(|block| format!("blocks.{block}.")).collect();
    loaded.tensors.retain(|(name, _)| !cut.iter().any(|prefix| name.starts_with(prefix)));
    loaded.config.depth = blocks;
    Ok(loaded)
}

/// Replaces the head (both heads of a distilled model) by a fresh one: weights N(0, 0.02^2) from `seed`, biases 0.
///
/// # Errors
/// `classes` is out of range.
pub fn adapt_head(mut loaded: Loaded, classes: usize, seed: u64) -> Result<Loaded> {
    let config = VitConfig { classes, ..loaded.config };
    config.validate()?;
    let is_head = |name: &str| name.starts_with("head.") || name.starts_with("head_dist.");
    loaded.tensors.retain(|(name, _)| !is_head(name));
    // Heads come last in timm's order.
    for (name, dims) in config.parameters().into_iter().filter(|(name, _)| is_head(name)) {
        let tensor = init::parameter(&config, &name, &dims, seed)?;
        loaded.tensors.push((name, tensor));
    }
    loaded.config = config;
    Ok(loaded)
}

/// Resamples a position embedding `[1, prefix + h w, d]` to another grid: bicubic, antialiased, as timm's
/// `resample_abs_pos_embed` does when a checkpoint is loaded. Rows of prefix tokens are kept.
///
/// # Errors
/// The tensor is not f32 of that shape.
pub fn resample_positions(tensor: &Tensor, prefix: usize, from: [usize; 2], to: [usize; 2]) -> Result<Tensor> {
    let [one, rows, width] = tensor.spec().array("resample_positions", "pos_embed")?;
    if one != 1 || rows != prefix + from[0] * from[1] || to.contains(&0) || from.contains(&0) {
        return Err(Error::new("resample_positions", "the embedding does not fit the grids")
            .with("pos_embed", tensor.spec())
            .with("prefix tokens", prefix)
            .with("grids", format!("{from:?} to {to:?}")));
    }
    let (kept, grid) = tensor.values::<f32>()?.split_at(prefix * width);
    let wide: Vec<f64> = grid.iter().map(|value| f64::from(*value)).collect();
    // Columns first, then rows, as torch does; the order only moves rounding.
    let columns = resample_axis(&wide, from[0], width, &taps(from[1], to[1]), from[1]); // [h, to w, d]
    let grid = resample_axis(&columns, 1, to[1] * width, &taps(from[0], to[0]), from[0]); // [to h, to w, d]
    #[expect(clippy::cast_possible_truncation, reason = "rounded to f32 once")]
    let values: Vec<f32> = kept.iter().copied().chain(grid.into_iter().map(|value| value as f32)).collect();
    Tensor::new(&[1, prefix + to[0] * to[1], width], &values)
}

/// For each output position: the first input position and the weights from there on.
fn taps(from: usize, to: usize) -> Vec<(usize, Vec<f64>)> {
    #[expect(clippy::cast_precision_loss, reason = "grids are small")]
    let scale = from as f64 / to as f64;
    // When shrinking, the kernel widens with the step: that is the antialiasing.
    let stretch = scale.max(1.0);
    let support = 2.0 * stretch;
    (0..to)
        .map(|i| {
            #[expect(clippy::cast_precision_loss, reason = "grids are small")]
            let centre = scale * (i as f64 + 0.5);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and small")]
            let (first, end) =
                ((centre - support + 0.5).max(0.0) as usize, ((centre + support + 0.5) as usize).min(from));
            #[expect(clippy::cast_precision_loss, reason = "grids are small")]
            let mut weights: Vec<f64> = (first..end).map(|j| cubic((j as f64 + 0.5 - centre) / stretch)).collect();
            let sum: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= sum);
            (first, weights)
        })
        .collect()
}

/// Keys' cubic convolution kernel with a = -1/2, what torch's antialiased bicubic uses (without antialiasing it uses -3/4).
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

/// Resamples the middle axis of `[outer, from, inner]`.
fn resample_axis(values: &[f64], outer: usize, inner: usize, taps: &[(usize, Vec<f64>)], from: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(outer * taps.len() * inner);
    for block in values.chunks(from * inner) {
        for (first, weights) in taps {
            let mut sum = vec![0.0; inner];
            for (row, weight) in block.chunks(inner).skip(*first).zip(weights) {
                sum.iter_mut().zip(row).for_each(|(total, value)| *total += weight * value);
            }
            out.extend(sum);
        }
    }
    out
}

/// Sums the blocks of a patch kernel `[d, c, p, p]` so that `[d, c, patch, patch]` remains (Mo et al., arXiv 2210.07540).
///
/// On an image the result gives what the original gives on the image enlarged `p / patch` times by nearest neighbour.
///
/// # Errors
/// The tensor is not such a kernel in f32, or `patch` does not divide its side.
pub fn shrink_patch(kernel: &Tensor, patch: usize) -> Result<Tensor> {
    let [d, c, p, wide] = kernel.spec().array("shrink_patch", "patch kernel")?;
    if patch == 0 || p != wide || !p.is_multiple_of(patch) {
        return Err(Error::new("patch", "a patch kernel can only be cut into equal blocks")
            .with("kernel", kernel.spec())
            .with("patch", patch)
            .help(format!("choose a patch that divides {p}")));
    }
    let factor = p / patch;
    let mut sums = vec![0.0_f64; d * c * patch * patch];
    for (row, values) in kernel.values::<f32>()?.chunks(p).enumerate() {
        let (plane, y) = (row / p, row % p);
        let start = (plane * patch + y / factor) * patch;
        for (sum, block) in sums.iter_mut().skip(start).zip(values.chunks(factor)) {
            *sum += block.iter().map(|value| f64::from(*value)).sum::<f64>();
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "rounded to f32 once")]
    let values: Vec<f32> = sums.into_iter().map(|sum| sum as f32).collect();
    Tensor::new(&[d, c, patch, patch], &values)
}

/// Fits a patch kernel `[d, c, p, p]` to another number of channels, as timm's `adapt_input_conv`: the channels' sum for one
/// channel, else the channels in turn, scaled by `c / channels`.
///
/// An image whose channels are all equal then gives the same result as before.
///
/// # Errors
/// The tensor is not such a kernel in f32, or `channels` is 0.
pub fn change_channels(kernel: &Tensor, channels: usize) -> Result<Tensor> {
    let [d, c, p, wide] = kernel.spec().array("change_channels", "patch kernel")?;
    if channels == 0 || c == 0 {
        return Err(Error::new("channels", "must be at least 1").with("from", c).with("to", channels));
    }
    let plane = p * wide;
    #[expect(clippy::cast_precision_loss, reason = "channels are few")]
    let scale = c as f32 / channels as f32;
    let mut values = Vec::with_capacity(d * channels * plane);
    for filter in kernel.values::<f32>()?.chunks(c * plane) {
        if channels == 1 {
            values.extend((0..plane).map(|i| filter.iter().skip(i).step_by(plane).sum::<f32>()));
        } else {
            values.extend(filter.chunks(plane).cycle().take(channels).flatten().map(|value| value * scale));
        }
    }
    Tensor::new(&[d, channels, p, wide], &values)
}
