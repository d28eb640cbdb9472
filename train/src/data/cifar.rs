//! CIFAR-10 and CIFAR-100, binary version (Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009).
//!
//! A record is the label (CIFAR-100: coarse, then fine) and 3 x 32 x 32 bytes, planes in the order red, green, blue.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use engine::{Error, Result};

use super::{Dataset, Split};

const DIMS: [usize; 3] = [3, 32, 32];
const VOLUME: usize = 3 * 32 * 32;

/// How one of the two data sets lies in its files.
pub(super) struct Layout {
    name: &'static str,
    /// Bytes before the pixels; the last of them is the label.
    label_bytes: usize,
    classes: usize,
    /// Training files: all whose name starts so and ends in `.bin`.
    train_prefix: &'static str,
    train_records: usize,
    test_file: &'static str,
    names_file: &'static str,
    default_names: &'static [&'static str],
}

pub(super) const CIFAR_10: Layout = Layout {
    name: "CIFAR-10",
    label_bytes: 1,
    classes: 10,
    train_prefix: "data_batch_",
    train_records: 10_000,
    test_file: "test_batch.bin",
    names_file: "batches.meta.txt",
    default_names: &["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
};

pub(super) const CIFAR_100: Layout = Layout {
    name: "CIFAR-100",
    label_bytes: 2,
    classes: 100,
    train_prefix: "train",
    train_records: 50_000,
    test_file: "test.bin",
    names_file: "fine_label_names.txt",
    default_names: &[],
};

const TEST_RECORDS: usize = 10_000;

/// Whether `folder` holds any file of the data set.
pub(super) fn found(folder: &Path, layout: &Layout) -> bool {
    folder.join(layout.test_file).is_file() || train_files(folder, layout).is_ok_and(|files| !files.is_empty())
}

/// Reads a split: all of its files that are there.
pub(super) fn open(folder: &Path, layout: &Layout, split: Split) -> Result<Dataset> {
    let (files, records) = match split {
        Split::Train => (train_files(folder, layout)?, layout.train_records),
        Split::Test => (vec![folder.join(layout.test_file)], TEST_RECORDS),
    };
    if files.is_empty() {
        return Err(Error::new(folder.display().to_string(), format!("no training file of {}", layout.name))
            .with("looked for", format!("{}*.bin", layout.train_prefix)));
    }
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for file in &files {
        read(file, layout, records, &mut pixels, &mut labels)?;
    }
    let classes = class_names(&folder.join(layout.names_file), layout)?;
    Dataset::new(format!("{} {split}", layout.name), DIMS, pixels, labels, classes)
}

/// Training files in the order of their numbers: `data_batch_2.bin` before `data_batch_10.bin`.
fn train_files(folder: &Path, layout: &Layout) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| Error::io(folder, "list", &error))?;
    let mut files = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| Error::io(folder, "list", &error))?.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(number) = name.strip_prefix(layout.train_prefix).and_then(|rest| rest.strip_suffix(".bin")) {
            let numbered = number.parse::<u32>();
            if number.is_empty() || numbered.is_ok() {
                files.push((numbered.unwrap_or(0), folder.join(name)));
            }
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(_, file)| file).collect())
}

