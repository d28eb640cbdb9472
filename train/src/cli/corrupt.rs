//! `vitrum corrupt`

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use engine::{Error, Result};
use rayon::prelude::*;
use train::data::{self, Dataset};
use train::eval::corruption::{Corruption, Corruptor, Options};

use super::args::{DataArgs, positive};
use super::common::Common;
use super::corruption_args::CorruptionArgs;
use super::progress::Progress;

/// Write corrupted images in the layout of CIFAR-C or ImageNet-C
///
/// npy: NAME.npy, bytes [5 n, h, w, c], the n images at severity 1, then at 2, and so on, and labels.npy, [5 n]; so all five
/// severities are needed. png: NAME/SEVERITY/CLASS/00000.png, numbered as in the data. `vitrum eval --corruption-data` reads both.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Folder to write into
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Layout of the files
    #[arg(long, value_enum, default_value_t = Format::Npy)]
    format: Format,
    /// Image size, pixels [default: as they are; 224 for folders of images that differ]
    #[arg(long, value_name = "PIXELS", value_parser = positive)]
    size: Option<usize>,
    #[command(flatten)]
    corruptions: CorruptionArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// CIFAR-C's
    Npy,
    /// ImageNet-C's, without loss
    Png,
}

const EXAMPLE: &str = "\
Example:
  vitrum corrupt --data cifar-10-batches-bin --out CIFAR-10-C --corruptions standard --frost create_c
  vitrum corrupt --data imagenet --out ImageNet-C --format png --corruptions glass_blur,fog --severities 3 \\
      --crop-pct 0.875 --interpolation bilinear";

/// Images corrupted at once, and kept in memory.
const CHUNK: usize = 512;

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let (chosen, severities) = (self.corruptions.named("standard")?, self.corruptions.levels()?);
        if self.format == Format::Npy && severities.len() != 5 {
            return Err(Error::new("--severities", "the .npy layout holds all five severities")
                .help("leave --severities out, or write --format png"));
        }
        std::fs::create_dir_all(&self.out).map_err(|error| Error::io(&self.out, "create", &error))?;
        let files: Vec<PathBuf> = match self.format {
            Format::Npy => chosen.iter().map(|name| self.out.join(format!("{name}.npy"))).collect(),
            Format::Png => chosen.iter().map(|name| self.out.join(name.name())).collect(),
        };
        let labels = self.out.join("labels.npy");
        engine::fs::check_writable(&labels)?;
        let options = self.corruptions.options(&chosen, common.seed)?;
        let (reader, split) = self.data.how.options(self.size, None, common.seed);
        let data = data::open(&self.data.data, split, &reader)?;
        for &corruption in &chosen {
            for &severity in &severities {
                Corruptor::new(corruption, severity, data.dims(), &options)?;
            }
        }
        let set = Set { data, options, severities, pool: pool(common.threads)? };
        let mut progress = Progress::new("img");
        for (&corruption, file) in chosen.iter().zip(&files) {
            match self.format {
                Format::Npy => set.write_npy(corruption, file, &mut progress)?,
                Format::Png => set.write_png(corruption, file, &mut progress)?,
            }
        }
        progress.finish();
        if self.format == Format::Npy {
            set.write_labels(&labels)?;
        }
        let screen = common.screen();
        screen.line(format_args!(
            "{}\nwritten: {} corruptions of them in {}",
            set.data,
            files.len(),
            self.out.display()
        ))?;
        screen.json(&serde_json::json!({
            "images": set.data.len(),
            "shape": set.data.dims(),
            "severities": set.severities,
            "files": files,
            "seed": common.seed,
            "final_jpeg": set.options.final_jpeg,
            "frost": if set.options.frost.is_published() { "photographs" } else { "procedural, not comparable" },
        }))
    }
}

/// Threads of its own: as many as --threads says.
pub fn pool(threads: Option<usize>) -> Result<rayon::ThreadPool> {
    if threads == Some(0) {
        return Err(Error::new("--threads", "at least one thread is needed"));
    }
    // 0: as many as there are processors.
    let builder = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0));
    builder.build().map_err(|error| Error::new("--threads", error.to_string()))
}

/// A data set, and how it is corrupted.
struct Set {
    data: Dataset,
    options: Options,
    severities: Vec<u8>,
    pool: rayon::ThreadPool,
}

