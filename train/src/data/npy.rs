//! NumPy's .npy files of whole numbers.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use engine::{Error, Result};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Headers are text of a few hundred bytes; a longer one is no header.
const MOST_HEADER: usize = 1 << 16;

/// An open file: its shape, and where its values start.
#[derive(Debug)]
pub(super) struct Npy {
    path: PathBuf,
    file: File,
    kind: Kind,
    dims: Vec<usize>,
    start: u64,
}

/// The type of the values, little-endian.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    U8,
    I32,
    I64,
}

impl Kind {
    const ALL: [(&'static str, Self); 4] =
        [("|u1", Self::U8), ("<u1", Self::U8), ("<i4", Self::I32), ("<i8", Self::I64)];

    fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::I32 => 4,
            Self::I64 => 8,
        }
    }
}

impl Npy {
    /// Opens a file and checks that it is as long as its header says.
    pub fn open(path: &Path) -> Result<Self> {
        let fail = |action: &str, error: &io::Error| Error::io(path, action, error);
        let mut file = File::open(path).map_err(|error| fail("open", &error))?;
        let length = file.metadata().map_err(|error| fail("read", &error))?.len();
        let (header, start) = header(&mut file).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                bad(path, "is not an .npy file of version 1 to 3").help(AGAIN)
            }
            _ => fail("read", &error),
        })?;
        let (kind, dims) = parse(&header).ok_or_else(|| {
            bad(path, "the .npy header is not one of whole numbers in C order").with("header", &header)
        })?;
        let values = dims.iter().try_fold(kind.bytes() as u64, |product, &dim| product.checked_mul(dim as u64));
        let expected = values.and_then(|bytes| bytes.checked_add(start));
        if expected == Some(length) {
            return Ok(Self { path: path.to_path_buf(), file, kind, dims, start });
        }
        let problem =
            if expected.is_none_or(|expected| expected > length) { "truncated" } else { "longer than it says" };
        Err(bad(path, problem)
            .with("shape", format!("{dims:?}"))
            .with("bytes expected", expected.map_or_else(|| "too many to count".to_owned(), |bytes| bytes.to_string()))
            .with("bytes found", length)
            .help(AGAIN))
    }

    /// Lengths of the dimensions.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// `count` bytes from value `first` on, of a file of bytes.
    pub fn bytes(&mut self, first: usize, count: usize) -> Result<Vec<u8>> {
        if self.kind != Kind::U8 {
            return Err(bad(&self.path, "the values must be bytes (u1)"));
        }
        self.read(first, count)
    }

    /// All values, as class labels.
    pub fn labels(&mut self) -> Result<Vec<i32>> {
        let count = self.dims.iter().product();
        let bytes = self.read(0, count)?;
        let label = |(at, bytes): (usize, &[u8])| {
            let value = match (self.kind, bytes) {
                (Kind::U8, &[byte]) => Some(i32::from(byte)),
                (Kind::I32, bytes) => bytes.try_into().ok().map(i32::from_le_bytes),
                (_, bytes) => bytes.try_into().ok().map(i64::from_le_bytes).and_then(|value| i32::try_from(value).ok()),
            };
            value.ok_or_else(|| bad(&self.path, "a label is out of range").with("row", at))
        };
        bytes.chunks_exact(self.kind.bytes()).enumerate().map(label).collect()
    }

    fn read(&mut self, first: usize, count: usize) -> Result<Vec<u8>> {
        let size = self.kind.bytes();
        let mut values = vec![0; super::memory::check(&self.path.display().to_string(), count, size)?];
        let read = self.file.seek(SeekFrom::Start(self.start + (first * size) as u64));
        read.and_then(|_| self.file.read_exact(&mut values)).map_err(|error| Error::io(&self.path, "read", &error))?;
        Ok(values)
    }
}

const AGAIN: &str = "unpack or fetch the archive again";

fn bad(path: &Path, problem: &str) -> Error {
    Error::new(path.display().to_string(), problem)
}

/// The header's text, and where the values start.
fn header(file: &mut File) -> io::Result<(String, u64)> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut lead = [0; 8];
    file.read_exact(&mut lead)?;
    let [magic @ .., major, _minor] = lead;
    if &magic != MAGIC {
        return Err(invalid());
    }
    let length = match major {
        1 => {
            let mut length = [0; 2];
            file.read_exact(&mut length)?;
            usize::from(u16::from_le_bytes(length))
        }
        2 | 3 => {
            let mut length = [0; 4];
            file.read_exact(&mut length)?;
            usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX)
        }
        _ => return Err(invalid()),
    };
    if length > MOST_HEADER {
        return Err(invalid());
    }
    let mut text = vec![0; length];
    file.read_exact(&mut text)?;
    let start = file.stream_position()?;
    Ok((String::from_utf8(text).map_err(|_| invalid())?, start))
}

