//! Weights in four namings, in one piece and in shards, whole and broken.

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::{Named, hugging_face, parameters, small, split_rows, torchvision, vit_pytorch, write};
use engine::Tensor;
use vitrum_models::{
    Activation, Layout, LoadOptions, Normalisation, Pool, VitConfig, load, save, tensor_file, weights,
};
use vitrum_tests::real_data;

fn options() -> LoadOptions {
    LoadOptions::default()
}

/// Writes tensors, reads them, and compares all values; returns the configuration and the layout.
fn through(tensors: &Named, expected: &Named, options: &LoadOptions) -> (VitConfig, Layout) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write(&path, tensors);
    let loaded = load(&path, options).unwrap();
    assert_eq!(loaded.tensors.len(), expected.len());
    for ((name, tensor), (expected_name, expected)) in loaded.tensors.iter().zip(expected) {
        assert_eq!(name, expected_name);
        assert!(tensor == expected, "{name}");
    }
    (loaded.config, loaded.layout)
}

#[test]
fn timm_files_give_their_configuration_back() {
    let mut variants = vec![small()];
    variants.push(VitConfig { distilled: true, normalisation: Normalisation::imagenet(), ..small() });
    variants.push(VitConfig { layer_scale: true, register_tokens: 4, no_embed_class: true, ..small() });
    variants.push(VitConfig { pool: Pool::Mean, class_token: false, register_tokens: 1, qkv_bias: false, ..small() });
    variants.push(VitConfig { channels: 1, classes: 0, normalisation: Normalisation::none(1), ..small() });
    // DeiT III's flags: its normalisation is ImageNet's.
    variants[2].normalisation = Normalisation::imagenet();
    for config in variants {
        let tensors = parameters(&config);
        let (read, layout) = through(&tensors, &tensors, &options());
        assert_eq!((read, layout), (config, Layout::Timm));
    }
}

#[test]
fn wrapped_and_older_timm_names_are_read() {
    let config = VitConfig { layer_scale: true, ..small() };
    let tensors = parameters(&config);
    let older = tensors.iter().map(|(name, tensor)| {
        let name = name.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2");
        (format!("module.model.{name}"), tensor.clone())
    });
    let mut older: Named = older.collect();
    older.push(("module.model.mask_token".to_owned(), Tensor::new(&[1], &[0.0_f32]).unwrap()));
    assert_eq!(through(&older, &tensors, &options()).0, config);
}

#[test]
fn hugging_face_files_are_read_with_and_without_prefix() {
    let config = VitConfig { norm_eps: 1e-12, ..small() };
    let tensors = parameters(&config);
    for prefix in ["vit.", ""] {
        let mut theirs = hugging_face(&tensors, prefix);
        theirs.push((format!("{prefix}pooler.dense.weight"), Tensor::new(&[1], &[0.0_f32]).unwrap()));
        assert_eq!(through(&theirs, &tensors, &options()), (config.clone(), Layout::HuggingFace));
    }
    // Names as transformers 5 holds them in memory.
    let renamed = hugging_face(&tensors, "vit.").into_iter().map(|(name, tensor)| {
        let name = name.replace("encoder.layer.", "layers.").replace("attention.output.dense", "attention.o_proj");
        let name =
            name.replace("attention.attention.query", "attention.q_proj").replace("intermediate.dense", "mlp.fc1");
        let name = name.replace("attention.attention.key", "attention.k_proj").replace("output.dense", "mlp.fc2");
        (name.replace("attention.attention.value", "attention.v_proj"), tensor)
    });
    assert_eq!(through(&renamed.collect(), &tensors, &options()).0, config);
    let distilled = VitConfig { distilled: true, normalisation: Normalisation::imagenet(), ..config };
    let tensors = parameters(&distilled);
    assert_eq!(through(&hugging_face(&tensors, "deit."), &tensors, &options()).0, distilled);
}

#[test]
fn a_distillation_token_that_no_head_reads_is_a_register() {
    let config = VitConfig { norm_eps: 1e-12, register_tokens: 1, normalisation: Normalisation::imagenet(), ..small() };
    let tensors = parameters(&config);
    let mut renamed = tensors.clone();
    for (name, _) in &mut renamed {
        *name = name.replace("reg_token", "dist_token");
    }
    let mut theirs = hugging_face(&renamed, "deit.");
    for (name, _) in &mut theirs {
        *name = name.replace("cls_classifier", "classifier");
    }
    assert_eq!(through(&theirs, &tensors, &options()).0, config);
}

