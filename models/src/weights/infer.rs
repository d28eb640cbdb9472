//! A configuration from the shapes in a file.

use std::collections::BTreeMap;

use engine::{Error, Result};

use super::hints::Hints;
use super::{Layout, LoadOptions, Source};
use crate::config::{Activation, Normalisation, Pool, VitConfig};

/// More channels than any image has: a header may claim anything.
const MOST_CHANNELS: usize = 4096;

/// A file's tensors seen under timm's names.
pub(super) struct View<'a> {
    pub(super) source: &'a Source,
    pub(super) layout: Layout,
    /// Stripped name to name in the file.
    pub(super) names: BTreeMap<String, String>,
}

impl<'a> View<'a> {
    pub(super) fn new(source: &'a Source) -> Result<Self> {
        let (layout, names) = Layout::detect(&source.names()).map_err(|error| error.within(source.place()))?;
        Ok(Self { source, layout, names })
    }

    /// The stripped names that make up a timm parameter, if the file has them all.
    pub(super) fn parts(&self, timm: &str) -> Option<Vec<String>> {
        self.layout.alternatives(timm).into_iter().find(|parts| parts.iter().all(|part| self.names.contains_key(part)))
    }

    /// Dimensions in the file by stripped name.
    pub(super) fn part_dims(&self, part: &str) -> Option<&[usize]> {
        self.source.dims(self.names.get(part)?)
    }

    /// Dimensions of a timm parameter; those of stacked parts add up.
    pub(super) fn dims(&self, timm: &str) -> Option<Vec<usize>> {
        let parts = self.parts(timm)?;
        let mut dims = self.part_dims(parts.first()?)?.to_vec();
        for part in parts.iter().skip(1) {
            let rows = self.part_dims(part)?.first()?;
            let first = dims.first_mut()?;
            *first = first.checked_add(*rows)?;
        }
        Some(dims)
    }

    fn has(&self, timm: &str) -> bool {
        self.parts(timm).is_some()
    }

    /// One more than the highest block number.
    fn depth(&self) -> usize {
        let prefixes = self.layout.block_prefixes();
        let number = |name: &String| {
            let rest = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix))?;
            rest.split_once('.')?.0.parse::<usize>().ok()
        };
        // A wild number would list endless missing tensors: no more blocks than tensors.
        self.names
            .keys()
            .filter_map(number)
            .filter(|number| *number < self.names.len())
            .max()
            .map_or(0, |last| last + 1)
    }
}

/// What shapes say, what the hints add, and what had to be assumed.
pub(super) fn infer(view: &View, options: &LoadOptions, assumed: &mut Vec<String>) -> Result<VitConfig> {
    let place = view.source.place();
    let [position_dims, qkv, fc1, patch_weight] = essentials(view)?;
    let rank2 = |name: &str, dims: &[usize]| match dims {
        [rows, columns] => Ok([*rows, *columns]),
        _ => {
            Err(Error::new(place.as_str(), "a linear weight must have two dimensions").with(name, format!("{dims:?}")))
        }
    };
    let [qkv_rows, width] = rank2("blocks.0.attn.qkv.weight", &qkv)?;
    let [mlp_width, _] = rank2("blocks.0.mlp.fc1.weight", &fc1)?;
    let hints = Hints::gather(options, view.source.folder(), width)?;
    let (channels, patch) = patch_geometry(view, &patch_weight, hints.channels)?;

    let class_token = view.has("cls_token");
    let pool = if view.has("fc_norm.weight") { Pool::Mean } else { Pool::Token };
    if pool == Pool::Token && !class_token {
        return Err(Error::new(place, "no class token, and no fc_norm to follow mean pooling")
            .help("models that normalise before they pool are not supported"));
    }
    let distilled = view.has("dist_token") && (view.layout == Layout::Timm || view.has("head_dist.weight"));
    let register_tokens = if distilled { 0 } else { view.dims("reg_token").map_or(0, |dims| rows(&dims)) };
    let prefix = register_tokens.saturating_add(usize::from(class_token) + usize::from(distilled));
    let (image, no_embed_class) = image_size(&place, rows(&position_dims), prefix, patch, options.image, &hints)?;

    let (heads, head_width) = heads_of(&place, qkv_rows, view.layout, hints.heads, assumed)?;
    let layer_scale = view.has("blocks.0.ls1.gamma");
    let config = VitConfig {
        image,
        channels,
        patch,
        width,
        depth: view.depth(),
        heads,
        head_width,
        mlp_width,
        classes: view.dims("head.weight").and_then(|dims| dims.first().copied()).unwrap_or(0),
        activation: hints.activation.unwrap_or_else(|| assumed_activation(view.layout, assumed)),
        qkv_bias: view.has("blocks.0.attn.qkv.bias"),
        norm_eps: hints.norm_eps.unwrap_or_else(|| assumed_eps(view.layout, assumed)),
        layer_scale,
        class_token,
        distilled,
        register_tokens,
        no_embed_class,
        pool,
        drop_path: 0.0,
        stochastic: None,
        normalisation: match (&options.normalise, hints.normalisation.as_ref()) {
            (Some(text), _) => Normalisation::parse(text, channels)?,
            (None, Some(known)) if known.mean.len() == channels => known.clone(),
            _ => assumed_normalisation(view, channels, distilled || (layer_scale && no_embed_class), assumed),
        },
    };
    if let Some(named) = &hints.named {
        agree(&place, options.model.as_deref().unwrap_or_default(), named, &config)?;
    }
    config.validate().map_err(|error| error.within(&place))?;
    Ok(config)
}

