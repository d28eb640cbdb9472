//! Kernel sources with `#include "name"`, and the way back from a line of the whole to the file that it came from, so that
//! a compiler's message names ours.

use crate::error::{Error, Result};

/// Files that kernels include, by name.
pub type Library = &'static [(&'static str, &'static str)];

/// One kernel file as it was compiled into the binary.
#[derive(Debug)]
pub struct Source {
    /// Its path in the repository, for messages.
    pub file: &'static str,
    /// Its text.
    pub text: &'static str,
    /// What it may include.
    pub library: Library,
}

/// A kernel file with everything that it includes.
#[derive(Clone, Debug, Default)]
pub struct Expanded {
    /// The whole text.
    pub text: String,
    /// File and line (from 1) of each line of the text.
    origins: Vec<(String, usize)>,
}

impl Expanded {
    /// Where line `number` (from 1) of the text comes from.
    pub fn origin(&self, number: usize) -> Option<(&str, usize)> {
        let (file, line) = self.origins.get(number.checked_sub(1)?)?;
        Some((file, *line))
    }
}

/// Replaces lines `#include "name"` in the text of `file` by what `find` gives for the name; each name once.
///
/// # Errors
/// An include without a closing quote, or one that `find` does not know.
pub fn expand<'t>(file: &str, text: &str, find: &dyn Fn(&str) -> Option<&'t str>) -> Result<Expanded> {
    let mut expanded = Expanded::default();
    let mut seen = Vec::new();
    include(&mut expanded, &mut seen, file, text, find)?;
    Ok(expanded)
}

fn include<'t>(
    expanded: &mut Expanded,
    seen: &mut Vec<String>,
    file: &str,
    text: &str,
    find: &dyn Fn(&str) -> Option<&'t str>,
) -> Result<()> {
    for (number, line) in (1..).zip(text.lines()) {
        let Some(rest) = line.strip_prefix("#include") else {
            expanded.text.push_str(line);
            expanded.text.push('\n');
            expanded.origins.push((file.to_owned(), number));
            continue;
        };
        let fail = |problem: &str| Error::new("kernel source", problem).with("at", format!("{file}:{number}"));
        let name = rest.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let name = name.ok_or_else(|| fail("an include needs a name in quotes"))?;
        if seen.iter().any(|other| other == name) {
            continue;
        }
        seen.push(name.to_owned());
        let found = find(name).ok_or_else(|| fail("no such file to include").with("name", name))?;
        include(expanded, seen, name, found, find)?;
    }
    Ok(())
}

impl Source {
    /// The text with its includes.
    ///
    /// # Errors
    /// As [`expand`].
    pub fn expand(&self) -> Result<Expanded> {
        expand(self.file, self.text, &|name| {
            self.library.iter().find(|(other, _)| *other == name).map(|(_, text)| *text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_once_and_knows_where_each_line_came_from() {
        let library = |name: &str| match name {
            "a" => Some("#include \"b\"\nin a"),
            "b" => Some("in b"),
            _ => None,
        };
        let expanded = expand("main", "#include \"a\"\n#include \"b\"\nlast", &library).unwrap();
        assert_eq!(expanded.text, "in b\nin a\nlast\n");
        assert_eq!(expanded.origin(1), Some(("b", 1)));
        assert_eq!(expanded.origin(2), Some(("a", 2)));
        assert_eq!(expanded.origin(3), Some(("main", 3)));
        assert_eq!(expanded.origin(4), None);
        assert!(expand("main", "#include \"c\"", &library).unwrap_err().to_string().contains("main:1"));
        assert!(expand("main", "#include <c>", &library).is_err());
    }
}
