//! A set of labelled images in memory.

use std::ops::Range;
use std::sync::Arc;

use engine::rng::{Philox, Stream};
use engine::{Error, Result};

use super::pixels::{self, Interpolation};

/// Labelled images of one shape, kept as bytes. Subsets share the pixels of the set they are taken from.
#[derive(Clone)]
pub struct Dataset {
    name: String,
    dims: [usize; 3],
    classes: Arc<[String]>,
    pixels: Arc<Vec<u8>>, // [images of the set as opened, c, h, w]
    labels: Arc<[i32]>,
    ids: Vec<u32>,
}

impl Dataset {
    /// A data set from its bytes: `pixels` is `[n, c, h, w]`, 255 meaning 1.0; `labels` are n numbers of classes.
    ///
    /// # Errors
    /// The shape is empty, counts disagree, or a label is not below the number of classes.
    pub fn new(
        name: impl Into<String>,
        dims: [usize; 3],
        pixels: Vec<u8>,
        labels: Vec<i32>,
        classes: Vec<String>,
    ) -> Result<Self> {
        let name = name.into();
        let volume = dims.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim)).filter(|&v| v > 0);
        if labels.is_empty() || volume.and_then(|v| v.checked_mul(labels.len())) != Some(pixels.len()) {
            return Err(Error::new(name, "images and labels disagree, or there are none")
                .with("image", format!("{dims:?}"))
                .with("bytes of pixels", pixels.len())
                .with("labels", labels.len()));
        }
        let in_range = |label: &i32| usize::try_from(*label).is_ok_and(|label| label < classes.len());
        if let Some(position) = labels.iter().position(|label| !in_range(label)) {
            return Err(Error::new(name, "label out of range")
                .with("image", position)
                .with("label", labels.get(position).copied().unwrap_or(-1))
                .with("classes", classes.len()));
        }
        let count = u32::try_from(labels.len())
            .map_err(|_| Error::new(&*name, "a data set holds fewer than 2^32 images").with("images", labels.len()))?;
        // Not Arc<[u8]>: that would copy what may be gigabytes.
        let (classes, pixels, labels) = (classes.into(), Arc::new(pixels), labels.into());
        Ok(Self { name, dims, classes, pixels, labels, ids: (0..count).collect() })
    }

    /// What was opened, for logs and reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no images: a subset may be empty.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// `[channels, height, width]` of every image.
    pub fn dims(&self) -> [usize; 3] {
        self.dims
    }

    /// Values per image: channels · height · width.
    pub fn volume(&self) -> usize {
        self.dims.iter().product()
    }

    /// Names of the classes; a label is an index into them.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Sample id of the image at `index`: its position in the data set as opened. Subsets and shuffles keep it, so that
    /// what is drawn for a sample does not depend on what it is batched with.
    ///
    /// # Errors
    /// `index` is not below [`len`](Self::len).
    pub fn id(&self, index: usize) -> Result<u32> {
        self.ids.get(index).copied().ok_or_else(|| self.outside(index))
    }

    /// Class of the image at `index`.
    ///
    /// # Errors
    /// `index` is not below [`len`](Self::len).
    pub fn label(&self, index: usize) -> Result<i32> {
        let row = self.id(index)? as usize;
        self.labels.get(row).copied().ok_or_else(|| self.outside(index))
    }

    /// Classes of all images, in order.
    ///
    /// # Errors
    /// As [`Dataset::label`].
    pub fn labels(&self) -> Result<Vec<i32>> {
        (0..self.len()).map(|index| self.label(index)).collect()
    }

    /// The image at `index` as stored, `[c, h, w]`.
    ///
    /// # Errors
    /// `index` is not below [`len`](Self::len).
    pub fn image_u8(&self, index: usize) -> Result<&[u8]> {
        let (row, volume) = (self.id(index)? as usize, self.volume());
        self.pixels.get(row * volume..(row + 1) * volume).ok_or_else(|| self.outside(index))
    }

    /// Writes the image at `index` into `out`, `[c, h, w]` in [0, 1].
    ///
    /// # Errors
    /// `index` is not below [`len`](Self::len), or `out` does not hold [`volume`](Self::volume) values.
    pub fn image_f32(&self, index: usize, out: &mut [f32]) -> Result<()> {
        let image = self.image_u8(index)?;
        if out.len() != image.len() {
            return Err(Error::new(&*self.name, "the buffer does not fit the image")
                .with("image", format!("{:?}", self.dims))
                .with("buffer", out.len()));
        }
        for (value, &byte) in out.iter_mut().zip(image) {
            *value = f32::from(byte) / 255.0;
        }
        Ok(())
    }

    /// The images at positions `range`.
    ///
    /// # Errors
    /// `range` reaches beyond the end or is reversed.
    pub fn subset(&self, range: Range<usize>) -> Result<Self> {
        let ids = self.ids.get(range.clone()).ok_or_else(|| {
            Error::new(&*self.name, "no such subset").with("range", format!("{range:?}")).with("images", self.len())
        })?;
        Ok(Self { ids: ids.to_vec(), ..self.clone() })
    }

    /// The images at the given positions, in that order.
    ///
    /// # Errors
    /// A position is not below [`len`](Self::len).
    pub fn select(&self, positions: &[usize]) -> Result<Self> {
        let ids = positions.iter().map(|&position| self.id(position)).collect::<Result<_>>()?;
        Ok(Self { ids, ..self.clone() })
    }

    /// Splits off `fraction` of each class (rounded, at least one image), drawn by `seed`: (rest, held out). Both keep
    /// the order of this set.
    ///
    /// # Errors
    /// `fraction` is not inside (0, 1), or a class has a single image, so that one part would miss it.
    pub fn holdout(&self, fraction: f64, seed: u64) -> Result<(Self, Self)> {
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(
                Error::new(&*self.name, "the held-out fraction must lie inside (0, 1)").with("fraction", fraction)
            );
        }
        let draw = Philox::new(seed, 0, Stream::named("data.holdout"));
        let mut held = vec![false; self.len()];
        for (class, class_name) in self.classes.iter().enumerate() {
            let belongs = |index: &usize| self.label(*index).is_ok_and(|label| usize::try_from(label) == Ok(class));
            let mut members: Vec<usize> = (0..self.len()).filter(belongs).collect();
            if members.len() == 1 {
                return Err(Error::new(&*self.name, "a class of one image can't be divided").with("class", class_name));
            }
            members.sort_by_key(|&index| {
                let id = self.ids.get(index).copied().unwrap_or(0);
                (draw.bits(id, 0), id)
            });
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "rounded, and between 1 and the number of members"
            )]
            let count = ((members.len() as f64 * fraction).round() as usize).clamp(1, members.len().max(2) - 1);
            for &index in members.iter().take(count) {
                if let Some(flag) = held.get_mut(index) {
                    *flag = true;
                }
            }
        }
        let part = |wanted: bool, suffix: &str| {
            let kept = self.ids.iter().zip(&held).filter(|&(_, &flag)| flag == wanted).map(|(&id, _)| id).collect();
            Self { ids: kept, name: format!("{}, {suffix}", self.name), ..self.clone() }
        };
        Ok((part(false, "kept part"), part(true, "held-out part")))
    }

    /// The same images resized to `size` x `size` and with `channels` channels, where given.
    pub(super) fn convert(
        self,
        size: Option<usize>,
        channels: Option<usize>,
        interpolation: Interpolation,
    ) -> Result<Self> {
        let [c, h, w] = self.dims;
        let wanted = [channels.unwrap_or(c), size.unwrap_or(h), size.unwrap_or(w)];
        let whole = self.labels.len() == self.len();
        if wanted == self.dims && whole {
            return Ok(self);
        }
        // Only the subset's own images are worth converting and keeping.
        let images: Vec<&[u8]> = (0..self.len()).map(|index| self.image_u8(index)).collect::<Result<_>>()?;
        let labels: Vec<i32> = (0..self.len()).map(|index| self.label(index)).collect::<Result<_>>()?;
        let converted = pixels::convert_all(&self.name, &images, self.dims, wanted, interpolation)?;
        Self::new(self.name.clone(), wanted, converted, labels, self.classes.to_vec())
    }

    fn outside(&self, index: usize) -> Error {
        Error::new(&*self.name, "no such image").with("index", index).with("images", self.len())
    }
}