/// Dimensions without which nothing can be told.
fn essentials(view: &View) -> Result<[Vec<usize>; 4]> {
    let names = ["pos_embed", "blocks.0.attn.qkv.weight", "blocks.0.mlp.fc1.weight", "patch_embed.proj.weight"];
    let found = names.map(|name| view.dims(name));
    if let [Some(position), Some(qkv), Some(fc1), Some(patch)] = found {
        return Ok([position, qkv, fc1, patch]);
    }
    let mut error =
        Error::new(view.source.place(), "tensors are missing without which the model's shape can't be told");
    for (name, dims) in names.iter().zip(&found) {
        if dims.is_none() {
            let expected = view.layout.alternatives(name).into_iter().next().unwrap_or_default().join(", ");
            error = error.with("missing", expected);
        }
    }
    Err(error.with("naming", format!("{:?}", view.layout)))
}

/// The last but one dimension: tokens of `[1, n, d]` or `[n, d]`.
fn rows(dims: &[usize]) -> usize {
    dims.len().checked_sub(2).and_then(|at| dims.get(at)).copied().unwrap_or(0)
}

/// Channels and patch side from `[d, c, p, p]`, or from `[d, c p p]` with the channels given or guessed as 3 or 1.
fn patch_geometry(view: &View, dims: &[usize], channels: Option<usize>) -> Result<(usize, usize)> {
    let refuse = |problem: &str| Error::new(view.source.place(), problem).with("patch embedding", format!("{dims:?}"));
    match dims {
        [_, channels @ 1..=MOST_CHANNELS, high, wide] if high == wide && *high > 0 => Ok((*channels, *high)),
        [_, columns] => {
            let candidates = channels.map_or_else(|| vec![3, 1], |channels| vec![channels.min(MOST_CHANNELS)]);
            let side = |channels: usize| {
                let area = columns.checked_div(channels).filter(|area| area * channels == *columns)?;
                square_root(area).map(|side| (channels, side))
            };
            candidates
                .into_iter()
                .find_map(side)
                .ok_or_else(|| refuse("no square patch of so many values").help("give the number of channels"))
        }
        [_] => Err(refuse("a LayerNorm stands before the patch embedding (newer vit-pytorch): not supported")),
        _ => Err(refuse("the patch embedding must be [width, channels, patch, patch] or [width, values]")),
    }
}

fn square_root(value: usize) -> Option<usize> {
    let root = value.isqrt();
    (root > 0 && root * root == value).then_some(root)
}

