//! Published corrupted test sets: CIFAR-10-C and CIFAR-100-C (.npy), ImageNet-C (folders of JPEG).

use std::path::{Path, PathBuf};

use engine::{Error, Result};

use super::npy::Npy;
use super::{Dataset, Interpolation, Options, image_folder};

/// How often the labels of CIFAR-C repeat: once for each severity.
const SEVERITIES: usize = 5;
/// The archives of ImageNet-C, which some unpack each into a folder of its own.
const ARCHIVES: [&str; 6] = ["", "noise", "blur", "weather", "digital", "extra"];
const LABELS: &str = "labels.npy";

/// A corrupted test set in the layout that its authors published.
#[derive(Clone, Debug)]
pub enum Published {
    /// A folder with `labels.npy` and `NAME.npy`, [5 n, 32, 32, 3]: n images at severity 1, then at 2, and so on.
    CifarC(PathBuf),
    /// A folder with `NAME/SEVERITY/CLASS/*.JPEG`.
    ImageNetC(PathBuf),
}

impl Published {
    /// Which of the two lies in `folder`.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn open(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::new(folder.display().to_string(), "no such folder").help(LAYOUTS));
        }
        let cifar = folder.join(LABELS).is_file();
        Ok(if cifar { Self::CifarC(folder.to_path_buf()) } else { Self::ImageNetC(folder.to_path_buf()) })
    }

    /// The images of a corruption and a severity, in 1..=5, as many of them as of the clean test set, whose shape and classes they
    /// take. Images of folders are resized where the shape asks for it, and not cropped: they were before they were corrupted.
    ///
    /// # Errors
    /// A file or folder is missing, truncated, or of another shape; the labels are not those of the clean set.
    pub fn dataset(
        &self,
        corruption: &str,
        severity: u8,
        clean: &Dataset,
        interpolation: Interpolation,
    ) -> Result<Dataset> {
        let index = usize::from(severity).checked_sub(1).filter(|&index| index < SEVERITIES).ok_or_else(|| {
            Error::new(corruption, "the severity must be a whole number from 1 to 5").with("severity", severity)
        })?;
        match self {
            Self::CifarC(folder) => cifar_c(folder, corruption, index, clean),
            Self::ImageNetC(folder) => imagenet_c(folder, corruption, severity, clean, interpolation),
        }
    }
}

const LAYOUTS: &str = "a folder with labels.npy and gaussian_noise.npy, ... (CIFAR-10-C, CIFAR-100-C), or with \
                       gaussian_noise/1/CLASS/*.JPEG, ... (ImageNet-C)";

fn cifar_c(folder: &Path, corruption: &str, index: usize, clean: &Dataset) -> Result<Dataset> {
    let path = folder.join(format!("{corruption}.npy"));
    let place = path.display().to_string();
    if !path.is_file() {
        return Err(Error::new(place, "this corruption is missing")
            .help("leave it out of --corruptions, or unpack the archive again"));
    }
    let labels = labels(&folder.join(LABELS))?;
    let mut npy = Npy::open(&path)?;
    let [channels, height, width] = clean.dims();
    let expected = [labels.len(), height, width, 3];
    if npy.dims() != expected || channels != 3 {
        return Err(Error::new(place, "the images have another shape than labels.npy and the clean images say")
            .with("found", format!("{:?}", npy.dims()))
            .with("expected [5 n, h, w, 3]", format!("{expected:?}"))
            .with("channels of the clean images", channels)
            .help("CIFAR-C holds 50000 images of 32x32 RGB; unpack the archive again, or give the data set that belongs to it"));
    }
    let count = labels.len() / SEVERITIES;
    let kept = clean.len().min(count);
    for row in 0..clean.len() {
        let (id, own) = (clean.id(row)?, clean.label(row)?);
        if labels.get(row).filter(|_| row < count) != Some(&own) || id as usize != row {
            return Err(Error::new(
                folder.join(LABELS).display().to_string(),
                "the labels are not those of the clean images",
            )
            .with("image", row)
            .with("clean label", own)
            .with("label", labels.get(row).map_or_else(|| "none".to_owned(), i32::to_string))
            .help("give the test set that was corrupted: --data, --split test"));
        }
    }
    let volume = 3 * height * width;
    let bytes = npy.bytes(index * count * volume, kept * volume)?;
    let pixels = bytes.chunks_exact(volume).flat_map(to_planes).collect();
    let name = format!("{place}, severity {}", index + 1);
    let labels = labels.into_iter().take(kept).collect();
    Dataset::new(name, [3, height, width], pixels, labels, clean.classes().to_vec())
}