impl std::fmt::Display for Dataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [c, h, w] = self.dims;
        write!(f, "{}: {} images of {c}x{h}x{w}, {} classes", self.name, self.len(), self.classes.len())
    }
}

impl std::fmt::Debug for Dataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(labels: &[i32]) -> Dataset {
        let pixels = (0..labels.len() * 12).map(|i| u8::try_from(i % 251).unwrap()).collect();
        Dataset::new("set", [3, 2, 2], pixels, labels.to_vec(), vec!["a".into(), "b".into()]).unwrap()
    }

    #[test]
    fn images_are_bytes_over_255_and_subsets_keep_sample_ids() {
        let all = set(&[0, 1, 1, 0, 1]);
        let part = all.subset(2..5).unwrap();
        assert_eq!((part.len(), part.id(0).unwrap(), part.label(1).unwrap()), (3, 2, 0));
        let mut image = vec![0.0; 12];
        part.image_f32(0, &mut image).unwrap();
        assert_eq!(image[3], 27.0 / 255.0);
        assert!(part.image_f32(3, &mut image).unwrap_err().to_string().contains("no such image"));
        assert!(part.image_f32(0, &mut image[1..]).is_err());
        assert!(all.subset(3..6).is_err());
    }

    #[test]
    fn counts_and_labels_are_checked() {
        let classes = vec!["a".to_string(), "b".to_string()];
        let new =
            |bytes: usize, labels: Vec<i32>| Dataset::new("set", [1, 2, 2], vec![0; bytes], labels, classes.clone());
        assert!(new(8, vec![0, 1]).is_ok());
        assert!(new(7, vec![0, 1]).is_err() && new(0, vec![]).is_err());
        for label in [2, -1] {
            let error = new(8, vec![0, label]).unwrap_err().to_string();
            assert!(error.contains("label out of range") && error.contains(&label.to_string()), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn holdout_divides_every_class_and_loses_nothing(seed in 0_u64..1000, count in 4_usize..60) {
            let all = set(&(0..count).map(|i| i32::from(i % 2 == 1)).collect::<Vec<_>>());
            let (kept, held) = all.holdout(0.25, seed).unwrap();
            let mut ids: Vec<u32> = kept.ids.iter().chain(&held.ids).copied().collect();
            ids.sort_unstable();
            proptest::prop_assert_eq!(ids, all.ids);
            for class in 0..2 {
                let of = |part: &Dataset| (0..part.len()).filter(|&i| part.label(i).unwrap() == class).count();
                let quarter = (of(&kept) + of(&held)) as f64 * 0.25;
                proptest::prop_assert!(of(&held) >= 1 && (of(&held) as f64 - quarter).abs() <= 0.5);
            }
        }
    }

    #[test]
    fn holdout_refuses_what_it_cannot_divide() {
        assert!(set(&[0, 1, 1]).holdout(0.5, 0).unwrap_err().to_string().contains("one image"));
        assert!(set(&[0, 0, 1, 1]).holdout(1.0, 0).is_err());
    }
}
