//! The idx format of MNIST (LeCun et al.) and Fashion-MNIST (Xiao et al., arXiv 1708.07747), gzip or raw.
//!
//! Big-endian: two zero bytes, the type (8 = unsigned byte), the number of dimensions, each dimension, the bytes.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use engine::{Error, Result};
use flate2::read::MultiGzDecoder;

use super::{Dataset, Split};

const CLASSES: usize = 10;
const FASHION: [&str; CLASSES] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/// Whether `folder` holds the images of a split.
pub(super) fn found(folder: &Path) -> bool {
    [Split::Train, Split::Test].into_iter().any(|split| file(folder, split, "images", 3).is_ok())
}

/// Reads a split. Classes carry Fashion-MNIST's names where the path mentions fashion, else digits: the files
/// themselves don't say which they are.
pub(super) fn open(folder: &Path, split: Split) -> Result<Dataset> {
    let (image_file, label_file) = (file(folder, split, "images", 3)?, file(folder, split, "labels", 1)?);
    let (image_dims, pixels) = read::<3>(&image_file)?;
    let ([label_count], labels) = read::<1>(&label_file)?;
    let [count, height, width] = image_dims;
    if count != label_count {
        return Err(Error::new(label_file.display().to_string(), "images and labels disagree in number")
            .with("labels", label_count)
            .with("images", count)
            .with("image file", image_file.display()));
    }
    if let Some(position) = labels.iter().position(|&label| usize::from(label) >= CLASSES) {
        return Err(Error::new(label_file.display().to_string(), "label out of range")
            .with("at byte", position + 8)
            .with("label", labels.get(position).copied().unwrap_or(0))
            .with("classes", CLASSES));
    }
    let fashion = folder.to_string_lossy().to_lowercase().contains("fashion");
    let class = |number: usize| {
        if fashion { FASHION.get(number).map_or(String::new(), ToString::to_string) } else { number.to_string() }
    };
    let name = format!("{} {split}", if fashion { "Fashion-MNIST" } else { "MNIST" });
    let labels = labels.into_iter().map(i32::from).collect();
    Dataset::new(name, [1, height, width], pixels, labels, (0..CLASSES).map(class).collect())
}

/// `train-images-idx3-ubyte` and its spellings: a dot for the second hyphen, `.gz` at the end.
fn file(folder: &Path, split: Split, what: &str, rank: usize) -> Result<PathBuf> {
    let prefix = if split == Split::Train { "train" } else { "t10k" };
    let plain = format!("{prefix}-{what}-idx{rank}-ubyte");
    let dotted = format!("{prefix}-{what}.idx{rank}-ubyte");
    for name in [plain.clone(), format!("{plain}.gz"), dotted.clone(), format!("{dotted}.gz")] {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    Err(Error::new(folder.display().to_string(), "file not found").with("looked for", format!("{plain}, {plain}.gz")))
}

/// Dimensions and bytes of an idx file of `RANK` dimensions.
fn read<const RANK: usize>(path: &Path) -> Result<([usize; RANK], Vec<u8>)> {
    let place = || path.display().to_string();
    let fail = |error: std::io::Error| Error::io(path, "read", &error);
    let mut raw = BufReader::new(File::open(path).map_err(fail)?);
    let mut start = [0; 2];
    let filled = read_up_to(&mut raw, &mut start).map_err(fail)?;
    let rest = start.get(..filled).unwrap_or_default().chain(raw);
    // Told by content: a browser may have unpacked the file and kept its name.
    let mut reader: Box<dyn Read> =
        if start == [0x1F, 0x8B] { Box::new(MultiGzDecoder::new(rest)) } else { Box::new(rest) };

    let mut header = vec![0; 4 + 4 * RANK];
    let filled = read_up_to(&mut reader, &mut header).map_err(fail)?;
    let words: Vec<u32> =
        header.chunks_exact(4).map(|b| b.iter().fold(0, |word, &byte| word << 8 | u32::from(byte))).collect();
    let magic = 0x0800 + u32::try_from(RANK).unwrap_or(0);
    if filled >= 4 && words.first() != Some(&magic) {
        return Err(Error::new(place(), "wrong magic number: this is no idx file of the kind expected")
            .with("expected", format!("{magic:#010x} (unsigned bytes, {RANK} dimensions)"))
            .with("found", format!("{:#010x}", words.first().copied().unwrap_or(0))));
    }
    if filled < header.len() {
        return Err(Error::new(place(), "the file ends within its header")
            .with("expected bytes", header.len())
            .with("found bytes", filled));
    }
    let mut dims = [0; RANK];
    for (dim, &word) in dims.iter_mut().zip(words.iter().skip(1)) {
        *dim = word as usize;
    }
    let expected = dims.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim)).filter(|&n| n > 0);
    let expected = expected.ok_or_else(|| {
        Error::new(place(), "the header gives no usable shape").with("dimensions", format!("{dims:?}"))
    })?;
    let mut data = Vec::new();
    // One byte more than expected shows a file that is too long without reading all of it.
    reader.take(expected as u64 + 1).read_to_end(&mut data).map_err(fail)?;
    if data.len() != expected {
        let problem = if data.len() < expected { "the file is truncated" } else { "the file is too long" };
        let more = if data.len() > expected { " or more" } else { "" };
        return Err(Error::new(place(), problem)
            .with("dimensions", format!("{dims:?}"))
            .with("expected bytes", header.len() + expected)
            .with("found bytes", format!("{}{more}", header.len() + data.len())));
    }
    Ok((dims, data))
}

