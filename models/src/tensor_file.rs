//! Safetensors files: read tensor by tensor, with errors that name file and key; written atomically.
//!
//! Reading seeks instead of mapping the file: a file that shrinks meanwhile is then an error and not a signal, and nothing
//! unsafe is needed. Each tensor's bytes go straight to where they stay.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use engine::{DType, Error, Result, Spec, Tensor};
use safetensors::tensor::{Dtype, Metadata};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// Largest header that is believed, in bytes; the format's own limit.
const MOST_HEADER: u64 = 100_000_000;

/// An open safetensors file whose header has been checked against its length.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    file: File,
    /// Where the data start.
    base: u64,
    header: Metadata,
}

impl TensorFile {
    /// Opens a file and checks its header: length, JSON, offsets that cover the rest of the file without gap or overlap.
    ///
    /// # Errors
    /// The file can't be read or is not such a file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let io = |action: &'static str| {
            let path = path.clone();
            move |error: std::io::Error| Error::io(path, action, &error)
        };
        if path.is_dir() {
            return Err(Error::new(path.display().to_string(), "is a folder, not a safetensors file"));
        }
        let mut file = File::open(&path).map_err(io("open"))?;
        let bytes = file.metadata().map_err(io("read"))?.len();
        let mut start = [0; 8];
        if bytes < 8 {
            return Err(bad(&path, "too short for a safetensors file").with("bytes", bytes));
        }
        file.read_exact(&mut start).map_err(io("read"))?;
        let length = u64::from_le_bytes(start);
        if length > MOST_HEADER || length > bytes - 8 {
            let problem = foreign(start).unwrap_or("the header is longer than the file: truncated, or not safetensors");
            return Err(bad(&path, problem).with("header bytes", length).with("file bytes", bytes));
        }
        let mut text = Vec::new();
        (&mut file).take(length).read_to_end(&mut text).map_err(io("read"))?;
        let header: Metadata = serde_json::from_slice(&text).map_err(|error| {
            bad(&path, "the header can't be read").with("problem", error).with("header bytes", length)
        })?;
        let base = 8 + length;
        let expected = u64::try_from(header.data_len()).ok().and_then(|data| data.checked_add(base));
        if expected != Some(bytes) {
            let expected = expected.map_or_else(|| "beyond 64 bits".to_owned(), |count| count.to_string());
            return Err(bad(&path, "the file's length does not match its header: truncated or overlong")
                .with("expected bytes", expected)
                .with("file bytes", bytes));
        }
        Ok(Self { path, file, base, header })
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the tensors, in the order of their data.
    pub fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    /// Dimensions of a tensor.
    pub fn dims(&self, name: &str) -> Option<&[usize]> {
        self.header.info(name).map(|info| info.shape.as_slice())
    }

    /// The text stored under `key` in the header's metadata.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.header.metadata().as_ref()?.get(key).map(String::as_str)
    }

    /// Reads one tensor. Booleans become bytes, 64-bit integers i32.
    ///
    /// # Errors
    /// No such tensor, a type or rank that has no counterpart here, an integer out of range, or a failed read.
    pub fn read(&self, name: &str) -> Result<Tensor> {
        let place = || format!("{}: {name}", self.path.display());
        let info = self
            .header
            .info(name)
            .ok_or_else(|| Error::new(place(), "no such tensor").with("present", first_names(&self.names())))?;
        let dims = info.shape.as_slice();
        let at = u64::try_from(info.data_offsets.0).map_err(|_| Error::new(place(), "offset beyond 64 bits"))?;
        let io = |error: std::io::Error| Error::io(&self.path, "read", &error);
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.base + at)).map_err(io)?;
        if info.dtype == Dtype::I64 {
            let mut bytes = vec![0; info.data_offsets.1 - info.data_offsets.0];
            file.read_exact(&mut bytes).map_err(io)?;
            return narrow(dims, &bytes).map_err(|error| error.within(place()));
        }
        let dtype = dtype_of(info.dtype).ok_or_else(|| {
            Error::new(place(), "element type not supported")
                .with("dtype", info.dtype)
                .help("f32, f64, f16, bf16, u8, bool, i32, u32 and i64 are read")
        })?;
        let spec = Spec::new(dtype, dims).map_err(|error| error.within(place()))?;
        let mut tensor = Tensor::zeros(spec);
        file.read_exact(tensor.bytes_mut()).map_err(io)?;
        Ok(tensor)
    }

    /// Reads every tensor, in the order of the data.
    ///
    /// # Errors
    /// As [`TensorFile::read`].
    pub fn read_all(&self) -> Result<Vec<(String, Tensor)>> {
        self.names().into_iter().map(|name| self.read(&name).map(|tensor| (name, tensor))).collect()
    }
}

