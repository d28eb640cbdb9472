//! Hashes of what a figure was measured on, by content: a file that was moved or repacked keeps its hash.

use std::fmt::Write;

use engine::{Result, Tensor};
use sha2::{Digest, Sha256};

use super::lab::Source;
use crate::data::Dataset;

/// SHA-256 of labelled images as they were read: `[c, h, w]` and the number of images as little-endian u64, then for each
/// image in order its label as little-endian i32 and its pixels as bytes `[c, h, w]`.
///
/// # Errors
/// An image can't be read.
pub fn dataset(data: &Dataset) -> Result<Source> {
    let mut hash = Sha256::new();
    for size in data.dims().into_iter().chain([data.len()]) {
        hash.update(length(size));
    }
    for index in 0..data.len() {
        hash.update(data.label(index)?.to_le_bytes());
        hash.update(data.image_u8(index)?);
    }
    Ok(Source { name: data.name().to_owned(), count: data.len(), sha256: hexadecimal(hash) })
}

/// SHA-256 of named tensors, sorted by name: of each the name's length and bytes, the number of dimensions and the dimensions,
/// and the values as little-endian f64; lengths are little-endian u64. Independent of the file's format and of its stored type
/// where that is exact.
pub fn weights(name: &str, tensors: &[(String, Tensor)]) -> Source {
    let mut sorted: Vec<_> = tensors.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let mut hash = Sha256::new();
    for (name, tensor) in sorted {
        hash.update(length(name.len()));
        hash.update(name.as_bytes());
        hash.update(length(tensor.dims().len()));
        tensor.dims().iter().for_each(|&dim| hash.update(length(dim)));
        tensor.to_f64().iter().for_each(|value| hash.update(value.to_le_bytes()));
    }
    Source { name: name.to_owned(), count: tensors.len(), sha256: hexadecimal(hash) }
}

fn length(value: usize) -> [u8; 8] {
    u64::try_from(value).unwrap_or(u64::MAX).to_le_bytes()
}

fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing into a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pixels: Vec<u8>, labels: Vec<i32>) -> Dataset {
        Dataset::new("set", [1, 1, 2], pixels, labels, vec!["a".into(), "b".into()]).unwrap()
    }

    #[test]
    fn equals_pythons_hashlib_and_sees_every_change() {
        // hashlib.sha256(struct.pack("<4Q", 1, 1, 2, 2) + struct.pack("<i2Bi2B", 0, 1, 2, 1, 3, 4)).hexdigest()
        let known = "a9bd50bb45ce08347b3c5a19f0616a07fdf98d2cf1d41ccd54466803acf5d70b";
        let found = dataset(&set(vec![1, 2, 3, 4], vec![0, 1])).unwrap();
        assert_eq!((found.sha256.as_str(), found.count), (known, 2));
        for other in [set(vec![1, 2, 3, 5], vec![0, 1]), set(vec![1, 2, 3, 4], vec![0, 0]), set(vec![1, 2], vec![0])] {
            assert_ne!(dataset(&other).unwrap().sha256, known);
        }
        let part = set(vec![1, 2, 3, 4], vec![0, 1]).subset(0..1).unwrap();
        assert_eq!(
            dataset(&part).unwrap(),
            Source { name: "set".into(), ..dataset(&set(vec![1, 2], vec![0])).unwrap() }
        );
    }

    #[test]
    fn weights_are_hashed_by_name_shape_and_value_in_any_order() {
        let tensor = |dims: &[usize], values: &[f32]| Tensor::new(dims, values).unwrap();
        let (a, b) = (("a".to_owned(), tensor(&[2], &[1.0, 2.0])), ("b".to_owned(), tensor(&[1, 2], &[1.0, 2.0])));
        let of = |tensors: &[(String, Tensor)]| weights("w", tensors).sha256;
        assert_eq!(of(&[a.clone(), b.clone()]), of(&[b.clone(), a.clone()]));
        let reshaped = ("b".to_owned(), tensor(&[2, 1], &[1.0, 2.0]));
        let changed = ("b".to_owned(), tensor(&[1, 2], &[1.0, 2.0 + f32::EPSILON * 2.0]));
        let renamed = ("c".to_owned(), b.1.clone());
        for other in [reshaped, changed, renamed] {
            assert_ne!(of(&[a.clone(), other]), of(&[a.clone(), b.clone()]));
        }
    }
}
