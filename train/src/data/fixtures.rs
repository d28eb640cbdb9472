//! What tests of several files share.

use std::path::PathBuf;

/// A folder of the real data: below `VITRUM_DATA`, or `../shared/data` beside the repository. Absent: says so, loudly.
pub(crate) fn real_data(folder: &str) -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let path = std::env::var_os("VITRUM_DATA").map_or_else(beside, PathBuf::from).join(folder);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is absent; set VITRUM_DATA to the folder that holds {folder}", path.display());
    None
}