#[test]
fn torchvision_files_are_read() {
    let config = VitConfig { normalisation: Normalisation::imagenet(), ..small() };
    let tensors = parameters(&config);
    for old in [false, true] {
        assert_eq!(through(&torchvision(&tensors, old), &tensors, &options()), (config.clone(), Layout::Torchvision));
    }
}

#[test]
fn vit_pytorch_files_are_read_and_their_patches_reordered() {
    for channels in [1, 3] {
        let config = VitConfig {
            channels,
            qkv_bias: false,
            heads: 4, // an inner width of 256 beside a token width of 128
            norm_eps: 1e-5,
            normalisation: Normalisation::none(channels),
            activation: Activation::Relu,
            ..small()
        };
        let tensors = parameters(&config);
        let options = LoadOptions { activation: Some(Activation::Relu), ..options() };
        for (wrap, patch) in [("fn", "to_patch_embedding.1"), ("fn.fn", "patch_to_embedding")] {
            let theirs = vit_pytorch(&config, &tensors, wrap, patch);
            assert_eq!(through(&theirs, &tensors, &options), (config.clone(), Layout::VitPytorch));
        }
    }
}

#[test]
fn the_real_mnist_transformer_is_read() {
    let Some(path) = real_data("vit-mnist/model.safetensors") else { return };
    let options = LoadOptions {
        activation: Some(Activation::Relu),
        normalise: Some("0.1307/0.3081".to_owned()),
        ..LoadOptions::default()
    };
    let loaded = load(&path, &options).unwrap();
    let config = &loaded.config;
    assert_eq!((config.image, config.channels, config.patch, config.width, config.depth), ([28, 28], 1, 4, 64, 6));
    assert_eq!((config.heads, config.head_width, config.mlp_width, config.classes), (4, 64, 128, 10));
    assert_eq!((config.activation, config.norm_eps, config.qkv_bias), (Activation::Relu, 1e-5, false));
    assert_eq!((config.tokens(), config.qkv_width()), (50, 768));
    assert_eq!(config.normalisation, Normalisation { mean: vec![0.1307], std: vec![0.3081] });
    assert!(load(&path, &LoadOptions::default()).unwrap().assumed.iter().any(|text| text.contains("gelu")));
    // Our own file gives the same model back without being told anything.
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("ours.safetensors");
    save(&ours, config, &loaded.tensors).unwrap();
    let again = load(&ours, &LoadOptions::default()).unwrap();
    assert!(again.config == *config && again.tensors == loaded.tensors && again.assumed.is_empty());
}

#[test]
fn other_float_types_become_f32() {
    let config = small();
    let tensors = parameters(&config);
    let wide: Named = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.cast::<f64>().unwrap())).collect();
    through(&wide, &tensors, &options());
    // bf16 and f16 hold small whole numbers exactly.
    let whole: Named = config
        .parameters()
        .into_iter()
        .map(|(name, dims)| (name, Tensor::from_fn(&dims, |i| f32::from(u8::try_from(i % 120).unwrap())).unwrap()))
        .collect();
    for half in [engine::DType::Bf16, engine::DType::F16] {
        let narrowed: Named = whole.iter().map(|(name, tensor)| (name.clone(), narrow(tensor, half))).collect();
        through(&narrowed, &whole, &options());
    }
}

/// Rounds to half precision by cutting bits: exact for the small whole numbers used here.
fn narrow(tensor: &Tensor, half: engine::DType) -> Tensor {
    let bits = |value: f32| match half {
        engine::DType::Bf16 => u16::try_from(value.to_bits() >> 16).unwrap(),
        _ if value == 0.0 => 0,
        _ => u16::try_from((((value.to_bits() >> 23) - 127 + 15) << 10) | ((value.to_bits() >> 13) & 0x3FF)).unwrap(),
    };
    let bytes: Vec<u8> = tensor.values::<f32>().unwrap().iter().flat_map(|value| bits(*value).to_le_bytes()).collect();
    Tensor::from_bytes(engine::Spec::new(half, tensor.dims()).unwrap(), &bytes).unwrap()
}