/// The labels, which must repeat five times.
fn labels(path: &Path) -> Result<Vec<i32>> {
    let mut npy = Npy::open(path)?;
    let bad = |problem: &str, npy: &Npy| {
        Error::new(path.display().to_string(), problem)
            .with("shape", format!("{:?}", npy.dims()))
            .help("CIFAR-C has the labels of its 10000 images five times; unpack the archive again")
    };
    if npy.dims().len() != 1 || npy.dims().iter().any(|&rows| rows == 0 || rows % SEVERITIES != 0) {
        return Err(bad("the labels must be one list, as long as five times the images", &npy));
    }
    let labels = npy.labels()?;
    let mut severities = labels.chunks_exact(labels.len() / SEVERITIES);
    let first = severities.next();
    if severities.any(|labels| Some(labels) != first) {
        return Err(bad("the labels do not repeat for each severity", &npy));
    }
    Ok(labels)
}

/// [h, w, 3] to [3, h, w].
fn to_planes(image: &[u8]) -> impl Iterator<Item = u8> + '_ {
    (0..3).flat_map(move |channel| image.iter().skip(channel).step_by(3).copied())
}

fn imagenet_c(
    folder: &Path,
    corruption: &str,
    severity: u8,
    clean: &Dataset,
    interpolation: Interpolation,
) -> Result<Dataset> {
    let root = |archive: &&str| folder.join(archive).join(corruption).join(severity.to_string());
    let Some(archive) = ARCHIVES.iter().find(|archive| root(archive).is_dir()) else {
        return Err(Error::new(root(&"").display().to_string(), "this corruption or severity is missing")
            .with("layouts that are read", LAYOUTS)
            .help("leave it out of --corruptions and --severities, or unpack the archive that holds it"));
    };
    let [channels, height, width] = clean.dims();
    if height != width {
        return Err(Error::new(folder.display().to_string(), "ImageNet-C has square images, the model does not")
            .with("model [h, w]", format!("{:?}", [height, width])));
    }
    let (size, channels) = (Some(height), Some(channels));
    let options =
        Options { size, channels, limit: Some(clean.len()), crop_pct: 1.0, interpolation, ..Options::default() };
    image_folder::open_classes(&root(archive), clean.classes(), &options)
}

#[cfg(test)]
mod tests {
    use super::super::npy::write_header;
    use super::*;

    const COUNT: usize = 4;

    fn clean() -> Dataset {
        let labels = vec![1, 0, 2, 1];
        let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
        Dataset::new("clean", [3, 2, 3], vec![9; COUNT * 18], labels, classes).unwrap()
    }

    fn write(path: &Path, dims: &[usize], values: &[u8]) {
        let mut bytes = Vec::new();
        write_header(&mut bytes, dims).unwrap();
        bytes.extend(values);
        std::fs::write(path, bytes).unwrap();
    }

