//! timm's model names and what they stand for. Shapes, eps, heads, token layout and normalisation are timm 1.0.31's.

use engine::{Error, Result};

use crate::config::{Activation, Normalisation, Pool, VitConfig};

/// Width, depth, heads and MLP width.
type Size = (usize, usize, usize, usize);

const TINY: Size = (192, 12, 3, 768);
const SMALL: Size = (384, 12, 6, 1536);
const MEDIUM: Size = (512, 12, 8, 2048);
const BASE: Size = (768, 12, 12, 3072);
const BASE_PLUS: Size = (896, 12, 14, 3584);
const LARGE: Size = (1024, 24, 16, 4096);
const HUGE: Size = (1280, 32, 16, 5120);

/// What sets a family apart from the plain Vision Transformer.
#[derive(Clone, Copy, PartialEq)]
enum Family {
    /// Class token, normalisation by 0.5.
    Plain,
    /// Plain with LayerScale.
    PlainLayerScale,
    /// FlexiViT: the class token has no position.
    Flexi,
    /// MIIL's: no bias on queries, keys and values; images enter as they are.
    Miil,
    /// DeiT: ImageNet's normalisation.
    Deit,
    /// DeiT with distillation token and head.
    Distilled,
    /// DeiT III: LayerScale; the class token has no position.
    Deit3,
    /// DINOv2: a backbone with LayerScale.
    Dino2,
    /// DINOv2 with four registers; prefix tokens have no position.
    Dino2Registers,
    /// Registers, mean pooling, no class token; registers have no position. LayerScale where the flag says so.
    RegisterMean { registers: usize, layer_scale: bool },
    /// timm's test model 2: one register with a position, mean pooling, LayerScale.
    TestRegister,
}

struct Entry {
    name: &'static str,
    image: usize,
    patch: usize,
    size: Size,
    family: Family,
    classes: usize,
}

const fn entry(name: &'static str, image: usize, patch: usize, size: Size, family: Family) -> Entry {
    Entry { name, image, patch, size, family, classes: 1000 }
}

const fn backbone(name: &'static str, image: usize, patch: usize, size: Size, family: Family) -> Entry {
    Entry { name, image, patch, size, family, classes: 0 }
}

const fn registers(count: usize) -> Family {
    Family::RegisterMean { registers: count, layer_scale: true }
}

