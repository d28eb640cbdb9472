//! Fresh parameters as timm draws them, by Philox: a value depends on the seed and the parameter's name only.
//!
//! | parameter | distribution |
//! |---|---|
//! | `patch_embed.proj.weight`, `.bias` | U(-1/sqrt(n), 1/sqrt(n)), n = channels patch^2 (torch's default of a convolution) |
//! | other weights of linear layers, `pos_embed`, `dist_token` | N(0, 0.02^2) |
//! | `cls_token`, `reg_token` | N(0, 1e-6^2) |
//! | LayerNorm weights | 1 |
//! | other biases | 0 |
//! | LayerScale | 1e-5 |
//!
//! timm calls the second row a truncated normal, but truncates at plus and minus 2, a hundred deviations away.

use engine::rng::{Philox, Stream};
use engine::{Result, Tensor};

use crate::config::VitConfig;

/// Draws every parameter of `config`, f32, in the order of [`VitConfig::parameters`].
///
/// # Errors
/// The configuration is not valid, or a parameter has too many elements.
pub fn init(config: &VitConfig, seed: u64) -> Result<Vec<(String, Tensor)>> {
    config.validate()?;
    let draw = |(name, dims): (String, Vec<usize>)| {
        let tensor = parameter(config, &name, &dims, seed)?;
        Ok((name, tensor))
    };
    config.parameters().into_iter().map(draw).collect()
}

/// Draws one parameter of `config`.
pub(crate) fn parameter(config: &VitConfig, name: &str, dims: &[usize], seed: u64) -> Result<Tensor> {
    let philox = Philox::new(seed, 0, Stream::named(&format!("init.{name}")));
    let normal = |std: f32| Tensor::from_fn(dims, |i| std * philox.normal(0, i));
    let constant = |value: f32| Tensor::from_fn(dims, |_| value);
    if name.starts_with("patch_embed.") {
        #[expect(clippy::cast_precision_loss, reason = "values of a patch are few")]
        let bound = 1.0 / (config.patch_values() as f32).sqrt();
        return Tensor::from_fn(dims, |i| bound * (2.0 * philox.uniform(0, i) - 1.0));
    }
    match name {
        "cls_token" | "reg_token" => normal(1e-6),
        "pos_embed" | "dist_token" => normal(0.02),
        _ if name.ends_with(".gamma") => constant(1e-5),
        _ if name.ends_with(".bias") => constant(0.0),
        // The only weights that are vectors are LayerNorm's.
        _ if dims.len() == 1 => constant(1.0),
        _ => normal(0.02),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;

    #[test]
    fn each_parameter_has_its_distribution() {
        let config = VitConfig { distilled: true, layer_scale: true, ..registry::lookup("test_vit").unwrap() };
        for (name, tensor) in init(&config, 1).unwrap() {
            let values = tensor.values::<f32>().unwrap();
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let count = values.len() as f64;
            let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
            let std = (values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count).sqrt();
            let (expected_mean, expected_std) = match name.as_str() {
                "cls_token" => (0.0, 1e-6),
                // U(-a, a) has deviation a / sqrt 3, a = 1 / sqrt(3 16 16).
                _ if name.starts_with("patch_embed") => (0.0, 1.0 / 768.0_f64.sqrt() / 3.0_f64.sqrt()),
                _ if name.contains("gamma") => (f64::from(1e-5_f32), 0.0),
                _ if name.contains("norm") && name.ends_with("weight") => (1.0, 0.0),
                _ if name.ends_with("bias") => (0.0, 0.0),
                _ => (0.0, 0.02),
            };
            // Five standard errors of a mean and of a normal deviation.
            assert!((mean - expected_mean).abs() <= 5.0 * expected_std / count.sqrt(), "{name}: mean {mean}");
            assert!((std - expected_std).abs() <= 5.0 * expected_std / (2.0 * count).sqrt(), "{name}: std {std}");
        }
    }

    #[test]
    fn seed_and_name_decide_and_nothing_else() {
        let config = registry::lookup("test_vit").unwrap();
        let deeper = VitConfig { depth: 7, classes: 3, ..config.clone() };
        let (a, b) = (init(&config, 5).unwrap(), init(&deeper, 5).unwrap());
        let same = a.iter().filter(|tensor| b.contains(tensor)).count();
        assert_eq!(same, a.len() - 2, "only the head differs: other rows");
        let other = init(&config, 6).unwrap();
        assert!(a.iter().zip(&other).all(|((name, x), (_, y))| (x == y)
            == (name.contains("norm") || name.contains("blocks") && name.ends_with("bias") || name == "head.bias")));
    }
}