fn read(file: &Path, layout: &Layout, records: usize, pixels: &mut Vec<u8>, labels: &mut Vec<i32>) -> Result<()> {
    let record = layout.label_bytes + VOLUME;
    let expected = records * record;
    let wrong_size = |found: u64| {
        let problem = if found < expected as u64 { "the file is truncated" } else { "the file is too long" };
        Error::new(file.display().to_string(), format!("{problem} for {}", layout.name))
            .with("expected bytes", format!("{expected} ({records} records of {record})"))
            .with("found bytes", found)
            .help("unpack the archive again; a file holds exactly this many records")
    };
    let fail = |error: std::io::Error| Error::io(file, "read", &error);
    let opened = File::open(file).map_err(fail)?;
    let length = opened.metadata().map_err(fail)?.len();
    let mut bytes = Vec::with_capacity(expected + 1);
    // One byte more than expected shows a file that is too long without reading all of it.
    opened.take(expected as u64 + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() != expected {
        return Err(wrong_size(length));
    }
    for (index, record_bytes) in bytes.chunks_exact(record).enumerate() {
        let (header, image) = record_bytes.split_at(layout.label_bytes);
        let label = header.last().copied().unwrap_or(0);
        if usize::from(label) >= layout.classes {
            return Err(Error::new(file.display().to_string(), "label out of range")
                .with("record", index)
                .with("at byte", index * record + layout.label_bytes - 1)
                .with("label", label)
                .with("classes", layout.classes));
        }
        labels.push(i32::from(label));
        pixels.extend_from_slice(image);
    }
    Ok(())
}

/// Names from the file beside the data; without one, the known names or the numbers.
fn class_names(file: &Path, layout: &Layout) -> Result<Vec<String>> {
    if !file.is_file() {
        let named = |class: usize| layout.default_names.get(class).map_or(class.to_string(), ToString::to_string);
        return Ok((0..layout.classes).map(named).collect());
    }
    let text = fs::read_to_string(file).map_err(|error| Error::io(file, "read", &error))?;
    let names: Vec<String> = text.lines().map(str::trim).filter(|name| !name.is_empty()).map(String::from).collect();
    if names.len() == layout.classes {
        return Ok(names);
    }
    Err(Error::new(file.display().to_string(), "wrong number of class names")
        .with("expected", layout.classes)
        .with("found", names.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layout with few records, so that fixtures stay small.
    fn small(layout: Layout) -> Layout {
        Layout { train_records: 4, ..layout }
    }

    fn records(layout: &Layout, labels: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, &label) in labels.iter().enumerate() {
            bytes.extend(std::iter::repeat_n(19, layout.label_bytes - 1));
            bytes.push(label);
            bytes.extend((0..VOLUME).map(|at| u8::try_from((at / 1024 + index) % 256).unwrap()));
        }
        bytes
    }

    #[test]
    fn files_are_read_in_the_order_of_their_numbers_and_planes_are_rgb() {
        let folder = tempfile::tempdir().unwrap();
        let layout = small(CIFAR_10);
        for (number, labels) in [(10, [9, 9, 9, 9]), (2, [2, 3, 4, 5])] {
            let file = folder.path().join(format!("data_batch_{number}.bin"));
            fs::write(file, records(&layout, &labels)).unwrap();
        }
        fs::write(folder.path().join("data_batch_x.bin"), b"not one of them").unwrap();
        let set = open(folder.path(), &layout, Split::Train).unwrap();
        assert_eq!((0..8).map(|i| set.label(i).unwrap()).collect::<Vec<_>>(), [2, 3, 4, 5, 9, 9, 9, 9]);
        let image = set.image_u8(1).unwrap();
        assert_eq!([image[0], image[1024], image[2048]], [1, 2, 3]);
        assert_eq!(set.classes()[3], "cat");
    }

    #[test]
    fn cifar_100_takes_the_fine_label() {
        let folder = tempfile::tempdir().unwrap();
        let layout = small(CIFAR_100);
        fs::write(folder.path().join("train.bin"), records(&layout, &[99, 0, 42, 7])).unwrap();
        let set = open(folder.path(), &layout, Split::Train).unwrap();
        assert_eq!((set.label(0).unwrap(), set.classes().len(), &*set.classes()[42]), (99, 100, "42"));
        fs::write(folder.path().join("fine_label_names.txt"), "only\ntwo\n").unwrap();
        let error = open(folder.path(), &layout, Split::Train).unwrap_err().to_string();
        assert!(error.contains("fine_label_names.txt") && error.contains("100"), "{error}");
    }

    #[test]
    fn wrong_lengths_and_labels_name_the_file_and_the_figures() {
        let folder = tempfile::tempdir().unwrap();
        let layout = small(CIFAR_10);
        let file = folder.path().join("data_batch_1.bin");
        let good = records(&layout, &[1, 2, 3, 4]);
        let error_of = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            open(folder.path(), &layout, Split::Train).unwrap_err().to_string()
        };
        // Whole records missing are as wrong as a torn one.
        for (length, problem) in [(good.len() - 1, "truncated"), (2 * 3073, "truncated"), (0, "truncated")] {
            let error = error_of(&good[..length]);
            assert!(error.contains("data_batch_1.bin") && error.contains(problem), "{error}");
            assert!(error.contains("12292") && error.contains(&format!("found bytes     {length}")), "{error}");
        }
        assert!(error_of(&[good.as_slice(), &[0]].concat()).contains("too long"));
        let error = error_of(&records(&layout, &[1, 2, 10, 4]));
        assert!(error.contains("label out of range") && error.contains("6146") && error.contains("data_batch_1.bin"));
    }

    #[test]
    fn a_missing_split_names_the_file_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let train = open(folder.path(), &CIFAR_10, Split::Train).unwrap_err().to_string();
        let test = open(folder.path(), &CIFAR_10, Split::Test).unwrap_err().to_string();
        assert!(train.contains("data_batch_*.bin") && test.contains("test_batch.bin"), "{train}\n{test}");
    }
}