/// Fills `buffer` as far as the reader goes; the number of bytes read.
fn read_up_to(reader: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    fn idx(dims: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, u8::try_from(dims.len()).unwrap()];
        dims.iter().for_each(|dim| bytes.extend(dim.to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Writes both test files and opens them; an error as text.
    fn open_files(images: &[u8], labels: &[u8]) -> Result<Dataset, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("t10k-images-idx3-ubyte"), images).unwrap();
        fs::write(folder.path().join("t10k-labels.idx1-ubyte.gz"), labels).unwrap();
        open(folder.path(), Split::Test).map_err(|error| error.to_string())
    }

    #[test]
    fn raw_and_gzip_are_told_apart_by_content() {
        let images = idx(&[2, 2, 3], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 255]);
        let labels = idx(&[2], &[9, 0]);
        for (images, labels) in [(images.clone(), labels.clone()), (gzip(&images), gzip(&labels))] {
            let set = open_files(&images, &labels).unwrap();
            assert_eq!((set.len(), set.dims(), set.label(0).unwrap()), (2, [1, 2, 3], 9));
            assert_eq!(set.image_u8(1).unwrap(), [6, 7, 8, 9, 10, 255]);
        }
    }

    #[test]
    fn broken_files_give_the_expected_and_found_figures() {
        let images = idx(&[2, 2, 3], &[0; 12]);
        let labels = idx(&[2], &[9, 0]);
        let error = |images: &[u8], labels: &[u8]| open_files(images, labels).unwrap_err();
        let truncated = error(&images[..20], &labels);
        assert!(truncated.contains("truncated") && truncated.contains("28") && truncated.contains("20"), "{truncated}");
        assert!(error(&[images.as_slice(), &[0; 9]].concat(), &labels).contains("too long"));
        assert!(error(&images[..10], &labels).contains("within its header"));
        assert!(error(&[], &labels).contains("within its header"));
        assert!(error(&labels, &labels).contains("0x00000803"));
        let counts = error(&images, &idx(&[3], &[1, 2, 3]));
        assert!(
            counts.contains("disagree") && counts.contains("t10k-labels") && counts.contains("t10k-images"),
            "{counts}"
        );
        assert!(error(&images, &idx(&[2], &[1, 10])).contains("label out of range"));
        let torn = gzip(&images);
        assert!(error(&torn[..torn.len() - 9], &labels).contains("t10k-images"));
        assert!(error(&idx(&[u32::MAX; 3], &[0; 4]), &labels).contains("dimensions"));
        assert!(error(&idx(&[0, 28, 28], &[]), &labels).contains("no usable shape"));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(0_u8..=255, 0..64), magic: bool) {
            let bytes = if magic { [&[0, 0, 8, 3], bytes.as_slice()].concat() } else { bytes };
            if let Ok(set) = open_files(&bytes, &idx(&[1], &[1])) {
                proptest::prop_assert_eq!(set.len(), 1);
            }
        }
    }
}
