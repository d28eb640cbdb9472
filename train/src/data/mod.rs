//! Labelled images: readers, augmentation, and the loader that makes batches of them.
//!
//! Images are `[c, h, w]` with values in [0, 1]; normalisation by mean and standard deviation belongs to the model. In
//! memory they are bytes, a quarter of what f32 would take, and become f32 as batches are made.

pub mod augment;
mod cifar;
mod corrupted;
mod dataset;
mod idx;
mod image_folder;
pub mod loader;
mod memory;
pub(crate) mod mix;
mod npy;
mod pixels;
mod shapes;
mod synthetic;

#[cfg(test)]
mod real_data_tests;

use std::fmt;
use std::path::{Path, PathBuf};

use engine::{Error, Result};

pub use augment::{Augment, RandAugment};
pub use corrupted::Published;
pub use dataset::Dataset;
pub use loader::{Batch, Batches, Loader};
pub use mix::Mix;
pub use npy::write_header as write_npy_header;
pub use pixels::Interpolation;

/// Which part of a data set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Split {
    /// What a model is trained on.
    Train,
    /// What a model is measured on: the official test set, or an image folder's `val/` or `test/`.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}

/// How [`open`] prepares images.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Options {
    /// Height and width of the images, pixels. `None`: as they are; for image folders whose files differ in size or
    /// are not square, 224.
    pub size: Option<usize>,
    /// 1 (luma of ITU-R BT.601) or 3 (gray is repeated). `None`: as they are; image folders give 3.
    pub channels: Option<usize>,
    /// At most so many images: the first of binary files, evenly spaced ones of an image folder (which lies sorted by
    /// class), and for `synthetic` the number to draw.
    pub limit: Option<usize>,
    /// Seed of what is drawn: the synthetic images, and the split that [`open_pair`] makes of an undivided folder.
    pub seed: u64,
    /// Image folders: the shorter side is resized to `floor(size / crop_pct)`, then the centre is cropped; 0.9 is what
    /// timm's ViT configurations use at 224.
    pub crop_pct: f32,
    /// Filter of every resize; both widen when they shrink an image, as Pillow's do.
    pub interpolation: Interpolation,
}

impl Default for Options {
    fn default() -> Self {
        let interpolation = Interpolation::Bicubic;
        Self { size: None, channels: None, limit: None, seed: 0, crop_pct: 0.9, interpolation }
    }
}

impl Options {
    fn validate(&self) -> Result<()> {
        let place = "data options";
        if self.size.is_some_and(|size| size == 0 || size > MAX_SIZE) {
            return Err(Error::new(place, format!("the image size must lie in 1..={MAX_SIZE}"))
                .with("size", self.size.unwrap_or(0)));
        }
        if self.channels.is_some_and(|channels| channels != 1 && channels != 3) {
            return Err(Error::new(place, "images have 1 (gray) or 3 (RGB) channels")
                .with("channels", self.channels.unwrap_or(0)));
        }
        if self.limit == Some(0) {
            return Err(Error::new(place, "a data set of 0 images is of no use").with("limit", 0));
        }
        if !(self.crop_pct > 0.0 && self.crop_pct <= 1.0) {
            return Err(Error::new(place, "crop_pct must lie in (0, 1]").with("crop_pct", self.crop_pct));
        }
        Ok(())
    }
}

/// Largest height and width that readers give, pixels.
const MAX_SIZE: usize = 4096;

/// Opens `split` of the data set that `spec` names:
///
/// | spec | what |
/// |---|---|
/// | `synthetic` | ten classes of drawn shapes, no files needed |
/// | a folder with `data_batch_*.bin`, `test_batch.bin` | CIFAR-10, binary version |
/// | a folder with `train.bin`, `test.bin` | CIFAR-100, binary version, fine labels |
/// | a folder with `train-images-idx3-ubyte`, ..., gzip or raw | MNIST, Fashion-MNIST |
/// | a folder with `train/` and `val/` or `test/`, one folder per class in each | JPEG, PNG, WebP images |
/// | a folder with one folder per class | the same, not divided: either split is all of it |
///
/// Classes of image folders are numbered in the order of their names. Where both `val/` and `test/` exist, `val/` is
/// taken. Images are decoded once, here, and kept as bytes after resizing: `size`² · channels bytes each.
///
/// # Errors
/// The folder holds none of these; a file is unreadable, truncated, too long or contradicts another; a label is out of
/// range; the images don't fit into memory; an option is out of range.
pub fn open(spec: &str, split: Split, options: &Options) -> Result<Dataset> {
    options.validate()?;
    match locate(spec)? {
        Source::Synthetic => synthetic::open(split, options)?.convert(None, options.channels, options.interpolation),
        Source::Folder(folder) => image_folder::open(&folder, split, options),
        Source::Cifar10(folder) => finish(cifar::open(&folder, &cifar::CIFAR_10, split)?, options),
        Source::Cifar100(folder) => finish(cifar::open(&folder, &cifar::CIFAR_100, split)?, options),
        Source::Idx(folder) => finish(idx::open(&folder, split)?, options),
    }
}

