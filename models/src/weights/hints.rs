//! What shapes can't tell, from the caller, the registry, and the `config.json` that hubs put beside weights; in this order.

use std::path::Path;

use engine::{Error, Result};
use serde_json::Value;

use super::LoadOptions;
use crate::config::{Activation, Normalisation, VitConfig};
use crate::registry;

/// What is known beside the shapes.
#[derive(Default)]
pub(super) struct Hints {
    /// The registry's entry that the caller named.
    pub(super) named: Option<VitConfig>,
    pub(super) image: Option<[usize; 2]>,
    pub(super) channels: Option<usize>,
    pub(super) heads: Option<usize>,
    pub(super) activation: Option<Activation>,
    pub(super) norm_eps: Option<f64>,
    pub(super) normalisation: Option<Normalisation>,
    /// Whether a position embedding that could be read either way leaves out the prefix tokens.
    pub(super) no_embed_class: bool,
}

impl Hints {
    /// Gathers hints for weights of token width `width` that lie in `folder`.
    ///
    /// # Errors
    /// An unknown model name, or a `config.json` of this model that asks for something unsupported.
    pub(super) fn gather(options: &LoadOptions, folder: &Path, width: usize) -> Result<Self> {
        let named = options.model.as_deref().map(registry::lookup).transpose()?;
        let beside = beside(folder, width)?;
        // A name that does not fit the file at all is reported as such, not by its first consequence.
        let known = named.clone().filter(|config| config.width == width).map(Self::of).unwrap_or_default();
        Ok(Self {
            image: options.image.or(beside.image),
            channels: options.channels.or(known.channels).or(beside.channels),
            heads: options.heads.or(known.heads).or(beside.heads),
            activation: options.activation.or(known.activation).or(beside.activation),
            norm_eps: options.norm_eps.or(known.norm_eps).or(beside.norm_eps),
            normalisation: known.normalisation.or(beside.normalisation),
            no_embed_class: known.no_embed_class || beside.no_embed_class,
            named,
        })
    }

    fn of(config: VitConfig) -> Self {
        Self {
            named: None,
            image: None,
            channels: Some(config.channels),
            heads: Some(config.heads),
            activation: Some(config.activation),
            norm_eps: Some(config.norm_eps),
            normalisation: Some(config.normalisation),
            no_embed_class: config.no_embed_class,
        }
    }
}

/// Reads timm's or Hugging Face's `config.json`. One that describes another model, or something else, says nothing.
fn beside(folder: &Path, width: usize) -> Result<Hints> {
    let path = folder.join("config.json");
    let Some(json) = read_json(&path) else { return Ok(Hints::default()) };
    if let Some(name) = json.get("architecture").and_then(Value::as_str) {
        return Ok(timm(&json, name, width));
    }
    if count(&json, "hidden_size") == Some(width) && json.get("num_attention_heads").is_some() {
        return hugging_face(&json, folder).map_err(|error| error.within(path.display()));
    }
    Ok(Hints::default())
}

fn timm(json: &Value, name: &str, width: usize) -> Hints {
    let Some(config) = registry::lookup(name).ok().filter(|config| config.width == width) else {
        return Hints::default();
    };
    let mut hints = Hints::of(config);
    if let Some(pretrained) = json.get("pretrained_cfg") {
        hints.normalisation = statistics(pretrained, "mean", "std").or(hints.normalisation);
    }
    hints
}

fn hugging_face(json: &Value, folder: &Path) -> Result<Hints> {
    let activation = match json.get("hidden_act").and_then(Value::as_str) {
        None => None,
        Some("gelu") => Some(Activation::Gelu),
        Some("relu") => Some(Activation::Relu),
        Some(other) => {
            return Err(Error::new("hidden_act", "activation not supported").with("given", other).help("gelu or relu"));
        }
    };
    let image = match json.get("image_size") {
        Some(Value::Array(sides)) => match sides.as_slice() {
            [high, wide] => size(high).zip(size(wide)).map(Into::into),
            _ => None,
        },
        Some(side) => size(side).map(|side| [side, side]),
        None => None,
    };
    let normalisation = read_json(&folder.join("preprocessor_config.json"))
        .and_then(|json| statistics(&json, "image_mean", "image_std"));
    Ok(Hints {
        image,
        channels: count(json, "num_channels"),
        heads: count(json, "num_attention_heads"),
        activation,
        norm_eps: json.get("layer_norm_eps").and_then(Value::as_f64),
        normalisation,
        ..Hints::default()
    })
}

fn read_json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn size(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

fn count(json: &Value, key: &str) -> Option<usize> {
    json.get(key).and_then(size)
}

fn statistics(json: &Value, mean: &str, std: &str) -> Option<Normalisation> {
    let list = |key: &str| serde_json::from_value::<Vec<f32>>(json.get(key)?.clone()).ok();
    Some(Normalisation { mean: list(mean)?, std: list(std)? })
}