const ENTRIES: &[Entry] = &[
    entry("vit_tiny_patch16_224", 224, 16, TINY, Family::Plain),
    entry("vit_tiny_patch16_384", 384, 16, TINY, Family::Plain),
    backbone("vit_small_patch8_224", 224, 8, SMALL, Family::Deit),
    entry("vit_small_patch16_224", 224, 16, SMALL, Family::Plain),
    entry("vit_small_patch16_384", 384, 16, SMALL, Family::Plain),
    entry("vit_small_patch32_224", 224, 32, SMALL, Family::Plain),
    entry("vit_small_patch32_384", 384, 32, SMALL, Family::Plain),
    entry("vit_small_patch16_36x1_224", 224, 16, (384, 36, 6, 1536), Family::PlainLayerScale),
    entry("vit_base_patch8_224", 224, 8, BASE, Family::Plain),
    entry("vit_base_patch16_224", 224, 16, BASE, Family::Plain),
    entry("vit_base_patch16_384", 384, 16, BASE, Family::Plain),
    entry("vit_base_patch32_224", 224, 32, BASE, Family::Plain),
    entry("vit_base_patch32_384", 384, 32, BASE, Family::Plain),
    entry("vit_base_patch16_plus_240", 240, 16, BASE_PLUS, Family::PlainLayerScale),
    entry("vit_base_patch32_plus_256", 256, 32, BASE_PLUS, Family::PlainLayerScale),
    Entry {
        name: "vit_base_patch16_224_miil",
        image: 224,
        patch: 16,
        size: BASE,
        family: Family::Miil,
        classes: 11_221,
    },
    entry("vit_large_patch14_224", 224, 14, LARGE, Family::Plain),
    entry("vit_large_patch16_224", 224, 16, LARGE, Family::Plain),
    entry("vit_large_patch16_384", 384, 16, LARGE, Family::Plain),
    backbone("vit_large_patch32_224", 224, 32, LARGE, Family::Plain),
    entry("vit_large_patch32_384", 384, 32, LARGE, Family::Plain),
    backbone("vit_huge_patch14_224", 224, 14, HUGE, Family::Plain),
    entry("deit_tiny_patch16_224", 224, 16, TINY, Family::Deit),
    entry("deit_small_patch16_224", 224, 16, SMALL, Family::Deit),
    entry("deit_base_patch16_224", 224, 16, BASE, Family::Deit),
    entry("deit_base_patch16_384", 384, 16, BASE, Family::Deit),
    entry("deit_tiny_distilled_patch16_224", 224, 16, TINY, Family::Distilled),
    entry("deit_small_distilled_patch16_224", 224, 16, SMALL, Family::Distilled),
    entry("deit_base_distilled_patch16_224", 224, 16, BASE, Family::Distilled),
    entry("deit_base_distilled_patch16_384", 384, 16, BASE, Family::Distilled),
    entry("deit3_small_patch16_224", 224, 16, SMALL, Family::Deit3),
    entry("deit3_small_patch16_384", 384, 16, SMALL, Family::Deit3),
    entry("deit3_medium_patch16_224", 224, 16, MEDIUM, Family::Deit3),
    entry("deit3_base_patch16_224", 224, 16, BASE, Family::Deit3),
    entry("deit3_base_patch16_384", 384, 16, BASE, Family::Deit3),
    entry("deit3_large_patch16_224", 224, 16, LARGE, Family::Deit3),
    entry("deit3_large_patch16_384", 384, 16, LARGE, Family::Deit3),
    entry("deit3_huge_patch14_224", 224, 14, HUGE, Family::Deit3),
    entry("flexivit_small", 240, 16, SMALL, Family::Flexi),
    entry("flexivit_base", 240, 16, BASE, Family::Flexi),
    entry("flexivit_large", 240, 16, LARGE, Family::Flexi),
    backbone("vit_small_patch14_dinov2", 518, 14, SMALL, Family::Dino2),
    backbone("vit_base_patch14_dinov2", 518, 14, BASE, Family::Dino2),
    backbone("vit_large_patch14_dinov2", 518, 14, LARGE, Family::Dino2),
    backbone("vit_small_patch14_reg4_dinov2", 518, 14, SMALL, Family::Dino2Registers),
    backbone("vit_base_patch14_reg4_dinov2", 518, 14, BASE, Family::Dino2Registers),
    backbone("vit_large_patch14_reg4_dinov2", 518, 14, LARGE, Family::Dino2Registers),
    entry("vit_wee_patch16_reg1_gap_256", 256, 16, (256, 14, 4, 1280), registers(1)),
    entry("vit_little_patch16_reg1_gap_256", 256, 16, (320, 14, 5, 1792), registers(1)),
    entry("vit_little_patch16_reg4_gap_256", 256, 16, (320, 14, 5, 1792), registers(4)),
    entry("vit_medium_patch16_reg1_gap_256", 256, 16, MEDIUM, registers(1)),
    entry("vit_medium_patch16_reg4_gap_256", 256, 16, MEDIUM, registers(4)),
    entry("vit_mediumd_patch16_reg4_gap_256", 256, 16, (512, 20, 8, 2048), registers(4)),
    entry("vit_mediumd_patch16_reg4_gap_384", 384, 16, (512, 20, 8, 2048), registers(4)),
    entry("vit_betwixt_patch16_reg1_gap_256", 256, 16, (640, 12, 10, 2560), registers(1)),
    entry("vit_betwixt_patch16_reg4_gap_256", 256, 16, (640, 12, 10, 2560), registers(4)),
    entry("vit_betwixt_patch16_reg4_gap_384", 384, 16, (640, 12, 10, 2560), registers(4)),
    entry("vit_base_patch16_reg4_gap_256", 256, 16, BASE, Family::RegisterMean { registers: 4, layer_scale: false }),
    entry("test_vit", 160, 16, (64, 6, 2, 192), Family::Plain),
    entry("test_vit2", 160, 16, (64, 8, 2, 192), Family::TestRegister),
];

/// Pretraining tags that follow a name after a dot, with the classes and the normalisation that they change.
const TAGS: &[(&str, Option<usize>, bool)] = &[
    ("augreg_in1k", Some(1000), false),
    ("augreg_in21k", Some(21_843), false),
    ("augreg_in21k_ft_in1k", Some(1000), false),
    ("augreg2_in21k_ft_in1k", Some(1000), false),
    ("orig_in21k", Some(0), false),
    ("orig_in21k_ft_in1k", Some(1000), false),
    ("sam_in1k", Some(1000), false),
    ("dino", Some(0), true),
    ("mae", Some(0), true),
    ("fb_in1k", None, false),
    ("fb_in22k_ft_in1k", None, false),
    ("lvd142m", None, false),
    ("r160_in1k", None, false),
    ("in21k", Some(11_221), false),
    ("in21k_ft_in1k", Some(1000), false),
];

/// Every known name, in the table's order.
pub fn names() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(|entry| entry.name)
}

