//! What a Vision Transformer is made of: every choice that the forward pass and the parameter list depend on.

use engine::{Error, Result};
use serde::{Deserialize, Serialize};

pub use crate::stochastic::{Distribution, Sharing, Stochastic, StochasticLayer};

/// The MLP's activation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// x times the normal distribution function, by erf and not by its tanh approximation.
    Gelu,
    /// max(x, 0).
    Relu,
}

impl std::str::FromStr for Activation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "gelu" => Ok(Self::Gelu),
            "relu" => Ok(Self::Relu),
            _ => Err(Error::new("activation", "unknown activation").with("given", text).help("one of gelu, relu")),
        }
    }
}

/// How tokens become the one vector that the head reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// The class token (and, in a distilled model, the distillation token), after `norm`.
    Token,
    /// The mean of the patch tokens without prefix tokens; then the LayerNorm, which is named `fc_norm`.
    Mean,
}

/// Per-channel mean and standard deviation that images in [0, 1] are normalised with, inside the model.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalisation {
    /// One mean per channel.
    pub mean: Vec<f32>,
    /// One standard deviation per channel.
    pub std: Vec<f32>,
}

impl Normalisation {
    /// ImageNet's statistics: three channels, RGB.
    pub fn imagenet() -> Self {
        Self { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] }
    }

    /// Mean and standard deviation 0.5: [0, 1] becomes [-1, 1].
    pub fn half(channels: usize) -> Self {
        Self { mean: vec![0.5; channels], std: vec![0.5; channels] }
    }

    /// Mean 0 and standard deviation 1: images enter as they are.
    pub fn none(channels: usize) -> Self {
        Self { mean: vec![0.0; channels], std: vec![1.0; channels] }
    }

    /// Reads `imagenet`, `half`, `none` or `MEANS/STDS` (`0.1307/0.3081`, or comma-separated values per channel; a single
    /// value serves all channels).
    ///
    /// # Errors
    /// Another text, a number of values that is neither 1 nor `channels`, a standard deviation that is not positive, or
    /// `imagenet` for other than three channels.
    pub fn parse(text: &str, channels: usize) -> Result<Self> {
        let refuse = |problem: &str| {
            Error::new("normalize", problem)
                .with("given", text)
                .with("channels", channels)
                .help("imagenet, half, none, or MEANS/STDS such as 0.1307/0.3081 or 0.5,0.5,0.5/0.2,0.2,0.2")
        };
        let parsed = match text {
            "imagenet" => Self::imagenet(),
            "half" => Self::half(channels),
            "none" => Self::none(channels),
            _ => {
                let (means, stds) =
                    text.split_once('/').ok_or_else(|| refuse("neither a known name nor MEANS/STDS"))?;
                let values = |list: &str| -> Result<Vec<f32>> {
                    let parsed: std::result::Result<Vec<f32>, _> = list.split(',').map(|v| v.trim().parse()).collect();
                    let parsed = parsed.map_err(|_| refuse("not a list of numbers"))?;
                    Ok(if let [one] = parsed.as_slice() { vec![*one; channels] } else { parsed })
                };
                Self { mean: values(means)?, std: values(stds)? }
            }
        };
        match parsed.problem(channels) {
            Some(problem) => Err(refuse(&problem)),
            None => Ok(parsed),
        }
    }

    fn problem(&self, channels: usize) -> Option<String> {
        if self.mean.len() != channels || self.std.len() != channels {
            return Some(format!(
                "{} means and {} deviations for {channels} channels",
                self.mean.len(),
                self.std.len()
            ));
        }
        let sound = self.mean.iter().all(|m| m.is_finite()) && self.std.iter().all(|s| s.is_finite() && *s > 0.0);
        (!sound).then(|| "means must be finite and deviations positive".to_owned())
    }
}

