//! The four namings that ViT weights come in, as a map from timm's names to theirs.

use std::collections::BTreeMap;

use engine::{Error, Result};

use crate::tensor_file::first_names;

/// Who named the tensors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// timm's `VisionTransformer`; also the original DeiT and DINOv2 releases.
    Timm,
    /// Hugging Face transformers' `ViTForImageClassification` and `DeiTFor...`.
    HuggingFace,
    /// torchvision's `vit_b_16` and relatives.
    Torchvision,
    /// vit-pytorch (lucidrains).
    VitPytorch,
}

/// The tensor that tells a layout, and the prefixes that its backbone may stand under.
const MARKS: [(Layout, &str); 6] = [
    (Layout::Timm, "patch_embed.proj.weight"),
    (Layout::HuggingFace, "embeddings.patch_embeddings.projection.weight"),
    (Layout::Torchvision, "conv_proj.weight"),
    (Layout::VitPytorch, "to_patch_embedding.1.weight"),
    (Layout::VitPytorch, "patch_to_embedding.weight"),
    (Layout::VitPytorch, "to_patch_embedding.weight"),
];

/// Wrappers that training scripts leave round the names; stripped in any order and number.
const WRAPPERS: [&str; 5] = ["module.", "model.", "state_dict.", "state_dict_ema.", "attacker."];

impl Layout {
    /// Finds the layout, and the file's names without wrappers: stripped name to name in the file.
    ///
    /// # Errors
    /// No layout is recognised, or its mark stands under a prefix that is no known wrapper.
    pub(super) fn detect(names: &[String]) -> Result<(Self, BTreeMap<String, String>)> {
        for (layout, mark) in MARKS {
            let Some(prefix) = names.iter().find_map(|name| prefix_of(name, mark)) else { continue };
            let wrapper = match layout {
                Self::HuggingFace => {
                    prefix.strip_suffix("vit.").or_else(|| prefix.strip_suffix("deit.")).unwrap_or(prefix)
                }
                _ => prefix,
            };
            if !is_wrapper(wrapper) {
                return Err(Error::new("weights", "the names stand under an unknown prefix")
                    .with("prefix", wrapper)
                    .with("found", format!("{prefix}{mark}"))
                    .help(format!("known prefixes: {}", WRAPPERS.join(" "))));
            }
            let strip = |name: &String| {
                let inner = name.strip_prefix(wrapper).unwrap_or(name);
                let inner = match layout {
                    Self::HuggingFace => {
                        inner.strip_prefix("vit.").or_else(|| inner.strip_prefix("deit.")).unwrap_or(inner)
                    }
                    _ => inner,
                };
                (inner.to_owned(), name.clone())
            };
            let stripped: BTreeMap<String, String> = names.iter().map(strip).collect();
            if stripped.len() != names.len() {
                let lost = names.iter().find(|name| !stripped.values().any(|kept| kept == *name));
                return Err(Error::new("weights", "two tensors have one name once their prefixes are stripped")
                    .with("one of them", lost.map_or("", String::as_str)));
            }
            return Ok((layout, stripped));
        }
        Err(Error::new("weights", "no Vision Transformer in timm, Hugging Face, torchvision or vit-pytorch naming")
            .with("names", first_names(names))
            .with("looked for", MARKS.map(|(_, mark)| mark).join(", ")))
    }

    /// The names that a timm parameter may have, best first; several names in one entry are stacked by rows.
    pub(super) fn alternatives(self, timm: &str) -> Vec<Vec<String>> {
        let block = timm.strip_prefix("blocks.").and_then(|rest| rest.split_once('.'));
        let texts = match block {
            Some((index, rest)) => self.block_names(index, rest),
            None => self.outer_names(timm),
        };
        texts.into_iter().map(|entry| entry.split('|').map(str::to_owned).collect()).collect()
    }

