//! A file of the laboratory: its idea, and how it is launched.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::device::source::Source;
use engine::{Error, Result};

use super::Sizes;

/// What a file's line `// lab:` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Geometry {
    /// Rows and columns of the output that a block computes; for attention queries, and 1.
    pub tile: [usize; 2],
    pub threads: u32,
    pub shared: usize,
    /// What each size must be a multiple of.
    pub multiples: Sizes,
    /// One block per multiprocessor, so many times; 0 where each tile has its block.
    pub persistent: usize,
    /// Rows of the boxes of two tensor maps, which then take the operands' place; and of one for the output, or 0.
    pub boxes: Option<[usize; 3]>,
    /// The least compute capability.
    pub capability: u32,
    /// Whether it takes tensors in bf16 only.
    pub bf16: bool,
}

impl Geometry {
    /// Reads `tile 128 128, threads 256, shared 49152, ..`.
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut found = Self {
            tile: [0, 1],
            threads: 0,
            shared: 0,
            multiples: [1; 4],
            persistent: 0,
            boxes: None,
            capability: 80,
            bf16: false,
        };
        for part in text.split(',') {
            let mut words = part.split_whitespace();
            let key = words.next().ok_or("an empty part between two commas")?;
            let numbers = words.map(|word| word.parse::<usize>().map_err(|_| format!("{word} is no number")));
            let numbers = numbers.collect::<std::result::Result<Vec<_>, _>>()?;
            let small = |number: usize| u32::try_from(number).map_err(|_| format!("{number} is too large"));
            match (key, numbers.as_slice()) {
                ("tile", &[rows]) => found.tile = [rows, 1],
                ("tile", &[rows, columns]) => found.tile = [rows, columns],
                ("threads", &[threads]) => found.threads = small(threads)?,
                ("shared", &[bytes]) => found.shared = bytes,
                ("multiples", sizes) if (1..=4).contains(&sizes.len()) => {
                    found.multiples[..sizes.len()].copy_from_slice(sizes);
                }
                ("persistent", &[times]) => found.persistent = times,
                ("boxes", &[first, second]) => found.boxes = Some([first, second, 0]),
                ("boxes", &[first, second, output]) => found.boxes = Some([first, second, output]),
                ("bf16", &[]) => found.bf16 = true,
                ("capability", &[capability]) => found.capability = small(capability)?,
                _ => return Err(format!("`{}` is not understood", part.trim())),
            }
        }
        if found.tile.contains(&0) || found.threads == 0 {
            return Err("tile and threads are needed, and are not 0".to_owned());
        }
        Ok(found)
    }

    pub fn fits(&self, sizes: Sizes) -> bool {
        sizes.iter().zip(self.multiples).all(|(size, multiple)| size.is_multiple_of(multiple.max(1)))
    }
}

/// A file of the laboratory.
#[derive(Debug)]
pub struct Version {
    pub name: String,
    /// Its first line.
    pub idea: String,
    pub geometry: Geometry,
    pub source: &'static Source,
}

impl Version {
    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, "read", &error))?;
        let comment = |line: &str| line.strip_prefix("//").map(|rest| rest.trim().to_owned());
        let idea = text.lines().next().and_then(comment).unwrap_or_default();
        let lab =
            (1..).zip(text.lines()).find_map(|(at, line)| Some((at, comment(line)?.strip_prefix("lab:")?.to_owned())));
        let place = |line: usize| format!("{}:{line}", path.display());
        let help = "a line such as `// lab: tile 128 128, threads 256`; bench/lab/README.md has them all";
        let (line, lab) = lab.ok_or_else(|| Error::new(place(1), "the file has no line `// lab:`").help(help))?;
        let geometry = Geometry::parse(&lab).map_err(|problem| Error::new(place(line), problem).help(help))?;
        let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        // Sources live as long as the program, as those that are compiled into it do.
        let file: &'static str = Box::leak(path.display().to_string().into_boxed_str());
        let source = Box::leak(Box::new(kernels::common::cuda::source(file, Box::leak(text.into_boxed_str()))));
        Ok(Self { name, idea, geometry, source })
    }

    /// All of a folder, by name.
    pub fn all(folder: &Path) -> Result<Vec<Arc<Self>>> {
        let entries = std::fs::read_dir(folder).map_err(|error| Error::io(folder, "list", &error))?;
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        let mut paths = paths.collect::<std::io::Result<Vec<PathBuf>>>().map_err(|e| Error::io(folder, "list", &e))?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "cu"));
        paths.sort();
        if paths.is_empty() {
            return Err(Error::new("--lab", "the folder has no .cu file").with("folder", folder.display()));
        }
        paths.iter().map(|path| Self::read(path).map(Arc::new)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometry_is_read_and_what_is_wrong_is_named() {
        let found = Geometry::parse(
            "tile 128 192, threads 384, shared 65536, multiples 1 8 8, persistent 1, boxes 128 96, \
             capability 90, bf16",
        );
        let expected = Geometry {
            tile: [128, 192],
            threads: 384,
            shared: 65536,
            multiples: [1, 8, 8, 1],
            persistent: 1,
            boxes: Some([128, 96, 0]),
            capability: 90,
            bf16: true,
        };
        assert_eq!(found.unwrap(), expected);
        assert!(expected.fits([5, 16, 8, 3]) && !expected.fits([5, 12, 8, 3]));
        assert_eq!(Geometry::parse("tile 1, threads 1, boxes 1 2 3").unwrap().boxes, Some([1, 2, 3]));
        for (text, problem) in [
            ("tile 16", "tile and threads are needed"),
            ("tile 16, threads x", "x is no number"),
            ("tile 16, threads 64, cluster 2", "cluster 2"),
            ("tile 0, threads 64", "not 0"),
            ("tile 16,, threads 64", "empty"),
        ] {
            let error = Geometry::parse(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