/// Writes tensors in the given order, with metadata, through a temporary file that replaces `path` when complete.
///
/// Equal input gives equal bytes.
///
/// # Errors
/// Two tensors of one name, a name that the format reserves, or a failed write.
pub fn write<'a>(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let path = path.as_ref();
    let tensors: Vec<(&str, &Tensor)> = tensors.into_iter().collect();
    let mut seen = std::collections::BTreeSet::new();
    if let Some((name, _)) = tensors.iter().find(|(name, _)| *name == "__metadata__" || !seen.insert(*name)) {
        return Err(Error::new(path.display().to_string(), "duplicate or reserved tensor name").with("name", name));
    }
    let mut header = serde_json::to_vec(&Header { tensors: &tensors, metadata })
        .map_err(|error| Error::new(path.display().to_string(), format!("can't form the header: {error}")))?;
    // The data start at a multiple of 8, as readers that map the file want it.
    header.resize(header.len().next_multiple_of(8), b' ');
    engine::fs::write_atomic(path, |writer| {
        writer.write_all(&u64::try_from(header.len()).unwrap_or(u64::MAX).to_le_bytes())?;
        writer.write_all(&header)?;
        tensors.iter().try_for_each(|(_, tensor)| writer.write_all(tensor.bytes()))
    })
}

struct Header<'a> {
    tensors: &'a [(&'a str, &'a Tensor)],
    metadata: &'a BTreeMap<String, String>,
}

#[derive(serde::Serialize)]
struct Info<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.metadata.is_empty() {
            map.serialize_entry("__metadata__", self.metadata)?;
        }
        let mut at = 0;
        for (name, tensor) in self.tensors {
            let end = at + tensor.spec().bytes();
            let info = Info { dtype: stored(tensor.spec().dtype), shape: tensor.dims(), data_offsets: [at, end] };
            map.serialize_entry(name, &info)?;
            at = end;
        }
        map.end()
    }
}

fn stored(dtype: DType) -> Dtype {
    match dtype {
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        DType::F16 => Dtype::F16,
        DType::Bf16 => Dtype::BF16,
        DType::U8 => Dtype::U8,
        DType::I32 => Dtype::I32,
        DType::U32 => Dtype::U32,
    }
}

fn dtype_of(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F32 => Some(DType::F32),
        Dtype::F64 => Some(DType::F64),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::Bf16),
        Dtype::U8 | Dtype::BOOL => Some(DType::U8),
        Dtype::I32 => Some(DType::I32),
        Dtype::U32 => Some(DType::U32),
        _ => None,
    }
}

/// 64-bit integers as i32: the labels that Python writes.
fn narrow(dims: &[usize], bytes: &[u8]) -> Result<Tensor> {
    let values: Vec<i32> = bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|chunk| {
            let value = i64::from_le_bytes(*chunk);
            i32::try_from(value).map_err(|_| Error::new("i64", "an integer does not fit i32").with("value", value))
        })
        .collect::<Result<_>>()?;
    Tensor::new(dims, &values)
}

fn bad(path: &Path, problem: &str) -> Error {
    Error::new(path.display().to_string(), problem).help("safetensors is read; fetch or convert the file again")
}

/// What a file that starts with these bytes is instead, if it is something that people have lying around.
fn foreign(start: [u8; 8]) -> Option<&'static str> {
    match start {
        [b'P', b'K', 3, 4, ..] => Some("a zip archive (PyTorch's .pth or .bin, or .npz), not safetensors"),
        [0x80, 2..=5, ..] => Some("a Python pickle (PyTorch's old format), not safetensors"),
        [b'v', b'e', b'r', b's', b'i', b'o', b'n', b' '] => Some("a Git LFS pointer, not the file itself"),
        [b'<', ..] => Some("an HTML page, not safetensors: the download went wrong"),
        [0x89, b'H', b'D', b'F', ..] => Some("an HDF5 file, not safetensors"),
        _ => None,
    }
}

/// The first few of a list of names, for a message.
pub(crate) fn first_names(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(6).map(String::as_str).collect();
    let more = names.len().saturating_sub(shown.len());
    if more == 0 { shown.join(", ") } else { format!("{}, and {more} more", shown.join(", ")) }
}
