//! Where weights lie: one safetensors file, an index with shards, or a folder with either.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use engine::{Error, Result, Tensor};

use crate::tensor_file::TensorFile;

/// Open files and which of them holds which tensor.
pub(super) struct Source {
    path: PathBuf,
    files: Vec<TensorFile>,
    holder: BTreeMap<String, usize>,
}

impl Source {
    /// Opens `path`: a safetensors file, a `.index.json`, or a folder that holds one of them.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let files = if path.is_dir() {
            files_of_folder(path)?
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files_of_index(path)?
        } else {
            vec![path.to_path_buf()]
        };
        let files: Vec<TensorFile> = files.into_iter().map(TensorFile::open).collect::<Result<_>>()?;
        let mut holder = BTreeMap::new();
        for (number, file) in files.iter().enumerate() {
            for name in file.names() {
                if holder.insert(name.clone(), number).is_some() {
                    return Err(Error::new(path.display().to_string(), "two files hold a tensor of one name")
                        .with("tensor", name)
                        .with("second file", file.path().display())
                        .help("give one file, or an index that says which file holds what"));
                }
            }
        }
        Ok(Self { path: path.to_path_buf(), files, holder })
    }

    pub(super) fn place(&self) -> String {
        self.path.display().to_string()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.holder.keys().cloned().collect()
    }

    pub(super) fn dims(&self, name: &str) -> Option<&[usize]> {
        self.file(name)?.dims(name)
    }

    pub(super) fn read(&self, name: &str) -> Result<Tensor> {
        self.file(name).ok_or_else(|| Error::new(self.place(), "no such tensor").with("name", name))?.read(name)
    }

    pub(super) fn metadata(&self, key: &str) -> Option<&str> {
        self.files.iter().find_map(|file| file.metadata(key))
    }

    /// The folder that the weights lie in, for configuration files beside them.
    pub(super) fn folder(&self) -> &Path {
        let folder = if self.path.is_dir() { Some(self.path.as_path()) } else { self.path.parent() };
        folder.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
    }

    fn file(&self, name: &str) -> Option<&TensorFile> {
        self.files.get(*self.holder.get(name)?)
    }
}

/// The index of a folder, else its `model.safetensors`, else all its safetensors files.
fn files_of_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |error: std::io::Error| Error::io(folder, "list", &error);
    let mut paths = std::fs::read_dir(folder)
        .map_err(io)?
        .map(|entry| Ok(entry.map_err(io)?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    let ends = |path: &Path, end: &str| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(end));
    let single = folder.join("model.safetensors");
    if paths.contains(&single) {
        return Ok(vec![single]);
    }
    let indices: Vec<&PathBuf> = paths.iter().filter(|path| ends(path, ".safetensors.index.json")).collect();
    match indices.as_slice() {
        [] => {}
        [index] => return files_of_index(index),
        _ => return Err(Error::new(folder.display().to_string(), "several indices").help("name the index to read")),
    }
    paths.retain(|path| ends(path, ".safetensors"));
    if paths.is_empty() {
        return Err(Error::new(folder.display().to_string(), "holds no safetensors file"));
    }
    Ok(paths)
}

/// The shards that an index names: `{"weight_map": {"tensor": "file", ...}}`.
fn files_of_index(index: &Path) -> Result<Vec<PathBuf>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = std::fs::read_to_string(index).map_err(|error| Error::io(index, "read", &error))?;
    let parsed: Index = serde_json::from_str(&text)
        .map_err(|error| Error::new(index.display().to_string(), "not an index of shards").with("problem", error))?;
    let mut shards: Vec<String> = parsed.weight_map.into_values().collect();
    shards.sort();
    shards.dedup();
    let folder = index.parent().unwrap_or_else(|| Path::new(""));
    shards
        .into_iter()
        .map(|shard| {
            // An index must not make us read outside of its folder.
            let plain = matches!(Path::new(&shard).components().collect::<Vec<_>>().as_slice(), [Component::Normal(_)]);
            if plain {
                Ok(folder.join(&shard))
            } else {
                Err(Error::new(index.display().to_string(), "a shard is not a plain file name").with("shard", shard))
            }
        })
        .collect()
}
