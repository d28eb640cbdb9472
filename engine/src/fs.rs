//! Files that are either the old or the new one, whatever happens in between.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Writes `path` through a temporary file in the same folder: written, fsynced, renamed, folder fsynced.
///
/// Whatever fails (a full disk, a kill, a crash), `path` keeps its old content or has the whole new one. A symbolic link is
/// followed, not replaced.
///
/// # Errors
/// The folder can't be written, the disk is full, or `write` fails; the temporary file is then removed.
pub fn write_atomic(path: impl AsRef<Path>, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
    let path = path.as_ref();
    let target = resolve(path)?;
    let (temporary, file) = create_beside(&target)?;
    let written = fill(file, write).and_then(|()| std::fs::rename(&temporary, &target));
    if let Err(error) = written {
        // Best effort: the error that matters is the one that stopped the write.
        let _ = std::fs::remove_file(&temporary);
        return Err(Error::io(path, "write", &error).help("the previous content is untouched"));
    }
    sync_folder(&target).map_err(|error| Error::io(path, "make the rename durable", &error))
}

/// Finds out, before work starts, whether [`write_atomic`] could write `path`. Leaves nothing behind.
///
/// # Errors
/// `path` is a folder, or its folder is missing or can't be written.
pub fn check_writable(path: impl AsRef<Path>) -> Result<()> {
    let target = resolve(path.as_ref())?;
    let (temporary, file) = create_beside(&target)?;
    drop(file);
    std::fs::remove_file(&temporary).map_err(|error| Error::io(&temporary, "remove", &error))
}

/// The file that a path ends at.
fn resolve(path: &Path) -> Result<PathBuf> {
    if path.is_dir() || path.file_name().is_none() {
        return Err(Error::new(path.display().to_string(), "is a folder, not a file").help("give a file name"));
    }
    let target = if path.is_symlink() {
        std::fs::canonicalize(path).map_err(|error| Error::io(path, "follow the link", &error))?
    } else {
        path.to_path_buf()
    };
    // A rename would replace a file that its owner protected.
    match std::fs::metadata(&target) {
        Ok(metadata) if metadata.permissions().readonly() => {
            Err(Error::new(path.display().to_string(), "is write-protected")
                .help("choose another name or allow writing"))
        }
        _ => Ok(target),
    }
}

fn folder(target: &Path) -> &Path {
    target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn create_beside(target: &Path) -> Result<(PathBuf, File)> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let mut attempt = 0_u32;
    loop {
        let temporary = folder(target).join(format!(".{name}.{}-{attempt}.tmp", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            // Another thread of this process, or a left-over of a killed one that had the same id.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 1000 => attempt += 1,
            Err(error) => {
                return Err(Error::io(target, "write", &error).help("the folder must exist and allow writing"));
            }
        }
    }
}

fn fill(file: File, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    write(&mut writer)?;
    writer.flush()?;
    writer.get_ref().sync_all()
}

#[cfg(unix)]
fn sync_folder(target: &Path) -> io::Result<()> {
    File::open(folder(target))?.sync_all()
}

/// Windows has no handle of a folder that can be synced; the rename itself is journalled.
#[cfg(not(unix))]
fn sync_folder(_target: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        write_atomic(&path, |w| w.write_all(b"old")).unwrap();
        let error = write_atomic(&path, |w| {
            w.write_all(&[1; 4 << 20])?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        assert!(error.unwrap_err().to_string().contains("weights"));
        assert_eq!(
            (std::fs::read(&path).unwrap(), names(folder.path())),
            (b"old".to_vec(), vec!["weights".to_owned()])
        );
        write_atomic(&path, |w| w.write_all(b"new")).unwrap();
        assert_eq!((std::fs::read(&path).unwrap(), names(folder.path()).len()), (b"new".to_vec(), 1));
    }

    #[test]
    fn a_left_over_temporary_file_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        let left_over = folder.path().join(format!(".weights.{}-0.tmp", std::process::id()));
        std::fs::write(&left_over, b"half").unwrap();
        write_atomic(&path, |w| w.write_all(b"new")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read(&left_over).unwrap(), b"half");
    }

    #[test]
    fn unwritable_paths_are_found_beforehand() {
        let folder = tempfile::tempdir().unwrap();
        check_writable(folder.path().join("fine")).unwrap();
        assert!(names(folder.path()).is_empty());
        assert!(check_writable(folder.path()).is_err());
        assert!(check_writable(folder.path().join("missing/file")).is_err());
        let protected = folder.path().join("protected");
        std::fs::write(&protected, b"kept").unwrap();
        let mut permissions = std::fs::metadata(&protected).unwrap().permissions();
        permissions.set_readonly(true);
        std::fs::set_permissions(&protected, permissions).unwrap();
        assert!(check_writable(&protected).is_err());
        assert!(write_atomic(&protected, |w| w.write_all(b"lost")).is_err());
        assert_eq!(std::fs::read(&protected).unwrap(), b"kept");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::write(&real, b"old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write_atomic(&link, |w| w.write_all(b"new")).unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(&real).unwrap(), b"new");
    }
}