impl Set {
    /// Corrupted images one after the other, [c, h, w] each, in chunks; `each` is given the position of the first.
    fn chunks(
        &self,
        corruption: Corruption,
        severity: u8,
        mut each: impl FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let corruptor = Corruptor::new(corruption, severity, self.data.dims(), &self.options)?;
        let volume = self.data.volume();
        for start in (0..self.data.len()).step_by(CHUNK) {
            let count = CHUNK.min(self.data.len() - start);
            let mut images = vec![0; count * volume];
            self.pool.install(|| {
                images.par_chunks_exact_mut(volume).enumerate().try_for_each(|(at, image)| {
                    image.copy_from_slice(self.data.image_u8(start + at)?);
                    corruptor.levels(image, self.data.id(start + at)?)
                })
            })?;
            each(start, &images)?;
        }
        Ok(())
    }

    fn write_npy(&self, corruption: Corruption, path: &Path, progress: &mut Progress) -> Result<()> {
        let ([channels, height, width], count) = (self.data.dims(), self.data.len());
        let mut step = |out: &mut std::io::BufWriter<std::fs::File>, severity: u8| {
            self.chunks(corruption, severity, |start, images| {
                for image in images.chunks_exact(self.data.volume()) {
                    out.write_all(&interleaved(image, height * width))
                        .map_err(|error| Error::io(path, "write", &error))?;
                }
                let seen = start + images.len() / self.data.volume();
                progress.show(&format!("{corruption} {severity}"), seen, count, "");
                Ok(())
            })
        };
        engine::fs::write_atomic(path, |out| {
            data::write_npy_header(out, &[self.severities.len() * count, height, width, channels])?;
            self.severities.iter().try_for_each(|&severity| step(out, severity)).map_err(std::io::Error::other)
        })
    }

    fn write_labels(&self, path: &Path) -> Result<()> {
        let label = |index: usize| {
            let label = self.data.label(index)?;
            u8::try_from(label).map_err(|_| {
                Error::new("corrupt", "labels.npy holds bytes, so at most 256 classes")
                    .with("label", label)
                    .help("write --format png")
            })
        };
        let labels: Vec<u8> = (0..self.data.len()).map(label).collect::<Result<_>>()?;
        engine::fs::write_atomic(path, |out| {
            data::write_npy_header(out, &[self.severities.len() * labels.len()])?;
            self.severities.iter().try_for_each(|_| out.write_all(&labels))
        })
    }

    fn write_png(&self, corruption: Corruption, folder: &Path, progress: &mut Progress) -> Result<()> {
        for &severity in &self.severities {
            let folder = folder.join(severity.to_string());
            // Of the classes that occur: a folder without images would be an error to read.
            let classes: BTreeSet<&Path> =
                (0..self.data.len()).map(|index| self.class(index)).collect::<Result<_>>()?;
            for class in classes {
                let class = folder.join(class);
                std::fs::create_dir_all(&class).map_err(|error| Error::io(&class, "create", &error))?;
            }
            self.chunks(corruption, severity, |start, images| {
                let volume = self.data.volume();
                self.pool.install(|| {
                    images
                        .par_chunks_exact(volume)
                        .enumerate()
                        .try_for_each(|(at, image)| self.write_picture(&folder, start + at, image))
                })?;
                progress.show(&format!("{corruption} {severity}"), start + images.len() / volume, self.data.len(), "");
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Name of the class of an image, which is that of its folder.
    fn class(&self, index: usize) -> Result<&Path> {
        let label = usize::try_from(self.data.label(index)?).ok();
        let name = label.and_then(|label| self.data.classes().get(label));
        name.map(Path::new).ok_or_else(|| Error::new("corrupt", "a label is no class").with("image", index))
    }

    fn write_picture(&self, folder: &Path, index: usize, image: &[u8]) -> Result<()> {
        let [channels, height, width] = self.data.dims();
        let path = folder.join(self.class(index)?).join(format!("{:05}.png", self.data.id(index)?));
        let narrow = |side: usize| {
            u32::try_from(side).map_err(|_| Error::new("corrupt", "the images are too large").with("side", side))
        };
        let (wide, high) = (narrow(width)?, narrow(height)?);
        let pixels = interleaved(image, height * width);
        let kind = if channels == 1 { image::ExtendedColorType::L8 } else { image::ExtendedColorType::Rgb8 };
        engine::fs::write_atomic(&path, |out| {
            use image::ImageEncoder;
            let encoder = image::codecs::png::PngEncoder::new(out);
            encoder.write_image(&pixels, wide, high, kind).map_err(std::io::Error::other)
        })
    }
}

/// [c, h, w] to [h, w, c].
fn interleaved(image: &[u8], area: usize) -> Vec<u8> {
    (0..area).flat_map(|at| image.iter().skip(at).step_by(area).copied()).collect()
}