    /// What the names of block `i` may begin with, up to the number.
    pub(super) fn block_prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Timm => &["blocks."],
            // transformers 5 holds the second in memory and writes the first.
            Self::HuggingFace => &["encoder.layer.", "layers."],
            Self::Torchvision => &["encoder.layers.encoder_layer_"],
            Self::VitPytorch => &["transformer.layers."],
        }
    }

    /// Names that carry nothing the model uses: heads of pretraining tasks and the like.
    pub(super) fn ignores(self, name: &str) -> bool {
        match self {
            // timm drops its old representation layer in the same way.
            Self::Timm => name == "mask_token" || name.starts_with("pre_logits."),
            Self::HuggingFace => name == "embeddings.mask_token" || name.starts_with("pooler."),
            Self::Torchvision | Self::VitPytorch => false,
        }
    }

    /// Alternatives for block `index`; stacked names are joined by `|`.
    fn block_names(self, index: &str, rest: &str) -> Vec<String> {
        let path = format!("{}{index}", self.block_prefixes().first().unwrap_or(&""));
        // weight or bias (or gamma)
        let (module, kind) = rest.rsplit_once('.').unwrap_or((rest, ""));
        let one = |name: &str| vec![format!("{path}.{name}.{kind}")];
        match (self, module) {
            (Self::Timm, "ls1" | "ls2") => {
                let number = module.trim_start_matches("ls");
                vec![format!("{path}.{module}.gamma"), format!("{path}.gamma_{number}")]
            }
            (Self::Timm, _) => vec![format!("{path}.{rest}")],
            (Self::HuggingFace, _) => hugging_face_block(index, module, kind),
            (Self::Torchvision, "norm1") => one("ln_1"),
            (Self::Torchvision, "norm2") => one("ln_2"),
            (Self::Torchvision, "attn.qkv") => vec![format!("{path}.self_attention.in_proj_{kind}")],
            (Self::Torchvision, "attn.proj") => one("self_attention.out_proj"),
            (Self::Torchvision, "mlp.fc1") => [one("mlp.0"), one("mlp.linear_1")].concat(),
            (Self::Torchvision, "mlp.fc2") => [one("mlp.3"), one("mlp.linear_2")].concat(),
            (Self::VitPytorch, "norm1") => [one("0.norm"), one("0.fn.norm")].concat(),
            (Self::VitPytorch, "norm2") => [one("1.norm"), one("1.fn.norm"), one("1.net.0")].concat(),
            (Self::VitPytorch, "attn.qkv") => [one("0.fn.to_qkv"), one("0.fn.fn.to_qkv"), one("0.to_qkv")].concat(),
            (Self::VitPytorch, "attn.proj") => {
                [one("0.fn.to_out.0"), one("0.fn.fn.to_out.0"), one("0.to_out.0")].concat()
            }
            (Self::VitPytorch, "mlp.fc1") => [one("1.fn.net.0"), one("1.fn.fn.net.0"), one("1.net.1")].concat(),
            (Self::VitPytorch, "mlp.fc2") => [one("1.fn.net.3"), one("1.fn.fn.net.3"), one("1.net.4")].concat(),
            // LayerScale: none but timm has it.
            _ => Vec::new(),
        }
    }

    /// Alternatives for what lies outside of the blocks.
    fn outer_names(self, timm: &str) -> Vec<String> {
        let (module, kind) = timm.rsplit_once('.').unwrap_or((timm, ""));
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        let with_kind = |list: &[&str]| list.iter().map(|name| format!("{name}.{kind}")).collect();
        match (self, module) {
            (Self::Timm, "reg_token") => names(&["reg_token", "register_tokens"]),
            (Self::Timm, _) => names(&[timm]),
            (Self::HuggingFace, "cls_token") => names(&["embeddings.cls_token"]),
            // A distillation token that no head reads is a register.
            (Self::HuggingFace, "dist_token" | "reg_token") => names(&["embeddings.distillation_token"]),
            (Self::HuggingFace, "pos_embed") => names(&["embeddings.position_embeddings"]),
            (Self::HuggingFace, "patch_embed.proj") => with_kind(&["embeddings.patch_embeddings.projection"]),
            (Self::HuggingFace, "norm") => with_kind(&["layernorm"]),
            (Self::HuggingFace, "head") => with_kind(&["classifier", "cls_classifier"]),
            (Self::HuggingFace, "head_dist") => with_kind(&["distillation_classifier"]),
            (Self::Torchvision, "cls_token") => names(&["class_token"]),
            (Self::Torchvision, "pos_embed") => names(&["encoder.pos_embedding"]),
            (Self::Torchvision, "patch_embed.proj") => with_kind(&["conv_proj"]),
            (Self::Torchvision, "norm") => with_kind(&["encoder.ln"]),
            (Self::Torchvision, "head") => with_kind(&["heads.head"]),
            (Self::VitPytorch, "cls_token") => names(&["cls_token"]),
            (Self::VitPytorch, "pos_embed") => names(&["pos_embedding"]),
            (Self::VitPytorch, "patch_embed.proj") => {
                with_kind(&["to_patch_embedding.1", "patch_to_embedding", "to_patch_embedding"])
            }
            (Self::VitPytorch, "norm") => with_kind(&["mlp_head.0", "transformer.norm"]),
            (Self::VitPytorch, "head") => with_kind(&["mlp_head.1", "mlp_head"]),
            _ => Vec::new(),
        }
    }
}

/// Hugging Face's names in block `index`: those of its files, then those of transformers 5 in memory.
fn hugging_face_block(index: &str, module: &str, kind: &str) -> Vec<String> {
    let (file, memory): (&[&str], &[&str]) = match module {
        "norm1" => (&["layernorm_before"], &["layernorm_before"]),
        "norm2" => (&["layernorm_after"], &["layernorm_after"]),
        "attn.qkv" => (
            &["attention.attention.query", "attention.attention.key", "attention.attention.value"],
            &["attention.q_proj", "attention.k_proj", "attention.v_proj"],
        ),
        "attn.proj" => (&["attention.output.dense"], &["attention.o_proj"]),
        "mlp.fc1" => (&["intermediate.dense"], &["mlp.fc1"]),
        "mlp.fc2" => (&["output.dense"], &["mlp.fc2"]),
        _ => return Vec::new(),
    };
    let prefixes = Layout::HuggingFace.block_prefixes();
    let stack = |(prefix, parts): (&&str, &[&str])| {
        parts.iter().map(|part| format!("{prefix}{index}.{part}.{kind}")).collect::<Vec<_>>().join("|")
    };
    prefixes.iter().zip([file, memory]).map(stack).collect()
}

/// What precedes `mark` in `name`, if that is empty or ends at a dot.
fn prefix_of<'a>(name: &'a str, mark: &str) -> Option<&'a str> {
    name.strip_suffix(mark).filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
}

fn is_wrapper(mut prefix: &str) -> bool {
    while let Some(rest) = WRAPPERS.iter().find_map(|wrapper| prefix.strip_prefix(wrapper)) {
        prefix = rest;
    }
    prefix.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_are_stripped_in_any_order_and_unknown_ones_named() {
        let names = ["module.model.patch_embed.proj.weight".to_owned(), "module.model.cls_token".to_owned()];
        let (layout, stripped) = Layout::detect(&names).unwrap();
        assert_eq!(layout, Layout::Timm);
        assert_eq!(stripped.get("cls_token"), Some(&names[1]));
        let error = Layout::detect(&["visual.patch_embed.proj.weight".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("visual."), "{error}");
        assert!(Layout::detect(&["my_patch_embed.proj.weight".to_owned()]).is_err());
        assert!(Layout::detect(&[]).is_err());
    }
}
