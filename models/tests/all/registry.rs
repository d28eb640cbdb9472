//! The whole registry against what timm 1.0.31 reports of each model: parameter count, heads and normalisation.

use vitrum_models::{Normalisation, registry};

/// Name, number of parameters (`sum(p.numel() for p in model.parameters())`), heads, normalisation of the default weights.
const TIMM: &[(&str, usize, usize, &str)] = &[
    ("vit_tiny_patch16_224", 5_717_416, 3, "half"),
    ("vit_tiny_patch16_384", 5_790_376, 3, "half"),
    ("vit_small_patch8_224", 21_670_272, 6, "imagenet"),
    ("vit_small_patch16_224", 22_050_664, 6, "half"),
    ("vit_small_patch16_384", 22_196_584, 6, "half"),
    ("vit_small_patch32_224", 22_878_952, 6, "half"),
    ("vit_small_patch32_384", 22_915_432, 6, "half"),
    ("vit_small_patch16_36x1_224", 64_665_448, 6, "half"),
    ("vit_base_patch8_224", 86_576_872, 12, "half"),
    ("vit_base_patch16_224", 86_567_656, 12, "half"),
    ("vit_base_patch16_384", 86_859_496, 12, "half"),
    ("vit_base_patch32_224", 88_224_232, 12, "half"),
    ("vit_base_patch32_384", 88_297_192, 12, "half"),
    ("vit_base_patch16_plus_240", 117_557_992, 14, "half"),
    ("vit_base_patch32_plus_256", 119_478_120, 14, "half"),
    ("vit_base_patch16_224_miil", 94_399_957, 12, "none"),
    ("vit_large_patch14_224", 304_203_752, 16, "half"),
    ("vit_large_patch16_224", 304_326_632, 16, "half"),
    ("vit_large_patch16_384", 304_715_752, 16, "half"),
    ("vit_large_patch32_224", 305_510_400, 16, "half"),
    ("vit_large_patch32_384", 306_632_680, 16, "half"),
    ("vit_huge_patch14_224", 630_764_800, 16, "half"),
    ("deit_tiny_patch16_224", 5_717_416, 3, "imagenet"),
    ("deit_small_patch16_224", 22_050_664, 6, "imagenet"),
    ("deit_base_patch16_224", 86_567_656, 12, "imagenet"),
    ("deit_base_patch16_384", 86_859_496, 12, "imagenet"),
    ("deit_tiny_distilled_patch16_224", 5_910_800, 3, "imagenet"),
    ("deit_small_distilled_patch16_224", 22_436_432, 6, "imagenet"),
    ("deit_base_distilled_patch16_224", 87_338_192, 12, "imagenet"),
    ("deit_base_distilled_patch16_384", 87_630_032, 12, "imagenet"),
    ("deit3_small_patch16_224", 22_059_496, 6, "imagenet"),
    ("deit3_small_patch16_384", 22_205_416, 6, "imagenet"),
    ("deit3_medium_patch16_224", 38_849_512, 8, "imagenet"),
    ("deit3_base_patch16_224", 86_585_320, 12, "imagenet"),
    ("deit3_base_patch16_384", 86_877_160, 12, "imagenet"),
    ("deit3_large_patch16_224", 304_374_760, 16, "imagenet"),
    ("deit3_large_patch16_384", 304_763_880, 16, "imagenet"),
    ("deit3_huge_patch14_224", 632_126_440, 16, "imagenet"),
    ("flexivit_small", 22_061_416, 6, "half"),
    ("flexivit_base", 86_589_160, 12, "half"),
    ("flexivit_large", 304_355_304, 16, "half"),
    ("vit_small_patch14_dinov2", 22_056_192, 6, "imagenet"),
    ("vit_base_patch14_dinov2", 86_579_712, 12, "imagenet"),
    ("vit_large_patch14_dinov2", 304_367_616, 16, "imagenet"),
    ("vit_small_patch14_reg4_dinov2", 22_057_344, 6, "imagenet"),
    ("vit_base_patch14_reg4_dinov2", 86_582_016, 12, "imagenet"),
    ("vit_large_patch14_reg4_dinov2", 304_370_688, 16, "imagenet"),
    ("vit_wee_patch16_reg1_gap_256", 13_422_568, 4, "half"),
    ("vit_little_patch16_reg1_gap_256", 22_515_048, 5, "half"),
    ("vit_little_patch16_reg4_gap_256", 22_516_008, 5, "half"),
    ("vit_medium_patch16_reg1_gap_256", 38_880_232, 8, "half"),
    ("vit_medium_patch16_reg4_gap_256", 38_881_768, 8, "half"),
    ("vit_mediumd_patch16_reg4_gap_256", 64_109_032, 8, "half"),
    ("vit_mediumd_patch16_reg4_gap_384", 64_272_872, 8, "half"),
    ("vit_betwixt_patch16_reg1_gap_256", 60_396_520, 10, "half"),
    ("vit_betwixt_patch16_reg4_gap_256", 60_398_440, 10, "half"),
    ("vit_betwixt_patch16_reg4_gap_384", 60_603_240, 10, "half"),
    ("vit_base_patch16_reg4_gap_256", 86_615_272, 12, "half"),
    ("test_vit", 371_240, 2, "half"),
    ("test_vit2", 455_720, 2, "half"),
];

#[test]
fn every_entry_is_sound_and_has_timms_figures() {
    assert_eq!(registry::names().count(), TIMM.len());
    for &(name, parameters, heads, normalisation) in TIMM {
        let config = registry::lookup(name).unwrap();
        config.validate().unwrap();
        assert_eq!(config.parameter_count(), parameters, "{name}");
        assert_eq!((config.heads, config.head_width * heads), (heads, config.width), "{name}");
        assert_eq!(config.normalisation, Normalisation::parse(normalisation, 3).unwrap(), "{name}");
        assert_eq!((config.norm_eps, config.channels), (1e-6, 3), "{name}");
    }
}
