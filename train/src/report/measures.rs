//! `metrics.jsonl`: one line per measure with all that is needed to repeat it.

use std::path::Path;

use engine::Result;
use serde::Serialize;

use super::jsonl::Log;
use super::lab::{LabReport, Measure, Provenance};
use super::tensorboard::Events;

/// One line. The command line is left out, for it holds the names of folders: equal runs leave equal lines.
#[derive(Serialize)]
struct Line<'a> {
    measure: &'a str,
    value: f64,
    on: &'a str,
    seed: u64,
    data: Option<&'a str>,
    images: Option<usize>,
    weights: Option<&'a str>,
    device: &'a str,
    version: &'a str,
    commit: Option<&'a str>,
    settings: &'a std::collections::BTreeMap<String, serde_json::Value>,
}

/// Appends one line per measure.
///
/// # Errors
/// The disk is full.
pub fn append(log: &mut Log, run: &Provenance, measures: &[Measure]) -> Result<()> {
    for Measure { name, value, on } in measures {
        log.write(&Line {
            measure: name,
            value: *value,
            on,
            seed: run.seed,
            data: run.data.as_ref().map(|data| data.sha256.as_str()),
            images: run.data.as_ref().map(|data| data.count),
            weights: run.weights.as_ref().map(|weights| weights.sha256.as_str()),
            device: &run.device,
            version: &run.version,
            commit: run.commit.as_deref(),
            settings: &run.settings,
        })?;
    }
    Ok(())
}

/// Writes a command's results: `NAME.json` and lines of `metrics.jsonl` into `folder`, where one is given, and scalars at step 0
/// into `tensorboard`, where one is given.
///
/// # Errors
/// A file can't be written.
pub fn write(report: &LabReport, name: &str, folder: Option<&Path>, tensorboard: Option<&Path>) -> Result<()> {
    if let Some(folder) = folder {
        append(&mut Log::append(folder.join("metrics.jsonl"))?, &report.run, &report.measures)?;
        report.write(folder.join(format!("{name}.json")))?;
    }
    if let Some(folder) = tensorboard {
        let mut events = Events::create(folder, 0)?;
        for Measure { name, value, on } in &report.measures {
            events.scalar(&format!("{on}/{name}"), 0, *value)?;
        }
    }
    Ok(())
}