/// Type and shape: `{'descr': '|u1', 'fortran_order': False, 'shape': (50000, 32, 32, 3), }`.
fn parse(header: &str) -> Option<(Kind, Vec<usize>)> {
    let after = |key: &str| header.split_once(&format!("'{key}':")).map(|(_, rest)| rest.trim_start());
    let descr = after("descr")?.strip_prefix('\'')?.split_once('\'')?.0;
    let kind = Kind::ALL.into_iter().find(|(name, _)| *name == descr)?.1;
    if !after("fortran_order")?.starts_with("False") {
        return None;
    }
    let shape = after("shape")?.strip_prefix('(')?.split_once(')')?.0;
    let dims: Option<Vec<usize>> =
        shape.split(',').map(str::trim).filter(|part| !part.is_empty()).map(|part| part.parse().ok()).collect();
    Some((kind, dims?))
}

/// Writes the header of an .npy file of bytes of shape `dims`, as NumPy does: padded to a multiple of 64 bytes.
///
/// # Errors
/// What `out` says, or a shape of very many dimensions.
pub fn write_header(out: &mut impl Write, dims: &[usize]) -> io::Result<()> {
    let lengths: Vec<String> = dims.iter().map(usize::to_string).collect();
    let comma = if dims.len() == 1 { "," } else { "" };
    let shape = format!("({}{comma})", lengths.join(", "));
    let text = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
    let padded = (MAGIC.len() + 4 + text.len() + 1).next_multiple_of(64) - MAGIC.len() - 4;
    let length = u16::try_from(padded).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    out.write_all(MAGIC)?;
    out.write_all(&[1, 0])?;
    out.write_all(&length.to_le_bytes())?;
    writeln!(out, "{text:<width$}", width = padded - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, header: &str, values: &[u8]) -> PathBuf {
        let path = folder.join("file.npy");
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        std::fs::write(&path, [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), values].concat()).unwrap();
        path
    }

    #[test]
    fn labels_of_every_type_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let wide = [3_i64, 250].map(i64::to_le_bytes).concat();
        let middle = [3_i32, 250].map(i32::to_le_bytes).concat();
        for (kind, values) in [("|u1", &[3, 250][..]), ("<i4", &middle[..]), ("<i8", &wide[..])] {
            let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (2,), }}\n");
            let mut npy = Npy::open(&file(folder.path(), &header, values)).unwrap();
            assert_eq!((npy.labels().unwrap(), npy.dims()), (vec![3, 250], &[2][..]));
        }
    }

    #[test]
    fn bad_files_are_named_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let header = |kind: &str, fortran: &str, shape: &str| {
            format!("{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n")
        };
        let cases = [
            (header("|u1", "False", "(4,)"), 3, "truncated"),
            (header("|u1", "False", "(4,)"), 5, "longer"),
            (header("|u1", "False", "(18446744073709551615, 2)"), 4, "truncated"),
            (header("<f4", "False", "(1,)"), 4, "whole numbers"),
            (header("|u1", "True", "(4,)"), 4, "C order"),
            (header("|u1", "False", "(x,)"), 4, "header"),
        ];
        for (header, bytes, part) in cases {
            let error = Npy::open(&file(folder.path(), &header, &vec![0; bytes])).unwrap_err().to_string();
            assert!(error.contains("file.npy") && error.contains(part), "{error}");
        }
        let text = folder.path().join("page.npy");
        std::fs::write(&text, "<html>too many requests</html>").unwrap();
        let error = Npy::open(&text).unwrap_err().to_string();
        assert!(error.contains("page.npy") && error.contains("not an .npy file") && error.contains("again"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(dims in proptest::collection::vec(1_usize..9, 1..5), seed: u8) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("written.npy");
            let count = dims.iter().product::<usize>();
            let values: Vec<u8> = (0..count).map(|i| u8::try_from((i + usize::from(seed)) % 256).unwrap()).collect();
            let mut bytes = Vec::new();
            write_header(&mut bytes, &dims).unwrap();
            proptest::prop_assert_eq!(bytes.len() % 64, 0);
            bytes.extend(&values);
            std::fs::write(&path, bytes).unwrap();
            let mut npy = Npy::open(&path).unwrap();
            proptest::prop_assert_eq!(npy.dims(), &dims);
            proptest::prop_assert_eq!(npy.bytes(1, count - 1).unwrap(), &values[1..]);
        }
    }
}
