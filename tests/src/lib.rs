//! What the tests of several crates share: where real data lie, and how a test says that it is skipped.
//!
//! The library depends on nothing, so that the tests of any crate can use it.

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file or folder of the real data: below the folder that the environment variable `VITRUM_DATA` names, else below
/// `shared/data` beside the repository. `None` where it is absent, after [`skipped`] has said so.
pub fn real_data(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let path = std::env::var_os("VITRUM_DATA").map_or_else(beside, PathBuf::from).join(name);
    if path.exists() {
        return Some(path);
    }
    skipped(format_args!("{} is absent; set VITRUM_DATA to the folder that holds {name}", path.display()));
    None
}

/// Says that a test, or a part of one, did not run, and why: one line that starts with `SKIPPED: `.
///
/// It goes to standard error itself, past the capturing of `println!` and `eprintln!` in tests, so that a passing test's
/// skip is seen in every run. `tests/run` gathers these lines at its end.
pub fn skipped(reason: impl Display) {
    // One write per line: tests run side by side. Nowhere to complain if standard error is closed.
    let _ = std::io::stderr().write_all(format!("SKIPPED: {reason}\n").as_bytes());
}
