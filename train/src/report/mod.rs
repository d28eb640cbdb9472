//! What a run leaves behind: one HTML file that shows it, and one line of JSON per event.
//!
//! A [`Report`] is sections of notes, tables, charts and pictures, in the order in which they were added. It is written as
//! one file that loads nothing from anywhere: charts are inline SVG, pictures are PNG data URIs, and there is no script.

pub mod digest;
pub mod grids;
pub mod html;
pub mod jsonl;
pub mod lab;
pub mod measures;
pub mod picture;
pub mod plots;
pub mod roofline;
pub mod table;
pub mod tensorboard;

use std::io::Write;
use std::path::Path;

use engine::Result;

use picture::Strip;
use plots::Chart;
use table::Table;

/// A report of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Heading of the page.
    pub title: String,
    /// The command line that made it.
    pub command: String,
    /// Processor, cores, device: what figures about time depend on.
    pub machine: String,
    /// Seed of the run; `None` where several runs are shown.
    pub seed: Option<u64>,
    /// Revision of the program, where it is known.
    pub commit: Option<String>,
    /// Sections in order.
    pub sections: Vec<Section>,
}

impl Report {
    /// A report without sections.
    pub fn new(title: impl Into<String>, command: impl Into<String>, machine: impl Into<String>, seed: u64) -> Self {
        Self {
            title: title.into(),
            command: command.into(),
            machine: machine.into(),
            seed: Some(seed),
            ..Self::default()
        }
    }

    /// Adds a section.
    pub fn push(&mut self, section: Section) {
        self.sections.push(section);
    }

    /// The whole page.
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// Writes the page; `path` keeps its old content if that fails.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        engine::fs::write_atomic(path, |file| file.write_all(self.html().as_bytes()))
    }
}

/// A heading and what stands below it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// Heading.
    pub title: String,
    /// Content in order. Neighbouring charts share a row where the page is wide enough.
    pub blocks: Vec<Block>,
}

/// One piece of a section.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// A paragraph of plain text.
    Note(String),
    /// A table.
    Table(Table),
    /// A chart.
    Chart(Chart),
    /// A row of pictures.
    Strip(Strip),
    /// Names and values, which may be long.
    Facts(Vec<(String, String)>),
    /// Things that hold or don't.
    Verdicts(Vec<Verdict>),
}

/// Something that holds or doesn't.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Whether it holds.
    pub passed: bool,
    /// What.
    pub title: String,
    /// The figure that decides it.
    pub figure: String,
    /// More words; empty for none.
    pub detail: String,
}

impl Section {
    /// A section without content.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), blocks: Vec::new() }
    }

    /// Adds a paragraph.
    #[must_use]
    pub fn note(self, text: impl Into<String>) -> Self {
        self.with(Block::Note(text.into()))
    }

    /// Adds a table.
    #[must_use]
    pub fn table(self, table: Table) -> Self {
        self.with(Block::Table(table))
    }

    /// Adds a chart.
    #[must_use]
    pub fn chart(self, chart: Chart) -> Self {
        self.with(Block::Chart(chart))
    }

    /// Adds a row of pictures.
    #[must_use]
    pub fn strip(self, strip: Strip) -> Self {
        self.with(Block::Strip(strip))
    }

    /// Adds names and values.
    #[must_use]
    pub fn facts(self, facts: Vec<(String, String)>) -> Self {
        self.with(Block::Facts(facts))
    }

    /// Adds a list of what holds and what doesn't.
    #[must_use]
    pub fn verdicts(self, verdicts: Vec<Verdict>) -> Self {
        self.with(Block::Verdicts(verdicts))
    }

    fn with(mut self, block: Block) -> Self {
        self.blocks.push(block);
        self
    }
}

#[cfg(test)]
mod tests;