/// A Vision Transformer or DeiT (Dosovitskiy et al., arXiv 2010.11929; Touvron et al., arXiv 2012.12877 and 2204.07118).
///
/// Pre-norm blocks `x += ls1(attn(norm1(x))); x += ls2(mlp(norm2(x)))`. Tokens: class, distillation or registers, patches.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VitConfig {
    /// Image height and width in pixels.
    pub image: [usize; 2],
    /// Channels of an image.
    pub channels: usize,
    /// Side of a square patch in pixels; patches don't overlap.
    pub patch: usize,
    /// Width of a token.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads of a block.
    pub heads: usize,
    /// Width of one head's query, key and value; `heads * head_width` may differ from `width`. Scale is `head_width^-1/2`.
    pub head_width: usize,
    /// Hidden width of a block's MLP.
    pub mlp_width: usize,
    /// Number of classes; 0 for a backbone that has no head.
    pub classes: usize,
    /// The MLP's activation.
    pub activation: Activation,
    /// Whether the packed query, key and value projection has a bias.
    pub qkv_bias: bool,
    /// Added to the variance by every LayerNorm.
    pub norm_eps: f64,
    /// Whether each branch is scaled by a learned vector (`ls1.gamma`, `ls2.gamma`).
    pub layer_scale: bool,
    /// Whether a class token comes first.
    pub class_token: bool,
    /// Whether a distillation token follows the class token, with a head of its own; logits are the heads' mean.
    pub distilled: bool,
    /// Number of register tokens between class token and patches.
    pub register_tokens: usize,
    /// Whether the position embedding covers patches only (added before the prefix tokens join).
    pub no_embed_class: bool,
    /// How tokens become one vector.
    pub pool: Pool,
    /// Rate of stochastic depth at the last block; block i of n has `rate * i / (n - 1)`. Training only.
    #[serde(default)]
    pub drop_path: f32,
    /// Stochastic layer inside every MLP, if any.
    #[serde(default)]
    pub stochastic: Option<Stochastic>,
    /// Normalisation of images in [0, 1].
    pub normalisation: Normalisation,
}

impl VitConfig {
    /// Patches along height and width.
    pub fn grid(&self) -> [usize; 2] {
        self.image.map(|side| side.checked_div(self.patch).unwrap_or(0))
    }

    /// Number of patches.
    pub fn patches(&self) -> usize {
        self.grid().iter().product()
    }

    /// Tokens before the patches: class, distillation, registers.
    pub fn prefix_tokens(&self) -> usize {
        usize::from(self.class_token) + usize::from(self.distilled) + self.register_tokens
    }

    /// Tokens that the blocks see.
    pub fn tokens(&self) -> usize {
        self.prefix_tokens() + self.patches()
    }

    /// Rows of the position embedding: all tokens, or patches only under `no_embed_class`.
    pub fn positions(&self) -> usize {
        if self.no_embed_class { self.patches() } else { self.tokens() }
    }

    /// Width of the heads together: what attention's output projection reads.
    pub fn inner_width(&self) -> usize {
        self.heads * self.head_width
    }

    /// Width of the packed query, key and value projection: `3 * heads * head_width`.
    pub fn qkv_width(&self) -> usize {
        3 * self.inner_width()
    }

    /// Values of one patch: columns of the patch embedding seen as a matrix.
    pub fn patch_values(&self) -> usize {
        self.channels * self.patch * self.patch
    }

