//! Kernel sources with three directives, and the way back from a line of the whole to the file that it came from, so that a
//! compiler's message names ours.
//!
//! | line | is replaced by |
//! |---|---|
//! | `#include "name"` | a file of the library, the first time |
//! | `#let NAME VALUE` | nothing; `${NAME}` is VALUE in what follows |
//! | `#repeat NAME COUNT` .. `#end` | the lines between, COUNT times, with `${NAME}` = 0, 1, ..; they nest |
//!
//! Kernels that keep a tile in registers need as many variables as the tile has rows: arrays end up in memory.

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

/// Carries out the directives in the text of `file`; `find` gives the text of an included file.
///
/// # Errors
/// A directive that is malformed or has no end, an include that `find` does not know, a `${NAME}` that is not set.
pub fn expand<'t>(file: &str, text: &str, find: &dyn Fn(&str) -> Option<&'t str>) -> Result<Expanded> {
    let mut expander = Expander { expanded: Expanded::default(), seen: Vec::new(), names: Vec::new(), find };
    expander.file(file, text)?;
    Ok(expander.expanded)
}

struct Expander<'t, 'f> {
    expanded: Expanded,
    seen: Vec<String>,
    /// Names in braces and their values; the last one of a name counts.
    names: Vec<(String, String)>,
    find: &'f dyn Fn(&str) -> Option<&'t str>,
}

impl Expander<'_, '_> {
    fn file(&mut self, file: &str, text: &str) -> Result<()> {
        let lines: Vec<(usize, &str)> = (1..).zip(text.lines()).collect();
        self.block(file, &lines)
    }

    fn block(&mut self, file: &str, mut lines: &[(usize, &str)]) -> Result<()> {
        while let Some((&(number, line), rest)) = lines.split_first() {
            lines = rest;
            let fail = |problem: &str| Error::new("kernel source", problem).with("at", format!("{file}:{number}"));
            let directive = if line.trim_start().starts_with('#') { line } else { "" };
            match directive.split_whitespace().collect::<Vec<_>>().as_slice() {
                [] => {
                    let line = self.substitute(line).ok_or_else(|| fail("no such name").with("line", line))?;
                    self.expanded.text.push_str(&line);
                    self.expanded.text.push('\n');
                    self.expanded.origins.push((file.to_owned(), number));
                }
                ["#include", name] => {
                    let name = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                    let name = name.ok_or_else(|| fail("an include needs a name in quotes"))?;
                    if !self.seen.iter().any(|other| other == name) {
                        self.seen.push((*name).to_owned());
                        let found = (self.find)(name);
                        self.file(name, found.ok_or_else(|| fail("no such file to include").with("name", name))?)?;
                    }
                }
                ["#let", name, value] => self.names.push((format!("${{{name}}}"), (*value).to_owned())),
                ["#repeat", name, count] => {
                    let count = self.substitute(count).and_then(|count| count.parse::<usize>().ok());
                    let count = count.ok_or_else(|| fail("a repeat needs a count"))?;
                    let length = body(lines).ok_or_else(|| fail("a repeat without an end"))?;
                    let outer = self.names.len();
                    for index in 0..count {
                        self.names.push((format!("${{{name}}}"), index.to_string()));
                        self.block(file, &lines[..length])?;
                        self.names.truncate(outer);
                    }
                    lines = &lines[length + 1..];
                }
                _ => return Err(fail("no such directive").with("line", line)),
            }
        }
        Ok(())
    }

    /// The text with the values of its names, `None` where one has none.
    fn substitute(&self, text: &str) -> Option<String> {
        let mut text = text.to_owned();
        for (name, value) in self.names.iter().rev() {
            if text.contains(name) {
                text = text.replace(name, value);
            }
        }
        (!text.contains("${")).then_some(text)
    }
}

/// Lines up to the end of the repeat that they follow.
fn body(lines: &[(usize, &str)]) -> Option<usize> {
    let mut open = 1;
    lines.iter().position(|(_, line)| {
        match line.split_whitespace().next() {
            Some("#repeat") => open += 1,
            Some("#end") => open -= 1,
            _ => {}
        }
        open == 0
    })
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
    #[test]
    fn repeats_nest_and_know_the_values_of_their_names() {
        let none = |_: &str| None;
        let text = "#let N 2\n#repeat i ${N}\n  #repeat j 2\n  c${i}_${j}\n  #end\nrow ${i}\n#end\nlast";
        let expanded = expand("main", text, &none).unwrap();
        assert_eq!(expanded.text, "  c0_0\n  c0_1\nrow 0\n  c1_0\n  c1_1\nrow 1\nlast\n");
        assert_eq!(expanded.origin(5), Some(("main", 4)));
        assert_eq!(expanded.origin(7), Some(("main", 8)));
        for wrong in ["#repeat i 2\nx", "#repeat i x\n#end", "${i}", "#repeat i 1\n#end\n${i}", "#end", "#define x"] {
            assert!(expand("main", wrong, &none).is_err(), "{wrong}");
        }
    }
}
