//! Weights in and out: safetensors in timm, Hugging Face, torchvision or vit-pytorch naming in, timm naming out.
//!
//! A model is read from its weights: shapes decide everything that shapes can, a model name or the caller adds the rest, and
//! what had to be assumed is listed in [`Loaded::assumed`]. Files that [`save`] wrote carry their configuration.

mod assemble;
mod hints;
mod infer;
mod layout;
mod source;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use engine::{DType, Error, Result, Tensor};

pub use layout::Layout;

use crate::config::{Activation, Normalisation, VitConfig};
use crate::tensor_file;
use infer::View;
use source::Source;

/// Metadata key under which the configuration lies, as JSON.
pub const CONFIG_KEY: &str = "vitrum.config";

/// What shapes can't tell. Everything is optional; what is given wins over the registry and over a file's own configuration.
#[derive(Clone, Default, Debug)]
pub struct LoadOptions {
    /// A name of [`crate::registry`]: gives heads, eps, activation and normalisation. Ignored for files of our own.
    pub model: Option<String>,
    /// Image height and width that the weights were trained at: needed where the grid of patches isn't square.
    pub image: Option<[usize; 2]>,
    /// Channels, where the patch embedding is a matrix.
    pub channels: Option<usize>,
    /// Number of heads.
    pub heads: Option<usize>,
    /// The MLP's activation.
    pub activation: Option<Activation>,
    /// LayerNorm's eps.
    pub norm_eps: Option<f64>,
    /// Normalisation as [`Normalisation::parse`] reads it.
    pub normalise: Option<String>,
}

/// A model's configuration and parameters.
#[derive(Clone, PartialEq, Debug)]
pub struct Loaded {
    /// What the model is.
    pub config: VitConfig,
    /// Every parameter, f32, under timm's names and in the order of [`VitConfig::parameters`].
    pub tensors: Vec<(String, Tensor)>,
    /// The naming that the file had.
    pub layout: Layout,
    /// What neither file nor caller said, in words: to be shown to the user.
    pub assumed: Vec<String>,
}

impl Loaded {
    /// The parameter of that timm name.
    ///
    /// # Errors
    /// The model has none.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors
            .iter()
            .find_map(|(known, tensor)| (known == name).then_some(tensor))
            .ok_or_else(|| Error::new("weights", "no such parameter").with("name", name))
    }
}

/// Reads a safetensors file, an index with shards, or a folder that holds one of them.
///
/// # Errors
/// A file that can't be read or is corrupt; names of no known layout; a shape that can't be told; or, all in one list, missing and
/// left-over tensors, wrong shapes and values that are not finite.
pub fn load(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Loaded> {
    let source = Source::open(path.as_ref())?;
    let view = View::new(&source)?;
    let mut assumed = Vec::new();
    let config = match source.metadata(CONFIG_KEY) {
        Some(text) => own(&source, text, options)?,
        None => infer::infer(&view, options, &mut assumed)?,
    };
    let tensors = assemble::assemble(&view, &config)?;
    Ok(Loaded { config, tensors, layout: view.layout, assumed })
}

/// The configuration that a file of our own carries, with what the caller overrides.
fn own(source: &Source, text: &str, options: &LoadOptions) -> Result<VitConfig> {
    let place = format!("{}: metadata {CONFIG_KEY}", source.place());
    let mut config: VitConfig = serde_json::from_str(text)
        .map_err(|error| Error::new(&place, "not a configuration of this version").with("problem", error))?;
    if let Some(heads) = options.heads.filter(|heads| *heads != config.heads) {
        return Err(Error::new(&place, "the file says another number of heads")
            .with("file", config.heads)
            .with("given", heads));
    }
    config.validate().map_err(|error| error.within(&place))?;
    config.activation = options.activation.unwrap_or(config.activation);
    config.norm_eps = options.norm_eps.unwrap_or(config.norm_eps);
    if let Some(text) = &options.normalise {
        config.normalisation = Normalisation::parse(text, config.channels)?;
    }
    config.validate().map_err(|error| error.within(&place))?;
    Ok(config)
}

/// Writes parameters in timm's naming and order, f32, with the configuration in the metadata; atomically.
///
/// # Errors
/// The tensors are not those of `config`, a value is not finite, or the file can't be written (the old one then stays).
pub fn save(path: impl AsRef<Path>, config: &VitConfig, tensors: &[(String, Tensor)]) -> Result<()> {
    let path = path.as_ref();
    let place = || path.display().to_string();
    let by_name: BTreeMap<&str, &Tensor> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let expected = config.parameters();
    let mut ordered = Vec::with_capacity(expected.len());
    let mut error = Error::new(place(), "the tensors are not those of the configuration");
    let mut problems = 0;
    for (name, dims) in &expected {
        match by_name.get(name.as_str()) {
            Some(tensor) if tensor.dims() == dims.as_slice() => ordered.push((name.as_str(), as_f32(tensor)?)),
            found => {
                problems += 1;
                let found = found.map_or_else(|| "missing".to_owned(), |tensor| tensor.spec().to_string());
                error = error.with(name.as_str(), format!("{found}, expected {dims:?}"));
            }
        }
    }
    if problems > 0 || by_name.len() != expected.len() || tensors.len() != expected.len() {
        return Err(error.with("tensors", tensors.len()).with("expected", expected.len()));
    }
    for (name, tensor) in &ordered {
        if tensor.values::<f32>()?.iter().any(|value| !value.is_finite()) {
            return Err(Error::new(place(), "refusing to write NaN or infinite weights").with("tensor", name));
        }
    }
    let config = serde_json::to_string(config).map_err(|error| Error::new(place(), error.to_string()))?;
    // "format" is what Python's readers look for.
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned()), (CONFIG_KEY.to_owned(), config)]);
    tensor_file::write(path, ordered.iter().map(|(name, tensor)| (*name, tensor.as_ref())), &metadata)
}

fn as_f32(tensor: &Tensor) -> Result<Cow<'_, Tensor>> {
    if tensor.spec().dtype == DType::F32 { Ok(Cow::Borrowed(tensor)) } else { Ok(Cow::Owned(tensor.cast::<f32>()?)) }
}
