//! Images, labels and results in safetensors files.

use std::path::{Path, PathBuf};

use engine::{DType, Error, Result};
use models::VitConfig;
use models::tensor_file::TensorFile;
use train::eval::sanity;

/// Images [n, c, h, w] in [0, 1].
pub struct Images {
    pub count: usize,
    pub pixels: Vec<f32>,
}

/// Reads the tensor `images` of a file, for a model of `config`.
pub fn read_images(file: &TensorFile, config: &VitConfig) -> Result<Images> {
    let place = format!("{}: images", file.path().display());
    let tensor = file.read("images")?;
    let expected = [config.channels, config.image[0], config.image[1]];
    let count = match *tensor.dims() {
        [count, c, h, w] if [c, h, w] == expected && count > 0 => count,
        _ => {
            let [c, h, w] = expected;
            return Err(Error::new(place, "the images do not have the model's shape")
                .with("images", tensor.spec())
                .with("model", format!("[n, {c}, {h}, {w}]"))
                .help("resize the images, or adapt the model: --image-size, --channels"));
        }
    };
    if !matches!(tensor.spec().dtype, DType::F32 | DType::F64 | DType::F16 | DType::Bf16) {
        return Err(Error::new(place, "images must be floats in [0, 1]")
            .with("images", tensor.spec())
            .help("divide bytes by 255"));
    }
    let mut pixels = tensor.cast::<f32>()?.values::<f32>()?.to_vec();
    sanity::check_images(&place, &mut pixels, expected, &config.normalisation)?;
    Ok(Images { count, pixels })
}

/// Reads the tensor `labels` of a file: `count` class indices below `classes`.
pub fn read_labels(file: &TensorFile, count: usize, classes: usize) -> Result<Vec<i32>> {
    let place = format!("{}: labels", file.path().display());
    let tensor = file.read("labels")?;
    let integer = matches!(tensor.spec().dtype, DType::I32 | DType::U32 | DType::U8);
    if tensor.dims() != [count] || !integer {
        return Err(Error::new(place, "labels must be one integer per image")
            .with("labels", tensor.spec())
            .with("images", count));
    }
    let labels = tensor.to_f64();
    let label = |(at, &value): (usize, &f64)| {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and checked against the classes")]
        let label = value as i64;
        i32::try_from(label).ok().filter(|&label| usize::try_from(label).is_ok_and(|label| label < classes)).ok_or_else(
            || {
                Error::new(&place, "a label is no class of the model")
                    .with("index", at)
                    .with("label", value)
                    .with("classes", classes)
            },
        )
    };
    labels.iter().enumerate().map(label).collect()
}

/// Finds out, before work starts, that `output` can be written and is none of the `inputs`.
pub fn check_output(output: &Path, inputs: &[&Path]) -> Result<()> {
    let same = |path: &Path| -> Option<PathBuf> { std::fs::canonicalize(path).ok() };
    if let Some(target) = same(output)
        && inputs.iter().any(|input| same(input).as_ref() == Some(&target))
    {
        return Err(Error::new(output.display().to_string(), "the output is also an input").help("give another name"));
    }
    engine::fs::check_writable(output)
}

/// `values` and then as many `fill` as it takes.
pub fn padded<T: Copy>(values: &[T], length: usize, fill: T) -> Vec<T> {
    let mut values = values.to_vec();
    values.resize(length, fill);
    values
}