#[test]
fn shards_are_read_by_index_and_by_folder() {
    let (config, folder) = (small(), tempfile::tempdir().unwrap());
    let tensors = parameters(&config);
    let (first, second) = tensors.split_at(tensors.len() / 2);
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let mut map = BTreeMap::new();
    for (file, part) in names.iter().zip([first, second]) {
        write(&folder.path().join(file), &part.to_vec());
        map.extend(part.iter().map(|(name, _)| (name.clone(), *file)));
    }
    assert_eq!(load(folder.path(), &options()).unwrap().tensors, tensors);
    let index = folder.path().join("model.safetensors.index.json");
    std::fs::write(&index, serde_json::json!({"metadata": {}, "weight_map": map}).to_string()).unwrap();
    for path in [folder.path(), index.as_path()] {
        assert_eq!(load(path, &options()).unwrap().tensors, tensors);
    }
    std::fs::write(&index, r#"{"weight_map": {"cls_token": "../secret.safetensors"}}"#).unwrap();
    assert!(load(&index, &options()).unwrap_err().to_string().contains("../secret"));
    std::fs::remove_file(&index).unwrap();
    write(&folder.path().join("again.safetensors"), &first.to_vec());
    assert!(load(folder.path(), &options()).unwrap_err().to_string().contains("two files"));
}

#[test]
fn configuration_files_of_hubs_give_heads_eps_and_normalisation() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = VitConfig { heads: 8, head_width: 16, norm_eps: 1e-9, activation: Activation::Relu, ..small() };
    config.normalisation = Normalisation { mean: vec![0.1, 0.2, 0.3], std: vec![0.4, 0.5, 0.6] };
    let tensors = parameters(&config);
    write(&folder.path().join("model.safetensors"), &hugging_face(&tensors, "vit."));
    let describe = |width: usize, act: &str| {
        let json = serde_json::json!({"hidden_size": width, "num_attention_heads": 8, "layer_norm_eps": 1e-9, "hidden_act": act});
        std::fs::write(folder.path().join("config.json"), json.to_string()).unwrap();
    };
    describe(128, "relu");
    let statistics = r#"{"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}"#;
    std::fs::write(folder.path().join("preprocessor_config.json"), statistics).unwrap();
    let loaded = load(folder.path(), &options()).unwrap();
    assert_eq!((loaded.config, loaded.assumed), (config, vec![]));
    describe(128, "quick_gelu");
    assert!(load(folder.path(), &options()).unwrap_err().to_string().contains("quick_gelu"));
    describe(96, "quick_gelu"); // another model's
    assert_eq!(load(folder.path(), &options()).unwrap().config.heads, 2);
}

#[test]
fn a_model_name_adds_what_shapes_cannot_tell_and_must_fit() {
    let config = vitrum_models::registry::lookup("test_vit").unwrap();
    let tensors = parameters(&config);
    let named = |name: &str| LoadOptions { model: Some(name.to_owned()), ..options() };
    assert_eq!(through(&tensors, &tensors, &named("test_vit")).0, config);
    // Without the name two heads of 32 look like one of 64.
    assert_eq!(through(&tensors, &tensors, &options()).0.heads, 1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    write(&path, &tensors);
    let error = load(&path, &named("vit_tiny_patch16_224")).unwrap_err().to_string();
    assert!(error.contains("width") && error.contains("192") && error.contains("64"), "{error}");
}

#[test]
fn one_error_lists_everything_that_is_wrong() {
    let (config, folder) = (small(), tempfile::tempdir().unwrap());
    let path = folder.path().join("broken.safetensors");
    let mut tensors = parameters(&config);
    tensors.retain(|(name, _)| name != "blocks.1.norm2.bias");
    for (name, tensor) in &mut tensors {
        match name.as_str() {
            "blocks.0.mlp.fc2.bias" => tensor.values_mut::<f32>().unwrap()[7] = f32::NAN,
            "blocks.0.attn.proj.bias" => *tensor = Tensor::new(&[3], &[0.0_f32; 3]).unwrap(),
            "norm.bias" => *name = "norm.offset".to_owned(),
            _ => {}
        }
    }
    write(&path, &tensors);
    let error = load(&path, &options()).unwrap_err().to_string();
    for part in [
        "broken.safetensors: 5 tensors",
        "blocks.1.norm2.bias",
        "fc2.bias has 1 NaN",
        "element 7",
        "attn.proj.bias [3], expected [128]",
        "norm.bias",
        "norm.offset",
    ] {
        assert!(error.contains(part), "{part} in:\n{error}");
    }
    let many: Named =
        tensors.into_iter().filter(|(name, _)| !name.starts_with("blocks.") || name.ends_with("weight")).collect();
    let extra = (0..40).map(|i| (format!("extra.{i}"), Tensor::new(&[1], &[0.0_f32]).unwrap()));
    write(&path, &many.into_iter().chain(extra).collect());
    let error = load(&path, &options()).unwrap_err().to_string();
    assert!(error.lines().count() < 26 && error.contains("and 32 more"), "{error}");
}

#[test]
fn normalising_before_mean_pooling_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gap.safetensors");
    let mut tensors = parameters(&VitConfig { pool: Pool::Mean, class_token: false, ..small() });
    for (name, _) in &mut tensors {
        *name = name.replace("fc_norm", "norm");
    }
    write(&path, &tensors);
    assert!(load_error(&path).contains("fc_norm"));
}

