//! Where libcuda and libnvrtc are looked for.
//!
//! cudarc opens both by their plain names and panics where it finds none, so presence is asked first. A library in a place
//! that the loader does not look at is opened by its path before: the loader then finds it by name.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::error::{Error, Result};

/// Folder in which libnvrtc (and libcuda) is looked for first.
const OVERRIDE: &str = "VITRUM_CUDA_LIBRARY_PATH";

/// Endings of NVRTC's name that are looked for: later ones are another library's.
const MAJORS: [&str; 2] = ["13", "12"];

/// The driver can be called.
///
/// # Errors
/// It is missing.
pub(super) fn driver() -> Result<()> {
    static PRESENT: OnceLock<bool> = OnceLock::new();
    let present = *PRESENT.get_or_init(|| {
        folders().iter().any(|folder| open(&folder.join("libcuda.so.1")));
        // SAFETY: opening a library runs its initialisers; the driver's are made for that.
        unsafe { cudarc::driver::sys::is_culib_present() }
    });
    if present { Ok(()) } else { Err(missing("the NVIDIA driver (libcuda)", "install NVIDIA's driver for your GPU")) }
}

/// NVRTC can be called.
///
/// # Errors
/// It is missing.
pub(super) fn nvrtc() -> Result<()> {
    static PRESENT: OnceLock<bool> = OnceLock::new();
    let present = *PRESENT.get_or_init(|| {
        folders().iter().any(|folder| open_nvrtc(folder));
        // SAFETY: as for the driver.
        unsafe { cudarc::nvrtc::sys::is_culib_present() }
    });
    let help = "install it (no toolkit needed): pip install nvidia-cuda-nvrtc, or your distribution's libnvrtc";
    if present { Ok(()) } else { Err(missing("NVRTC (libnvrtc), the compiler of kernels", help)) }
}

/// Opens the newest NVRTC of a folder, its helper first: it opens that by plain name when it compiles. Whether it did.
fn open_nvrtc(folder: &Path) -> bool {
    MAJORS.iter().any(|major| {
        let library = folder.join(format!("libnvrtc.so.{major}"));
        if !library.is_file() {
            return false;
        }
        let helper = format!("libnvrtc-builtins.so.{major}");
        for path in children(folder).filter(|path| name_starts(path, &helper)) {
            open(&path);
        }
        open(&library)
    })
}

fn missing(what: &str, help: &str) -> Error {
    let error = Error::new("cuda", format!("{what} was not found"));
    searched().into_iter().fold(error, |error, place| error.with("searched", place)).help(help)
}

/// The places, in order, for people.
pub fn searched() -> Vec<String> {
    let mut places: Vec<String> = folders().into_iter().map(|folder| folder.display().to_string()).collect();
    if std::env::var_os(OVERRIDE).is_none() {
        places.insert(0, format!("the folder that {OVERRIDE} names (it is not set)"));
    }
    if python_folders().is_empty() {
        places.push(
            "site-packages/nvidia/*/lib of Python (VIRTUAL_ENV, CONDA_PREFIX, ~/.local, the system's): none".to_owned(),
        );
    }
    places.push("the loader's own paths (LD_LIBRARY_PATH, ldconfig, PATH)".to_owned());
    places
}

fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os(OVERRIDE).map(PathBuf::from).into_iter().collect();
    folders.extend(python_folders());
    for variable in ["CUDA_HOME", "CUDA_PATH"] {
        folders.extend(std::env::var_os(variable).map(|root| Path::new(&root).join("lib64")));
    }
    folders.push(PathBuf::from("/usr/local/cuda/lib64"));
    folders
}

/// Folders of NVIDIA's wheels in Python environments: `site-packages/nvidia/*/lib`.
fn python_folders() -> Vec<PathBuf> {
    let roots = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let user = std::env::var_os("HOME").map(|home| Path::new(&home).join(".local"));
    let roots = roots.chain(user).chain(["/usr/local", "/usr"].map(PathBuf::from));
    let mut found = Vec::new();
    for root in roots {
        for python in children(&root.join("lib")).filter(|path| name_starts(path, "python3")) {
            for packages in ["site-packages", "dist-packages"] {
                let vendor = python.join(packages).join("nvidia");
                found.extend(children(&vendor).map(|package| package.join("lib")).filter(|lib| lib.is_dir()));
            }
        }
    }
    found
}

fn children(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter()
}

fn name_starts(path: &Path, start: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start))
}

/// Opens a library for good, so that it is found by its name. Whether it did.
#[cfg(unix)]
fn open(path: &Path) -> bool {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    if !path.is_file() {
        return false;
    }
    // SAFETY: NVIDIA's libraries are made to be opened; they stay open, so no address of theirs dangles.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.map(std::mem::forget).is_ok()
}

#[cfg(not(unix))]
fn open(path: &Path) -> bool {
    // SAFETY: as above.
    path.is_file() && unsafe { libloading::Library::new(path) }.map(std::mem::forget).is_ok()
}
