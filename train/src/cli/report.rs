//! `vitrum report`

use std::path::PathBuf;

use engine::Result;
use train::report::lab::page::page;
use train::report::lab::run_folder::{self, Found};

use super::common::Common;

/// Make one HTML page of the results that lie in run folders
///
/// Reads the result files that other commands wrote with --out: `*.json` with the key `vitrum_lab`. The page holds everything,
/// pictures too, and loads nothing.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// Folder with result files; may be given several times
    #[arg(long = "in", value_name = "DIR", required = true)]
    folders: Vec<PathBuf>,
    /// Where the page goes
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
    /// Heading of the page
    #[arg(long, value_name = "TEXT", default_value = "Robustness report")]
    title: String,
}

const EXAMPLE: &str = "\
Example:
  vitrum eval --weights runs/a/model.safetensors --data cifar-10-batches-bin --attack pgd --temperature 0.2 --out runs/a
  vitrum report --in runs/a --in runs/b --out report.html";

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        engine::fs::check_writable(&self.out)?;
        let mut found: Vec<Found> = Vec::new();
        for folder in &self.folders {
            found.extend(run_folder::read(folder)?);
        }
        page(&self.title, common.invocation.command(), &found)?.write(&self.out)?;
        let screen = common.screen();
        screen.line(format_args!("{} results: {}", found.len(), self.out.display()))?;
        let files: Vec<&PathBuf> = found.iter().map(|found| &found.path).collect();
        screen.json(&serde_json::json!({ "results": files, "output": self.out }))
    }
}