/// The configuration of a timm name, with or without a pretraining tag: `vit_tiny_patch16_224.augreg_in21k_ft_in1k`.
///
/// # Errors
/// An unknown name or tag; the message names the nearest ones.
pub fn lookup(name: &str) -> Result<VitConfig> {
    let plain = name.strip_prefix("hf_hub:timm/").or_else(|| name.strip_prefix("timm/")).unwrap_or(name);
    let (base, tag) = plain.split_once('.').map_or((plain, None), |(base, tag)| (base, Some(tag)));
    let entry = ENTRIES.iter().find(|entry| entry.name == base).ok_or_else(|| unknown("model", base, names()))?;
    let mut config = entry.config();
    if let Some(tag) = tag {
        let tags = || TAGS.iter().map(|(tag, ..)| *tag);
        let (_, classes, imagenet) =
            TAGS.iter().find(|(known, ..)| *known == tag).ok_or_else(|| unknown("pretraining tag", tag, tags()))?;
        config.classes = classes.unwrap_or(config.classes);
        if *imagenet {
            config.normalisation = Normalisation::imagenet();
        }
    }
    Ok(config)
}

impl Entry {
    fn config(&self) -> VitConfig {
        use Family::{
            Deit, Deit3, Dino2, Dino2Registers, Distilled, Flexi, Miil, PlainLayerScale, RegisterMean, TestRegister,
        };
        let (width, depth, heads, mlp_width) = self.size;
        let family = self.family;
        let register_tokens = match family {
            Dino2Registers => 4,
            RegisterMean { registers, .. } => registers,
            TestRegister => 1,
            _ => 0,
        };
        let mean = matches!(family, RegisterMean { .. } | TestRegister);
        VitConfig {
            image: [self.image; 2],
            channels: 3,
            patch: self.patch,
            width,
            depth,
            heads,
            head_width: width / heads,
            mlp_width,
            classes: self.classes,
            activation: Activation::Gelu,
            qkv_bias: family != Miil,
            norm_eps: 1e-6,
            layer_scale: matches!(
                family,
                PlainLayerScale
                    | Deit3
                    | Dino2
                    | Dino2Registers
                    | TestRegister
                    | RegisterMean { layer_scale: true, .. }
            ),
            class_token: !mean,
            distilled: family == Distilled,
            register_tokens,
            no_embed_class: matches!(family, Flexi | Deit3 | Dino2Registers | RegisterMean { .. }),
            pool: if mean { Pool::Mean } else { Pool::Token },
            drop_path: 0.0,
            stochastic: None,
            normalisation: match family {
                Miil => Normalisation::none(3),
                Deit | Distilled | Deit3 | Dino2 | Dino2Registers => Normalisation::imagenet(),
                _ => Normalisation::half(3),
            },
        }
    }
}

fn unknown<'a>(what: &str, given: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let mut known: Vec<(usize, &str)> = known.map(|name| (edit_distance(given, name), name)).collect();
    known.sort();
    let nearest: Vec<&str> = known.iter().take(3).map(|(_, name)| *name).collect();
    Error::new(what, format!("unknown {what}"))
        .with("given", given)
        .with("nearest", nearest.join(", "))
        .help("the registry holds timm's plain ViT and DeiT; for other sizes give an explicit configuration")
}

/// Levenshtein's distance: insertions, deletions and substitutions that turn one text into the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        for (b, above) in to.iter().zip(row.iter_mut().skip(1)) {
            let best = (left + 1).min(*above + 1).min(diagonal + usize::from(a != *b));
            diagonal = *above;
            *above = best;
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn unknown_names_get_the_nearest_ones() {
        let text = lookup("vit_tiny_patch16_225").unwrap_err().to_string();
        assert!(text.contains("vit_tiny_patch16_224"), "{text}");
        let text = lookup("deit_tinny_patch16_224").unwrap_err().to_string();
        assert!(text.contains("deit_tiny_patch16_224"), "{text}");
        let text = lookup("vit_tiny_patch16_224.augreg_in1").unwrap_err().to_string();
        assert!(text.contains("augreg_in1k"), "{text}");
    }

    #[test]
    fn tags_change_classes_and_normalisation() {
        let plain = lookup("vit_base_patch16_224").unwrap();
        let dino = lookup("timm/vit_base_patch16_224.dino").unwrap();
        assert_eq!((dino.classes, dino.normalisation), (0, Normalisation::imagenet()));
        assert_eq!(lookup("vit_base_patch16_224.augreg_in21k_ft_in1k").unwrap(), plain);
    }

    proptest! {
        #[test]
        fn edit_distance_is_a_metric(a in "[ab]{0,6}", b in "[ab]{0,6}", c in "[ab]{0,6}") {
            prop_assert_eq!(edit_distance(&a, &b), edit_distance(&b, &a));
            prop_assert_eq!(edit_distance(&a, &b) == 0, a == b);
            prop_assert!(edit_distance(&a, &c) <= edit_distance(&a, &b) + edit_distance(&b, &c));
            prop_assert!(edit_distance(&a, &b) >= a.len().abs_diff(b.len()));
        }
    }
}