/// Image size, and whether the position embedding leaves out the prefix tokens.
fn image_size(
    place: &str,
    positions: usize,
    prefix: usize,
    patch: usize,
    given: Option<[usize; 2]>,
    hints: &Hints,
) -> Result<([usize; 2], bool)> {
    let orders = if hints.no_embed_class { [0, prefix] } else { [prefix, 0] };
    for covered in orders {
        let Some(patches) = positions.checked_sub(covered) else { continue };
        let no_embed_class = covered == 0 && prefix > 0;
        let fits = |size: &[usize; 2]| (size[0] / patch).checked_mul(size[1] / patch) == Some(patches);
        let square = square_root(patches).and_then(|side| side.checked_mul(patch)).map(|side| [side, side]);
        // What the caller says must hold; a configuration beside the weights only helps where the grid isn't square.
        let size = if given.is_some() { given.filter(fits) } else { square.or(hints.image.filter(fits)) };
        if let Some(size) = size {
            return Ok((size, no_embed_class));
        }
    }
    let error = Error::new(place, "the position embedding fits no image")
        .with("positions", positions)
        .with("prefix tokens", prefix)
        .with("patch", patch);
    Err(match given {
        Some(size) => {
            error.with("image", format!("{size:?}")).help("give the size that the file was trained at, then adapt")
        }
        None => error.help("the grid isn't square: give the image's height and width"),
    })
}

/// Heads and their width: those given, else heads of 64.
fn heads_of(
    place: &str,
    qkv_rows: usize,
    layout: Layout,
    given: Option<usize>,
    assumed: &mut Vec<String>,
) -> Result<(usize, usize)> {
    let inner = qkv_rows / 3;
    let refuse = |problem: &str| {
        Error::new(place, problem)
            .with("rows of the qkv weight", qkv_rows)
            .help("give the number of heads, or a model name")
    };
    if !qkv_rows.is_multiple_of(3) {
        return Err(refuse("the qkv weight's rows are not three equal parts"));
    }
    let heads = match given {
        Some(heads) => heads,
        None if inner.is_multiple_of(64) => {
            assumed.push(format!("{} heads of width 64 ({layout:?} weights don't name their heads)", inner / 64));
            inner / 64
        }
        None => return Err(refuse("the number of heads can't be told: not a multiple of 64")),
    };
    match inner.checked_div(heads) {
        Some(width) if width * heads == inner => Ok((heads, width)),
        _ => Err(refuse("the heads don't divide the qkv weight").with("heads", heads)),
    }
}

fn assumed_activation(layout: Layout, assumed: &mut Vec<String>) -> Activation {
    if layout == Layout::VitPytorch {
        assumed.push("activation gelu (weights don't tell; some vit-pytorch models use relu)".to_owned());
    }
    Activation::Gelu
}

fn assumed_eps(layout: Layout, assumed: &mut Vec<String>) -> f64 {
    let eps = match layout {
        Layout::Timm | Layout::Torchvision => 1e-6,
        Layout::HuggingFace => 1e-12,
        Layout::VitPytorch => 1e-5,
    };
    assumed.push(format!("LayerNorm eps {eps:e}, the default of {layout:?}"));
    eps
}

fn assumed_normalisation(view: &View, channels: usize, is_deit: bool, assumed: &mut Vec<String>) -> Normalisation {
    let is_deit = is_deit || view.names.values().any(|name| name.contains("deit."));
    let (normalisation, name) = match view.layout {
        _ if channels != 3 => (Normalisation::none(channels), "none"),
        Layout::VitPytorch => (Normalisation::none(channels), "none"),
        Layout::Torchvision => (Normalisation::imagenet(), "imagenet"),
        Layout::Timm | Layout::HuggingFace if is_deit => (Normalisation::imagenet(), "imagenet"),
        Layout::Timm | Layout::HuggingFace => (Normalisation::half(channels), "half"),
    };
    assumed.push(format!("normalisation {name} (weights don't tell)"));
    normalisation
}

/// A model name must fit the file in everything that only retraining changes.
fn agree(place: &str, name: &str, known: &VitConfig, found: &VitConfig) -> Result<()> {
    let sizes = |config: &VitConfig| {
        [
            ("width", config.width),
            ("depth", config.depth),
            ("mlp_width", config.mlp_width),
            ("distilled", usize::from(config.distilled)),
            ("layer_scale", usize::from(config.layer_scale)),
            ("register_tokens", config.register_tokens),
        ]
    };
    let different: Vec<_> = sizes(known).into_iter().zip(sizes(found)).filter(|(a, b)| a != b).collect();
    if different.is_empty() {
        return Ok(());
    }
    let error = Error::new(place, format!("the weights are not those of {name}"))
        .help("leave the model name out to go by the shapes alone");
    Err(different
        .into_iter()
        .fold(error, |error, ((field, a), (_, b))| error.with(field, format!("{a} in {name}, {b} in the file"))))
}
