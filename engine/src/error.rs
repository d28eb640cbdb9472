//! One error type for every crate of Vitrum.
//!
//! An [`Error`] names the place (op, file, flag), what is wrong, the values involved, and the remedy. It prints as a
//! small table, so that the reader sees all inputs at once and not only the first one that disagreed.

use std::fmt;

/// `Result` with Vitrum's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, where, with which values, and what to do about it.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Report>);

#[derive(Clone, PartialEq, Eq)]
struct Report {
    place: String,
    problem: String,
    rows: Vec<(String, String)>,
    help: Option<String>,
    too_large: bool,
}

impl Error {
    /// An error at `place` (an op's name, a path, a flag) with a one-line description of the problem.
    pub fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self(Box::new(Report {
            place: place.into(),
            problem: problem.into(),
            rows: Vec::new(),
            help: None,
            too_large: false,
        }))
    }

    /// Adds a row to the table: a name and the value it had.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl fmt::Display) -> Self {
        self.0.rows.push((name.into(), value.to_string()));
        self
    }

    /// Says what the reader can do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Marks it: a smaller batch might do.
    #[must_use]
    pub fn too_large(mut self) -> Self {
        self.0.too_large = true;
        self
    }

    /// Whether something did not fit the device: a smaller batch might do.
    pub fn is_too_large(&self) -> bool {
        self.0.too_large
    }

    /// Puts an outer place before the inner one: `blocks.3.attn: attention: ...`.
    #[must_use]
    pub fn within(mut self, outer: impl fmt::Display) -> Self {
        self.0.place = format!("{outer}: {}", self.0.place);
        self
    }

    /// An I/O error on `path` while doing `action` ("read", "create", ...).
    pub fn io(path: impl AsRef<std::path::Path>, action: &str, error: &std::io::Error) -> Self {
        Self::new(path.as_ref().display().to_string(), format!("can't {action}: {error}"))
    }

    /// Where it happened.
    pub fn place(&self) -> &str {
        &self.0.place
    }

    /// The one-line description.
    pub fn problem(&self) -> &str {
        &self.0.problem
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.place, self.0.problem)?;
        let width = self.0.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in &self.0.rows {
            write!(f, "\n  {name:width$}  {value}")?;
        }
        if let Some(help) = &self.0.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_a_table_with_aligned_names_and_the_remedy() {
        let error = Error::new("linear", "inner widths differ")
            .with("x", "f32[2, 3]")
            .with("weight", "f32[5, 4]")
            .help("weight is [out, in]")
            .within("blocks.3.mlp.fc1");
        let text = "blocks.3.mlp.fc1: linear: inner widths differ\n  x       f32[2, 3]\n  weight  f32[5, 4]\n  help: weight is [out, in]";
        assert_eq!(error.to_string(), text);
    }
}
