//! `frost`, and the pictures that it pastes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::rng::{Philox, Stream};
use engine::{Error, Result};

use super::Scale;
use super::colour::gray;
use super::picture::{Draws, Effect, Picture, real, truncate, whole};
use super::weather::diamond_square;

/// How many pictures there are to choose from. The published generator has a sixth and never takes it.
const COUNT: usize = 5;

/// What the corruption `frost` pastes.
#[derive(Clone, Debug)]
pub enum Frost {
    /// Textures drawn for the purpose. Figures with them are **not comparable** with published ones.
    Procedural,
    /// The photographs frost1 to frost5 of the published generator.
    Photographs(Arc<[Texture]>),
}

/// A picture of frost.
#[derive(Clone, Debug)]
pub struct Texture {
    levels: Vec<u8>, // [3, h, w]
    size: [usize; 2],
}

impl Frost {
    /// Reads `frost1` to `frost5`, .png, .jpg or .jpeg, from a folder.
    ///
    /// # Errors
    /// One is missing or can't be read.
    pub fn open(folder: &Path) -> Result<Self> {
        let textures: Vec<Texture> = (1..=COUNT).map(|number| Texture::open(folder, number)).collect::<Result<_>>()?;
        Ok(Self::Photographs(textures.into()))
    }

    /// Whether figures with it can be compared with published ones.
    pub fn is_published(&self) -> bool {
        matches!(self, Self::Photographs(_))
    }

    fn textures(&self, scale: Scale, size: [usize; 2]) -> Vec<Texture> {
        match self {
            Self::Procedural => (0..COUNT).map(|number| Texture::draw(number, size)).collect(),
            Self::Photographs(textures) if scale == Scale::Cifar => textures.iter().map(Texture::fifth).collect(),
            Self::Photographs(textures) => textures.to_vec(),
        }
    }
}

impl Texture {
    fn open(folder: &Path, number: usize) -> Result<Self> {
        let names = ["png", "jpg", "jpeg"].map(|extension| folder.join(format!("frost{number}.{extension}")));
        let path: &PathBuf = names.iter().find(|path| path.is_file()).ok_or_else(|| {
            Error::new(folder.display().to_string(), "a photograph of frost is missing")
                .with("file", format!("frost{number}.png or .jpg"))
                .help("put frost1 to frost5 of the published ImageNet-C generator there, or leave --frost out")
        })?;
        let place = || path.display().to_string();
        let decoded = image::ImageReader::open(path)
            .and_then(image::ImageReader::with_guessed_format)
            .map_err(|error| Error::io(path, "read", &error))?
            .decode()
            .map_err(|error| Error::new(place(), format!("can't decode the image: {error}")))?
            .to_rgb8();
        let size = [decoded.height() as usize, decoded.width() as usize];
        let levels = (0..3).flat_map(|channel| decoded.pixels().map(move |pixel| pixel.0[channel])).collect();
        Ok(Self { levels, size })
    }

    /// A fifth of each side, as OpenCV's bilinear `resize` gives it: its sampling points are pixels 2, 7, 12, ...
    fn fifth(&self) -> Self {
        let size = self.size.map(|side| whole((real(side) * 0.2).round_ties_even()).max(1));
        let [height, width] = self.size;
        let at = |y: usize, x: usize| (5 * y + 2).min(height - 1) * width + (5 * x + 2).min(width - 1);
        let levels = self
            .levels
            .chunks_exact(height * width)
            .flat_map(|plane| (0..size[0]).flat_map(move |y| (0..size[1]).map(move |x| plane[at(y, x)])));
        Self { levels: levels.collect(), size }
    }

    /// Bluish ridges of a diamond-square map, where its height crosses one half, over a haze of another.
    fn draw(number: usize, [height, width]: [usize; 2]) -> Self {
        let side = (height.max(width) + 1).next_power_of_two().max(32) * 2;
        let map = |stream: Stream, decay: f64| {
            let mut uniform = Vec::with_capacity(side * side);
            let sample = u32::try_from(number).unwrap_or(0);
            Philox::new(0, 0, stream).fill(sample, side * side, |_, bits| {
                uniform.push(f64::from(engine::rng::uniform(bits)));
            });
            diamond_square(side, decay, &uniform)
        };
        let ridges = map(Stream::named("corruption.frost.ridges"), 1.6);
        let haze = map(Stream::named("corruption.frost.haze"), 2.2);
        let ice: Vec<f64> =
            ridges.iter().zip(haze).map(|(r, h)| 0.6 * (1.0 - (2.0 * r - 1.0).abs()).powi(4) + 0.4 * h).collect();
        let levels = [0.88, 0.95, 1.0].iter().flat_map(|tint| ice.iter().map(move |x| truncate(255.0 * tint * x)));
        Self { levels: levels.collect(), size: [side; 2] }
    }
}

/// `frost`: constants are the factors of the image and of the frost.
pub(super) struct Frosted {
    image: f64,
    frost: f64,
    textures: Vec<Texture>,
}

impl Frosted {
    /// # Errors
    /// A picture of frost is not larger than the images.
    pub fn new([image, factor]: [f64; 2], scale: Scale, size: [usize; 2], frost: &Frost) -> Result<Self> {
        let textures = frost.textures(scale, size);
        let small = textures.iter().position(|texture| texture.size[0] <= size[0] || texture.size[1] <= size[1]);
        match small {
            None => Ok(Self { image, frost: factor, textures }),
            Some(at) => Err(Error::new("frost", "a picture of frost must be larger than the images")
                .with("picture", format!("frost{}", at + 1))
                .with("its size as used [h, w]", format!("{:?}", textures[at].size))
                .help("use smaller images, or the published photographs")),
        }
    }
}

impl Effect for Frosted {
    fn apply(&self, picture: &mut Picture, draws: &Draws) {
        let philox = draws.philox(Stream::named("corruption.frost"));
        let draw = |element: usize, bound: usize| {
            philox.below(draws.sample, element, u32::try_from(bound).unwrap_or(u32::MAX)) as usize
        };
        let ([height, width], channels) = (picture.size, picture.channels);
        let texture = &self.textures[draw(0, self.textures.len())];
        let [rows, columns] = texture.size;
        let (top, left) = (draw(1, rows - height), draw(2, columns - width));
        let crop = |plane: &[u8]| -> Vec<u8> {
            (0..height * width).map(|at| plane[(top + at / width) * columns + left + at % width]).collect()
        };
        let mut cropped: Vec<u8> = texture.levels.chunks_exact(rows * columns).flat_map(crop).collect();
        if channels == 1 {
            let colours: Vec<f32> = cropped.iter().map(|&level| f32::from(level)).collect();
            cropped = gray(&colours, 3).iter().map(|&level| truncate(f64::from(level) + 0.5)).collect();
        }
        for (level, frost) in picture.levels.iter_mut().zip(cropped) {
            *level = truncate((self.image * f64::from(*level) + self.frost * f64::from(frost)).min(255.0));
        }
    }
}