    /// A set whose value tells severity, image, pixel and channel.
    fn cifar_folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let values: Vec<u8> = (0..5 * COUNT * 18).map(|at| u8::try_from(at % 251).unwrap()).collect();
        write(&folder.path().join("fog.npy"), &[5 * COUNT, 2, 3, 3], &values);
        write(&folder.path().join(LABELS), &[5 * COUNT], &[1, 0, 2, 1].repeat(5));
        folder
    }

    fn refused(folder: &Path, name: &str) -> String {
        let set = Published::open(folder).unwrap();
        set.dataset(name, 2, &clean(), Interpolation::Bilinear).unwrap_err().to_string()
    }

    #[test]
    fn cifar_c_gives_the_rows_of_its_severity_as_planes() {
        let folder = cifar_folder();
        let set = Published::open(folder.path()).unwrap();
        let data = set.dataset("fog", 3, &clean(), Interpolation::Bilinear).unwrap();
        assert_eq!((data.len(), data.dims(), data.label(2).unwrap()), (COUNT, [3, 2, 3], 2));
        let first = 2 * COUNT * 18 + 18; // severity 3, image 1
        let expected: Vec<u8> = (0..18).map(|at| u8::try_from((first + at % 6 * 3 + at / 6) % 251).unwrap()).collect();
        assert_eq!(data.image_u8(1).unwrap(), expected);
        let part = clean().subset(0..2).unwrap();
        assert_eq!(set.dataset("fog", 5, &part, Interpolation::Bilinear).unwrap().len(), 2);
        assert!(set.dataset("fog", 6, &clean(), Interpolation::Bilinear).is_err());
    }

    #[test]
    fn cifar_c_of_wrong_length_shape_or_labels_is_named() {
        let folder = cifar_folder();
        let path = |name: &str| folder.path().join(name);
        let error = refused(folder.path(), "snow");
        assert!(error.contains("snow.npy") && error.contains("missing"), "{error}");
        for dims in [[4 * COUNT, 2, 3, 3], [5 * COUNT, 3, 2, 3]] {
            write(&path("frost.npy"), &dims, &vec![0; dims.iter().product()]);
            let error = refused(folder.path(), "frost");
            assert!(
                error.contains("frost.npy") && error.contains("another shape") && error.contains("50000"),
                "{error}"
            );
        }
        let whole = std::fs::read(path("fog.npy")).unwrap();
        std::fs::write(path("fog.npy"), &whole[..whole.len() - 1]).unwrap();
        let error = refused(folder.path(), "fog");
        assert!(error.contains("fog.npy") && error.contains("truncated") && error.contains("again"), "{error}");
        std::fs::write(path("fog.npy"), whole).unwrap();
        let wrong: [(&[usize], Vec<u8>, &str); 4] = [
            (&[19], vec![0; 19], "five times"),
            (&[5, 4], vec![0; 20], "one list"),
            (&[20], [[1, 0, 2, 1].repeat(4), vec![1, 0, 2, 2]].concat(), "do not repeat"),
            (&[20], [1, 0, 0, 1].repeat(5), "not those of the clean images"),
        ];
        for (dims, values, part) in wrong {
            write(&path(LABELS), dims, &values);
            let error = refused(folder.path(), "fog");
            assert!(error.contains(LABELS) && error.contains(part), "{error}");
        }
    }

    #[test]
    fn imagenet_c_takes_the_classes_of_the_clean_set() {
        let folder = tempfile::tempdir().unwrap();
        let classes = ["n01", "n02", "n03"].map(str::to_owned).to_vec();
        let clean = Dataset::new("clean", [3, 8, 8], vec![0; 2 * 192], vec![0, 2], classes).unwrap();
        let save = |name: &str, level: u8| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            image::RgbImage::from_pixel(8, 8, image::Rgb([level; 3])).save(path).unwrap();
        };
        save("blur/glass_blur/2/n01/x.png", 50);
        save("blur/glass_blur/2/n03/y.png", 70);
        let set = Published::open(folder.path()).unwrap();
        let open = |name: &str, severity: u8| set.dataset(name, severity, &clean, Interpolation::Bilinear);
        let data = open("glass_blur", 2).unwrap();
        assert_eq!((data.len(), data.label(1).unwrap(), data.image_u8(1).unwrap()[0]), (2, 2, 70));
        let error = open("glass_blur", 3).unwrap_err().to_string();
        assert!(error.contains("glass_blur/3") && error.contains("missing"), "{error}");
        save("blur/glass_blur/2/n09/z.png", 0);
        assert!(open("glass_blur", 2).unwrap_err().to_string().contains("n09"));
        assert!(Published::open(&folder.path().join("nowhere")).is_err());
    }
}
