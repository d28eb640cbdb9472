//! Data and weights of given shapes whose values don't matter much: for plans and benches.

use engine::rng::{Philox, Stream};
use engine::{DType, Result, Spec, Tensor};
use models::VitConfig;
use train::data::Dataset;

/// `count` images of noise with random labels, of a model's shape and classes.
pub fn dataset(config: &VitConfig, count: usize, seed: u64) -> Result<Dataset> {
    let dims = [config.channels, config.image[0], config.image[1]];
    let draw = Philox::new(seed, 0, Stream::named("cli.dummy"));
    let bytes = (0..count * dims.iter().product::<usize>()).map(|i| draw.bits(0, i).to_le_bytes()[0]).collect();
    let classes = u32::try_from(config.classes).unwrap_or(u32::MAX);
    let labels = (0..count).map(|i| draw.below(1, i, classes).cast_signed()).collect();
    Dataset::new("noise", dims, bytes, labels, (0..config.classes).map(|class| class.to_string()).collect())
}

/// Parameters of zeros.
pub fn zeros(config: &VitConfig) -> Result<Vec<(String, Tensor)>> {
    let zero = |(name, dims): (String, Vec<usize>)| Ok((name, Tensor::zeros(Spec::new(DType::F32, &dims)?)));
    config.parameters().into_iter().map(zero).collect()
}