#[test]
fn missing_parts_of_a_stacked_tensor_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let mut theirs = hugging_face(&parameters(&small()), "vit.");
    theirs.retain(|(name, _)| !name.contains("layer.1.attention.attention.key.bias"));
    write(&path, &theirs);
    let error = load(&path, &options()).unwrap_err().to_string();
    assert!(error.contains("1 tensors") && error.contains("layer.1.attention.attention.key.bias"), "{error}");
}

#[test]
fn saving_keeps_everything_and_refuses_bad_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ours.safetensors");
    let mut config = VitConfig { image: [12, 20], drop_path: 0.1, activation: Activation::Relu, ..small() };
    config.stochastic = Some("n05".parse().unwrap());
    let mut tensors = parameters(&config);
    let reversed: Named = tensors.iter().rev().cloned().collect();
    save(&path, &config, &reversed).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let loaded = load(&path, &options()).unwrap();
    assert_eq!((&loaded.config, &loaded.tensors), (&config, &tensors));
    save(&path, &config, &tensors).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);

    let flags = LoadOptions { activation: Some(Activation::Gelu), normalise: Some("none".to_owned()), ..options() };
    let overridden = load(&path, &flags).unwrap().config;
    assert_eq!((overridden.activation, overridden.normalisation), (Activation::Gelu, Normalisation::none(3)));

    tensors[3].1.values_mut::<f32>().unwrap()[0] = f32::INFINITY;
    assert!(save(&path, &config, &tensors).unwrap_err().to_string().contains(&tensors[3].0));
    tensors.pop();
    assert!(save(&path, &config, &tensors).unwrap_err().to_string().contains("head.bias"));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn tensor_files_read_the_integers_that_python_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.safetensors");
    let file = |values: [i64; 2]| {
        let header = r#"{"labels":{"dtype":"I64","shape":[2],"data_offsets":[0,16]}}"#;
        let data = values.iter().flat_map(|value| value.to_le_bytes());
        let bytes: Vec<u8> =
            (header.len() as u64).to_le_bytes().into_iter().chain(header.bytes()).chain(data).collect();
        std::fs::write(&path, bytes).unwrap();
        tensor_file::TensorFile::open(&path).unwrap().read("labels")
    };
    assert_eq!(file([7, -1]).unwrap(), Tensor::new(&[2], &[7_i32, -1]).unwrap());
    assert!(file([1 << 40, 0]).unwrap_err().to_string().contains("1099511627776"));
}

fn load_error(path: &Path) -> String {
    let error = load(path, &options()).unwrap_err().to_string();
    assert!(error.contains(path.file_name().unwrap().to_str().unwrap()), "{error}");
    error
}

