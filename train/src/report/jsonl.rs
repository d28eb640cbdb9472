//! A log of one JSON object per line: what scripts read while a run goes on.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use engine::{Error, Result};
use serde::Serialize;

/// An open log. Each object is one write, flushed, so that a killed run leaves at most one torn line at the end.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Opens `path` to append, or creates it. A torn last line, which a killed run may have left, is cut off; a complete one
    /// that lacks its newline gets it.
    ///
    /// # Errors
    /// The file can't be read or written, or its last line is no JSON: then it is left alone.
    pub fn append(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let fail = |error: std::io::Error| Error::io(&path, "open the log", &error);
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(fail)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fail)?;
        let complete = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let tail = bytes.get(complete..).unwrap_or_default();
        if !tail.is_empty() {
            if tail.first() != Some(&b'{') {
                return Err(
                    Error::new(path.display().to_string(), "isn't a log of JSON lines").help("name another file")
                );
            }
            if serde_json::from_slice::<serde_json::Value>(tail).is_ok() {
                file.write_all(b"\n").map_err(fail)?;
            } else {
                file.set_len(u64::try_from(complete).unwrap_or(u64::MAX)).map_err(fail)?;
                file.seek(SeekFrom::End(0)).map_err(fail)?;
            }
        }
        Ok(Self { path, file })
    }

    /// Appends one object.
    ///
    /// # Errors
    /// The record is no JSON object, or the disk is full.
    pub fn write(&mut self, record: &impl Serialize) -> Result<()> {
        let error = |problem: String| Error::new(self.path.display().to_string(), problem);
        let mut line = serde_json::to_string(record).map_err(|e| error(format!("can't serialise a record: {e}")))?;
        if !line.starts_with('{') {
            return Err(error("a record must be an object".to_owned()).with("record", line));
        }
        line.push('\n');
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.flush());
        written.map_err(|e| Error::io(&self.path, "append to the log", &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Row {
        step: u32,
        note: &'static str,
    }

    #[test]
    fn lines_append_across_runs_and_a_torn_one_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        Log::append(&path).unwrap().write(&Row { step: 1, note: "two\nlines" }).unwrap();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"step\":2,\"no").unwrap();
        Log::append(&path).unwrap().write(&Row { step: 2, note: "again" }).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let rows: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.iter().map(|row| row["step"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((rows[0]["note"].as_str(), text.ends_with('\n')), (Some("two\nlines"), true));

        std::fs::write(&path, "{\"step\":7}").unwrap();
        Log::append(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"step\":7}\n");
    }

    #[test]
    fn other_files_and_records_are_refused_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "dear diary").unwrap();
        assert!(Log::append(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "dear diary");
        let mut log = Log::append(folder.path().join("log.jsonl")).unwrap();
        assert!(log.write(&3).unwrap_err().to_string().contains("object"));
        assert!(Log::append(folder.path()).is_err());
    }
}