/// Opens both splits. A folder that isn't divided is: a fifth of each class, drawn by `options.seed`, becomes the test
/// set.
///
/// # Errors
/// As [`open`].
pub fn open_pair(spec: &str, options: &Options) -> Result<(Dataset, Dataset)> {
    options.validate()?;
    if let Source::Folder(folder) = locate(spec)?
        && !image_folder::is_divided(&folder)
    {
        return open(spec, Split::Train, options)?.holdout(0.2, options.seed);
    }
    let train = open(spec, Split::Train, options)?;
    let test = open(spec, Split::Test, options)?;
    if train.dims() == test.dims() {
        return Ok((train, test));
    }
    Err(Error::new(spec, "training and test images differ in shape")
        .with("train", format!("{:?}", train.dims()))
        .with("test", format!("{:?}", test.dims()))
        .help("give an image size"))
}

fn finish(dataset: Dataset, options: &Options) -> Result<Dataset> {
    let kept = options.limit.unwrap_or(usize::MAX).min(dataset.len());
    dataset.subset(0..kept)?.convert(options.size, options.channels, options.interpolation)
}

/// Where a data set lies and what it is.
enum Source {
    Synthetic,
    Cifar10(PathBuf),
    Cifar100(PathBuf),
    Idx(PathBuf),
    Folder(PathBuf),
}

/// Folders inside the named one where archives and other tools put the files.
const NESTED: [&str; 6] = ["", "cifar-10-batches-bin", "cifar-100-binary", "raw", "MNIST/raw", "FashionMNIST/raw"];

fn locate(spec: &str) -> Result<Source> {
    if spec == "synthetic" {
        return Ok(Source::Synthetic);
    }
    let root = Path::new(spec);
    if !root.is_dir() {
        let problem = if root.exists() { "is a file, not a data folder" } else { "no such data set or folder" };
        return Err(Error::new(spec, problem).help(FORMS));
    }
    for nested in NESTED {
        let folder = if nested.is_empty() { root.to_path_buf() } else { root.join(nested) };
        if cifar::found(&folder, &cifar::CIFAR_10) {
            return Ok(Source::Cifar10(folder));
        }
        if cifar::found(&folder, &cifar::CIFAR_100) {
            return Ok(Source::Cifar100(folder));
        }
        if idx::found(&folder) {
            return Ok(Source::Idx(folder));
        }
    }
    if ["data_batch_1", "meta"].iter().any(|name| root.join(name).is_file()) {
        return Err(Error::new(spec, "this is CIFAR's Python version (pickles)").help("use the binary version"));
    }
    if image_folder::subfolders(root)?.is_empty() {
        return Err(Error::new(spec, "the folder holds no data set that can be read").help(FORMS));
    }
    Ok(Source::Folder(root.to_path_buf()))
}

const FORMS: &str = "data is `synthetic`, or a folder with CIFAR-10/100 .bin files, MNIST idx files (.gz or raw), \
                     or images in one folder per class, in train/ and val/ or directly";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_data_names_the_forms_that_exist() {
        for (spec, problem) in [("syntetic", "no such data set"), (env!("CARGO_MANIFEST_PATH"), "is a file")] {
            let error = open(spec, Split::Train, &Options::default()).unwrap_err().to_string();
            assert!(error.starts_with(spec) && error.contains(problem) && error.contains("`synthetic`"), "{error}");
        }
        let empty = tempfile::tempdir().unwrap();
        let error = open(empty.path().to_str().unwrap(), Split::Test, &Options::default()).unwrap_err().to_string();
        assert!(error.contains("holds no data set"), "{error}");
        std::fs::write(empty.path().join("data_batch_1"), b"pickle").unwrap();
        let error = open(empty.path().to_str().unwrap(), Split::Test, &Options::default()).unwrap_err().to_string();
        assert!(error.contains("binary version"), "{error}");
    }

    #[test]
    fn options_out_of_range_are_refused_by_name() {
        let refused = |options: Options| open("synthetic", Split::Test, &options).unwrap_err().to_string();
        assert!(refused(Options { size: Some(0), ..Options::default() }).contains("size"));
        assert!(refused(Options { channels: Some(2), ..Options::default() }).contains("channels"));
        assert!(refused(Options { limit: Some(0), ..Options::default() }).contains("limit"));
        assert!(refused(Options { crop_pct: f32::NAN, ..Options::default() }).contains("crop_pct"));
    }
}
