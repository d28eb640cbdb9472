//! Result files in run folders.

use std::path::{Path, PathBuf};

use engine::{Error, Result};

use super::{FORMAT, LabReport};

/// A result file.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its path.
    pub path: PathBuf,
    /// What it holds.
    pub report: LabReport,
}

impl Found {
    /// The folder of the run: where its pictures lie.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or_else(|| Path::new("."))
    }
}

/// The result files (`*.json` with the key `vitrum_lab`) that lie in `folder`, by name. Other JSON files are passed over.
///
/// # Errors
/// The folder can't be read or holds no result; a result file is damaged or of another version.
pub fn read(folder: &Path) -> Result<Vec<Found>> {
    let entries = std::fs::read_dir(folder).map_err(|error| Error::io(folder, "list", &error))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).map_err(|error| Error::io(&path, "read", &error))?;
        if let Some(report) = parse(&path, &text)? {
            found.push(Found { path, report });
        }
    }
    if found.is_empty() {
        return Err(Error::new(folder.display().to_string(), "holds no result file")
            .help("write one with --out: vitrum eval --out DIR"));
    }
    Ok(found)
}

/// The report in a file's text; `None` where it is other JSON.
fn parse(path: &Path, text: &str) -> Result<Option<LabReport>> {
    let place = || path.display().to_string();
    let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else {
        // A torn result would otherwise be missing in silence.
        return Err(Error::new(place(), "is not JSON: it is damaged").help("run its command again, or remove it"));
    };
    let Some(version) = value.get("vitrum_lab") else { return Ok(None) };
    if version.as_u64() != Some(u64::from(FORMAT)) {
        return Err(Error::new(place(), "was written by another version")
            .with("format", version)
            .with("expected", FORMAT));
    }
    let report = serde_json::from_value(value);
    report.map(Some).map_err(|error| Error::new(place(), format!("is not a result file: {error}")))
}
