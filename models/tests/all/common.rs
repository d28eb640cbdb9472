//! Small models with distinct values everywhere, and their files in the namings of others.

use std::path::Path;

use engine::Tensor;
use engine::rng::{Philox, Stream};
use vitrum_models::{VitConfig, registry, tensor_file};

pub type Named = Vec<(String, Tensor)>;

/// A small relative of `test_vit`: 16 x 24 pixels need a non-square grid, so 16 x 16.
pub fn small() -> VitConfig {
    let mut config = registry::lookup("test_vit").unwrap();
    (config.image, config.patch, config.width, config.depth) = ([16, 16], 4, 128, 2);
    (config.heads, config.head_width, config.mlp_width, config.classes) = (2, 64, 96, 5);
    config
}

/// Parameters whose values differ everywhere.
pub fn parameters(config: &VitConfig) -> Named {
    let draw = |name: &str, dims: &[usize]| {
        let philox = Philox::new(11, 0, Stream::named(name));
        Tensor::from_fn(dims, |i| philox.normal(0, i)).unwrap()
    };
    config.parameters().into_iter().map(|(name, dims)| (name.clone(), draw(&name, &dims))).collect()
}

pub fn write(path: &Path, tensors: &Named) {
    tensor_file::write(path, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)), &Default::default())
        .unwrap();
}

/// Splits a tensor's rows into `count` equal tensors.
pub fn split_rows(tensor: &Tensor, count: usize) -> Vec<Tensor> {
    let mut dims = tensor.dims().to_vec();
    dims[0] /= count;
    let values = tensor.values::<f32>().unwrap();
    values.chunks(values.len() / count).map(|part| Tensor::new(&dims, part).unwrap()).collect()
}

/// The tensors of Hugging Face's `ViTForImageClassification` (or, with `deit.`, of the distilled DeiT).
pub fn hugging_face(tensors: &Named, prefix: &str) -> Named {
    let mut out = Named::new();
    for (name, tensor) in tensors {
        let (module, kind) = name.rsplit_once('.').unwrap_or((name, ""));
        if let Some((index, rest)) = module.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
            let path = format!("{prefix}encoder.layer.{index}");
            if rest == "attn.qkv" {
                for (part, tensor) in ["query", "key", "value"].iter().zip(split_rows(tensor, 3)) {
                    out.push((format!("{path}.attention.attention.{part}.{kind}"), tensor));
                }
                continue;
            }
            let theirs = match rest {
                "norm1" => "layernorm_before",
                "norm2" => "layernorm_after",
                "attn.proj" => "attention.output.dense",
                "mlp.fc1" => "intermediate.dense",
                "mlp.fc2" => "output.dense",
                other => panic!("{other}"),
            };
            out.push((format!("{path}.{theirs}.{kind}"), tensor.clone()));
            continue;
        }
        let distilled = prefix.starts_with("deit");
        let theirs = match module {
            "cls_token" => format!("{prefix}embeddings.cls_token"),
            "dist_token" => format!("{prefix}embeddings.distillation_token"),
            "pos_embed" => format!("{prefix}embeddings.position_embeddings"),
            "patch_embed.proj" => format!("{prefix}embeddings.patch_embeddings.projection.{kind}"),
            "norm" => format!("{prefix}layernorm.{kind}"),
            "head" if distilled => format!("cls_classifier.{kind}"),
            "head" => format!("classifier.{kind}"),
            "head_dist" => format!("distillation_classifier.{kind}"),
            other => panic!("{other}"),
        };
        out.push((theirs, tensor.clone()));
    }
    out
}

/// The tensors of torchvision's `VisionTransformer`; `old` for the MLP's names before 0.13.
pub fn torchvision(tensors: &Named, old: bool) -> Named {
    let (first, second) = if old { ("linear_1", "linear_2") } else { ("0", "3") };
    let rename = |name: &str| {
        name.replace("blocks.", "encoder.layers.encoder_layer_")
            .replace("norm1", "ln_1")
            .replace("norm2", "ln_2")
            .replace("attn.qkv.", "self_attention.in_proj_")
            .replace("attn.proj", "self_attention.out_proj")
            .replace("mlp.fc1", &format!("mlp.{first}"))
            .replace("mlp.fc2", &format!("mlp.{second}"))
            .replace("cls_token", "class_token")
            .replace("pos_embed", "encoder.pos_embedding")
            .replace("patch_embed.proj", "conv_proj")
            .replace("head.", "heads.head.")
    };
    let rename_outer = |name: &str| {
        let renamed = rename(name);
        match renamed.strip_prefix("norm.") {
            Some(rest) => format!("encoder.ln.{rest}"),
            None => renamed,
        }
    };
    tensors.iter().map(|(name, tensor)| (rename_outer(name), tensor.clone())).collect()
}

/// The tensors of vit-pytorch: `wrap` is what stands round the blocks' modules (`fn` now, `fn.fn` before 0.19).
pub fn vit_pytorch(config: &VitConfig, tensors: &Named, wrap: &str, patch: &str) -> Named {
    let norm = if wrap == "fn" { "norm" } else { "fn.norm" };
    let rename = |name: &str| {
        let inner = name
            .replace("blocks.", "transformer.layers.")
            .replace(".norm1.", &format!(".0.{norm}."))
            .replace(".norm2.", &format!(".1.{norm}."))
            .replace(".attn.qkv.", &format!(".0.{wrap}.to_qkv."))
            .replace(".attn.proj.", &format!(".0.{wrap}.to_out.0."))
            .replace(".mlp.fc1.", &format!(".1.{wrap}.net.0."))
            .replace(".mlp.fc2.", &format!(".1.{wrap}.net.3."))
            .replace("pos_embed", "pos_embedding")
            .replace("patch_embed.proj", patch)
            .replace("head.", "mlp_head.1.");
        match inner.strip_prefix("norm.") {
            Some(rest) => format!("mlp_head.0.{rest}"),
            None => inner,
        }
    };
    let columns = |tensor: &Tensor| {
        // [d, c, p, p] as [d, p p c]
        let (d, c, p) = (config.width, config.channels, config.patch);
        let values = tensor.values::<f32>().unwrap();
        Tensor::from_fn(&[d, p * p * c], |i| {
            let (row, column) = (i / (p * p * c), i % (p * p * c));
            let (pixel, channel) = (column / c, column % c);
            values[(row * c + channel) * p * p + pixel]
        })
        .unwrap()
    };
    let convert = |name: &str, tensor: &Tensor| {
        if name.ends_with("proj.weight") && tensor.dims().len() == 4 { columns(tensor) } else { tensor.clone() }
    };
    tensors.iter().map(|(name, tensor)| (rename(name), convert(name, tensor))).collect()
}