    /// Rate of stochastic depth at block `index`: linear from 0 to `drop_path`, as timm's.
    pub fn drop_path_at(&self, index: usize) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "block counts are small")]
        let fraction = index as f32 / self.depth.saturating_sub(1).max(1) as f32;
        self.drop_path * fraction
    }

    /// Name and dimensions of every parameter under timm's names, in the order of timm's `state_dict`.
    pub fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        let d = self.width;
        let mut list = Parameters(Vec::new());
        if self.class_token {
            list.add("cls_token", &[1, 1, d]);
        }
        if self.register_tokens > 0 {
            list.add("reg_token", &[1, self.register_tokens, d]);
        }
        list.add("pos_embed", &[1, self.positions(), d]);
        if self.distilled {
            list.add("dist_token", &[1, 1, d]);
        }
        list.add("patch_embed.proj.weight", &[d, self.channels, self.patch, self.patch]);
        list.add("patch_embed.proj.bias", &[d]);
        for block in 0..self.depth {
            self.block_parameters(&format!("blocks.{block}"), &mut list);
        }
        list.layer_norm(self.final_norm(), d);
        if self.classes > 0 {
            list.linear("head", self.classes, d, true);
        }
        if self.distilled && self.classes > 0 {
            list.linear("head_dist", self.classes, d, true);
        }
        list.0
    }

    fn block_parameters(&self, path: &str, list: &mut Parameters) {
        let d = self.width;
        list.layer_norm(&format!("{path}.norm1"), d);
        list.linear(&format!("{path}.attn.qkv"), self.qkv_width(), d, self.qkv_bias);
        list.linear(&format!("{path}.attn.proj"), d, self.inner_width(), true);
        if self.layer_scale {
            list.add(&format!("{path}.ls1.gamma"), &[d]);
        }
        list.layer_norm(&format!("{path}.norm2"), d);
        list.linear(&format!("{path}.mlp.fc1"), self.mlp_width, d, true);
        list.linear(&format!("{path}.mlp.fc2"), d, self.mlp_width, true);
        if self.layer_scale {
            list.add(&format!("{path}.ls2.gamma"), &[d]);
        }
    }

    /// Name of the last LayerNorm: `norm` before token pooling, `fc_norm` after mean pooling.
    pub fn final_norm(&self) -> &'static str {
        match self.pool {
            Pool::Token => "norm",
            Pool::Mean => "fc_norm",
        }
    }

    /// Number of learned values.
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|(_, dims)| dims.iter().product::<usize>()).sum()
    }

    /// Checks that the fields agree with one another.
    ///
    /// # Errors
    /// The first field that is out of range, with its value and what would do.
    pub fn validate(&self) -> Result<()> {
        let sizes = [
            ("image", self.image[0].min(self.image[1])),
            ("channels", self.channels),
            ("patch", self.patch),
            ("width", self.width),
            ("depth", self.depth),
            ("heads", self.heads),
            ("head_width", self.head_width),
            ("mlp_width", self.mlp_width),
        ];
        for (field, value) in sizes {
            if value == 0 || value > MAX_SIZE {
                return Err(refuse(field, "out of range", value).help(format!("from 1 to {MAX_SIZE}")));
            }
        }
        if self.classes > MAX_SIZE || self.register_tokens > MAX_SIZE {
            let (field, value) = if self.classes > MAX_SIZE {
                ("classes", self.classes)
            } else {
                ("register_tokens", self.register_tokens)
            };
            return Err(refuse(field, "out of range", value).help(format!("at most {MAX_SIZE}")));
        }
        if self.image.iter().any(|side| side % self.patch != 0) {
            return Err(refuse("image", "not a multiple of the patch", format!("{:?}", self.image))
                .with("patch", self.patch)
                .help("choose a patch that divides both sides"));
        }
        self.validate_tokens()?;
        self.validate_rates()?;
        match self.normalisation.problem(self.channels) {
            Some(problem) => Err(refuse("normalisation", &problem, format!("{:?}", self.normalisation))
                .help("one finite mean and one positive deviation per channel")),
            None => Ok(()),
        }
    }

    fn validate_tokens(&self) -> Result<()> {
        if self.pool == Pool::Token && !self.class_token {
            return Err(refuse("pool", "needs the class token", "token").help("set class_token, or pool = mean"));
        }
        let extras = self.register_tokens > 0 || self.no_embed_class || self.pool == Pool::Mean || !self.class_token;
        if self.distilled && extras {
            return Err(refuse("distilled", "goes with a class token and token pooling only", true)
                .with("class_token", self.class_token)
                .with("register_tokens", self.register_tokens)
                .with("no_embed_class", self.no_embed_class)
                .with("pool", format!("{:?}", self.pool))
                .help("a distilled DeiT has tokens class, distillation, patches, all of them position-embedded"));
        }
        Ok(())
    }

    fn validate_rates(&self) -> Result<()> {
        if !(self.norm_eps.is_finite() && self.norm_eps >= 0.0) {
            return Err(refuse("norm_eps", "must be finite and not negative", self.norm_eps).help("1e-6 is timm's"));
        }
        if !(0.0..1.0).contains(&self.drop_path) {
            return Err(refuse("drop_path", "must lie in [0, 1)", self.drop_path).help("0 turns it off"));
        }
        self.stochastic.as_ref().map_or(Ok(()), Stochastic::validate)
    }
}

/// Largest size of any one field: keeps every product of three of them within 64 bits.
const MAX_SIZE: usize = 1 << 20;

fn refuse(field: &str, problem: &str, value: impl std::fmt::Display) -> Error {
    Error::new("model configuration", format!("{field}: {problem}")).with(field, value)
}

/// A parameter list under construction.
struct Parameters(Vec<(String, Vec<usize>)>);

impl Parameters {
    fn add(&mut self, name: &str, dims: &[usize]) {
        self.0.push((name.to_owned(), dims.to_vec()));
    }

    fn layer_norm(&mut self, path: &str, width: usize) {
        self.add(&format!("{path}.weight"), &[width]);
        self.add(&format!("{path}.bias"), &[width]);
    }

