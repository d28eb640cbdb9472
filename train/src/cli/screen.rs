//! What people and machines see: tables or one JSON object on standard output, remarks on standard error.

use std::fmt::{Arguments, Display, Write as _};
use std::io::{ErrorKind, Write as _};

use engine::{Error, Result};
use serde::Serialize;

/// Standard output, for people or for a machine.
pub struct Screen {
    json: bool,
}

impl Screen {
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// A line for people; nothing under `--json`.
    pub fn line(&self, text: impl Display) -> Result<()> {
        if self.json { Ok(()) } else { put(&text.to_string()) }
    }

    /// The result for a machine, under `--json`.
    pub fn json(&self, value: &impl Serialize) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        put(&serde_json::to_string(value).map_err(|error| Error::new("--json", error.to_string()))?)
    }

    /// A table for people: the first row is the heading; columns of numbers are aligned to the right.
    pub fn table(&self, rows: &[Vec<String>]) -> Result<()> {
        if self.json { Ok(()) } else { put(table(rows).trim_end()) }
    }
}

/// A line on standard error. Nothing can be done, and nothing depends on it, if that is closed.
pub fn note(text: Arguments) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A line on standard output, seen at once.
pub fn put(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        // The reader has seen enough (`vitrum plan | head`).
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        result => result.map_err(|error| Error::io("standard output", "write", &error)),
    }
}

fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let widths: Vec<usize> =
        (0..columns).map(|column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0)).collect();
    let is_number = |cell: &String| cell.is_empty() || cell.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    let right: Vec<bool> = (0..columns).map(|column| cells(column).skip(1).all(is_number)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for ((cell, &width), &right) in row.iter().zip(&widths).zip(&right) {
            // Writing into a String can't fail.
            let _ = if right { write!(line, "{cell:>width$}  ") } else { write!(line, "{cell:width$}  ") };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let rows = [["op", "ms"], ["linear", "9.5"], ["add", "10.0"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "op        ms\nlinear   9.5\nadd     10.0\n");
    }
}
