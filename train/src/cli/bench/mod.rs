//! `vitrum bench`

mod ops;
mod samples;

use std::time::Duration;

use engine::{Error, Result};

use super::common::Common;

/// Time every operation, forward and backward apart, beside what this machine reaches at most
///
/// The ceilings (multiply-adds in registers, copies between memories) are measured in the same run, on the same threads. A
/// percentage above 100 means that the data of a case fit into a cache, which is faster than memory.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  vitrum bench --filter attention --threads 2")]
pub struct Args {
    /// Only operations whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Seconds to spend on each pass of each case
    #[arg(long, value_name = "SECONDS", default_value_t = 0.3)]
    time: f64,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let time = Duration::try_from_secs_f64(self.time)
            .map_err(|error| Error::new("--time", error.to_string()).with("given", self.time))?;
        ops::run(common, self.filter.as_deref(), time)
    }
}