    fn linear(&mut self, path: &str, rows: usize, columns: usize, bias: bool) {
        self.add(&format!("{path}.weight"), &[rows, columns]);
        if bias {
            self.add(&format!("{path}.bias"), &[rows]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deit_tiny() -> VitConfig {
        VitConfig {
            image: [224, 224],
            channels: 3,
            patch: 16,
            width: 192,
            depth: 12,
            heads: 3,
            head_width: 64,
            mlp_width: 768,
            classes: 1000,
            activation: Activation::Gelu,
            qkv_bias: true,
            norm_eps: 1e-6,
            layer_scale: false,
            class_token: true,
            distilled: false,
            register_tokens: 0,
            no_embed_class: false,
            pool: Pool::Token,
            drop_path: 0.0,
            stochastic: None,
            normalisation: Normalisation::imagenet(),
        }
    }

    #[test]
    fn deit_tiny_has_its_published_parameter_count() {
        let config = deit_tiny();
        config.validate().unwrap();
        assert_eq!((config.tokens(), config.qkv_width(), config.parameter_count()), (197, 576, 5_717_416));
        // The distilled one adds a token, a position and a head (timm: 5,910,800).
        let distilled = VitConfig { distilled: true, ..config };
        assert_eq!((distilled.tokens(), distilled.parameter_count()), (198, 5_910_800));
    }

    #[test]
    fn every_bad_field_is_named() {
        type Spoil = fn(&mut VitConfig);
        let bad: [(&str, Spoil); 10] = [
            ("image", |c| c.image = [224, 230]),
            ("patch", |c| c.patch = 0),
            ("depth", |c| c.depth = 0),
            ("classes", |c| c.classes = usize::MAX),
            ("heads", |c| c.heads = usize::MAX),
            ("pool", |c| c.class_token = false),
            ("distilled", |c| (c.distilled, c.register_tokens) = (true, 4)),
            ("norm_eps", |c| c.norm_eps = f64::NAN),
            ("drop_path", |c| c.drop_path = 1.0),
            ("normalisation", |c| c.normalisation = Normalisation::half(1)),
        ];
        for (field, spoil) in bad {
            let mut config = deit_tiny();
            spoil(&mut config);
            let error = config.validate().unwrap_err();
            assert!(error.problem().starts_with(&format!("{field}: ")), "{field}: {error}");
        }
    }

    #[test]
    fn the_optional_parameters_stand_where_timm_puts_them() {
        let mut config = VitConfig { depth: 1, layer_scale: true, qkv_bias: false, ..deit_tiny() };
        config.register_tokens = 4;
        config.no_embed_class = true;
        config.pool = Pool::Mean;
        config.validate().unwrap();
        let names: Vec<String> = config.parameters().into_iter().map(|(name, _)| name).collect();
        let expected = "cls_token reg_token pos_embed patch_embed.proj.weight patch_embed.proj.bias \
            blocks.0.norm1.weight blocks.0.norm1.bias blocks.0.attn.qkv.weight blocks.0.attn.proj.weight \
            blocks.0.attn.proj.bias blocks.0.ls1.gamma blocks.0.norm2.weight blocks.0.norm2.bias \
            blocks.0.mlp.fc1.weight blocks.0.mlp.fc1.bias blocks.0.mlp.fc2.weight blocks.0.mlp.fc2.bias \
            blocks.0.ls2.gamma fc_norm.weight fc_norm.bias head.weight head.bias";
        assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
        assert_eq!(config.parameters()[2].1, [1, 196, 192]);
    }

    #[test]
    fn normalisations_are_read_and_refused() {
        let mnist = Normalisation::parse("0.1307/0.3081", 1).unwrap();
        assert_eq!(mnist, Normalisation { mean: vec![0.1307], std: vec![0.3081] });
        assert_eq!(Normalisation::parse("0.5/0.25", 3).unwrap().std, [0.25; 3]);
        assert_eq!(Normalisation::parse("1,2,3/4,5,6", 3).unwrap().mean, [1.0, 2.0, 3.0]);
        for (text, channels) in [("imagenet", 1), ("1,2/3,4", 3), ("0.5/0", 3), ("nan/1", 3), ("0.5", 3), ("", 3)] {
            assert!(Normalisation::parse(text, channels).is_err(), "{text}");
        }
    }

    #[test]
    fn a_configuration_survives_json() {
        let mut config = deit_tiny();
        config.stochastic = Some("a05".parse().unwrap());
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<VitConfig>(&text).unwrap(), config);
    }
}