#[test]
fn corrupt_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("corrupt.safetensors");
    let tensors = parameters(&small());
    write(&path, &tensors);
    let good = std::fs::read(&path).unwrap();
    let check = |bytes: &[u8], part: &str| {
        std::fs::write(&path, bytes).unwrap();
        let error = load_error(&path);
        assert!(error.contains(part), "{part} in:\n{error}");
    };
    check(&[], "too short");
    check(&good[..good.len() - 1], "truncated");
    check(&[&good[..], &[0]].concat(), "overlong");
    check(&good[..100], "truncated");
    check(&[&u64::MAX.to_le_bytes(), &good[8..]].concat(), "longer than the file");
    check(&[&[0x50, 0x4B, 3, 4, 20, 0, 0, 0], &good[8..]].concat(), "PyTorch");
    check(b"version https://git-lfs.github.com/spec/v1", "LFS");
    check(b"<!DOCTYPE html><html></html>", "HTML");
    let with_header =
        |text: &str, data: usize| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &vec![0; data]].concat();
    check(&with_header("{not json", 0), "header");
    check(&with_header("\u{e9}{}", 0), "header");
    let overlap = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    check(&with_header(overlap, 12), "offset");
    let short = r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,8]}}"#;
    check(&with_header(short, 8), "header");
    let huge = r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,8]}}"#;
    check(&with_header(huge, 8), "header");
    check(&with_header("{}", 0), "no Vision Transformer");
    assert!(load(folder.path().join("absent.safetensors"), &options()).unwrap_err().to_string().contains("absent"));
    std::fs::remove_file(&path).unwrap();
    assert!(load(folder.path(), &options()).unwrap_err().to_string().contains("no safetensors"));
}

#[test]
fn a_bad_configuration_in_the_metadata_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ours.safetensors");
    let (config, tensors) = (small(), parameters(&small()));
    let with = |text: String| {
        let metadata = BTreeMap::from([(weights::CONFIG_KEY.to_owned(), text)]);
        tensor_file::write(&path, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)), &metadata).unwrap();
        load(&path, &options())
    };
    assert!(with("{}".to_owned()).unwrap_err().to_string().contains("ours.safetensors: metadata vitrum.config"));
    let spoiled = VitConfig { patch: 0, ..config.clone() };
    assert!(with(serde_json::to_string(&spoiled).unwrap()).unwrap_err().to_string().contains("patch"));
    let other = VitConfig { classes: 6, ..config };
    assert!(with(serde_json::to_string(&other).unwrap()).unwrap_err().to_string().contains("head.weight [5, 128]"));
}

#[test]
fn splitting_rows_is_what_stacking_undoes() {
    let tensor = Tensor::from_fn(&[6, 2], |i| f32::from(u8::try_from(i).unwrap())).unwrap();
    assert_eq!(split_rows(&tensor, 3)[1].values::<f32>().unwrap(), [4.0, 5.0, 6.0, 7.0]);
}

mod fuzz {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Any header at all gives an answer, never a panic; and wild shapes under known names are refused.
        #[test]
        fn wild_shapes_never_panic(
            dims in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0_usize), 1..5_usize, Just(usize::MAX)], 0..5), 9),
            heads in prop::option::of(0..3_usize),
        ) {
            let names = ["patch_embed.proj.weight", "pos_embed", "cls_token", "reg_token", "blocks.0.attn.qkv.weight",
                "blocks.0.mlp.fc1.weight", "blocks.99999999999.x", "head.weight", "dist_token"];
            let entries: Vec<String> = names.iter().zip(&dims).filter_map(|(name, dims)| {
                // Only empty tensors can claim such shapes in a short file.
                let dims: Vec<usize> = if dims.contains(&0) { dims.clone() } else { [&[0], &dims[..]].concat() };
                let product = dims.iter().try_fold(1_usize, |p, d| p.checked_mul(*d))?;
                (product == 0).then(|| format!(r#""{name}":{{"dtype":"F32","shape":{dims:?},"data_offsets":[0,0]}}"#))
            }).collect();
            let header = format!("{{{}}}", entries.join(","));
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("wild.safetensors");
            std::fs::write(&path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()).unwrap();
            let refused = load(&path, &LoadOptions { heads, ..LoadOptions::default() });
            prop_assert!(refused.is_err());
        }

        #[test]
        fn flipped_bytes_never_panic(at in 0..400_usize, bit in 0..8_u8) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("flipped.safetensors");
            let config = VitConfig { width: 64, heads: 1, depth: 1, mlp_width: 2, classes: 2, ..small() };
            write(&path, &parameters(&config));
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[at] ^= 1 << bit;
            std::fs::write(&path, bytes).unwrap();
            // A flip in a number's spelling (1 to 1.0 never happens) changes the header's meaning: mostly an error.
            if let Ok(loaded) = load(&path, &LoadOptions::default()) {
                prop_assert!(loaded.config.validate().is_ok());
            }
        }
    }
}
