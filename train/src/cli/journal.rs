//! What a training run writes down as it goes: `metrics.jsonl`, event files, and at its end the measures with all that is needed
//! to repeat them.

use std::path::Path;

use engine::{Device, Error, Result};
use serde::Serialize;
use train::checkpoint::Source;
use train::data::Dataset;
use train::nullspace::approximate::Synthesis;
use train::report::jsonl::Log;
use train::report::lab::{LabReport, Measure, Provenance};
use train::report::tensorboard::Events;
use train::report::{digest, measures};
use train::trainer::{StepReport, Trainer};

use super::common::Common;
use super::record::bare;

/// One line of the log.
#[derive(Serialize)]
struct Record {
    epoch: u32,
    step: usize,
    loss: f64,
    norm: f64,
    lr: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    synthesis: Option<Synthesis>,
}

pub struct Journal {
    log: Log,
    events: Option<Events>,
    loss: Option<f64>,
}

impl Journal {
    /// The log in `folder`, of a resumed run from the trainer's position on, and event files in `tensorboard` if that is asked for.
    pub fn open(folder: &Path, tensorboard: Option<&Path>, trainer: &Trainer, resumed: bool) -> Result<Self> {
        let path = folder.join("metrics.jsonl");
        let position = trainer.position();
        if resumed {
            rewind(&path, position)?;
        }
        let from = number(position, trainer.steps_per_epoch());
        let events = tensorboard.map(|folder| Events::create(folder, from)).transpose()?;
        Ok(Self { log: Log::append(&path)?, events, loss: None })
    }

    /// A step was done; `accuracy` was measured after it.
    pub fn step(&mut self, step: &StepReport, accuracy: Option<f64>) -> Result<()> {
        let StepReport { epoch, step: at, loss, norm, lr, synthesis, .. } = *step;
        self.log.write(&Record { epoch, step: at, loss, norm, lr, accuracy, synthesis })?;
        self.loss = Some(loss);
        let Some(events) = &mut self.events else { return Ok(()) };
        let number = number((epoch, at), step.steps);
        for (tag, value) in [("train/loss", loss), ("train/gradient_norm", norm), ("train/lr", lr)] {
            events.scalar(tag, number, value)?;
        }
        accuracy.map_or(Ok(()), |value| events.scalar("test/accuracy", number, value))
    }

    /// The run is over: its measures, and `train.json`.
    pub fn finish(mut self, folder: &Path, run: Provenance, accuracy: Option<f64>) -> Result<()> {
        let mut report = LabReport::new(run);
        report.measures.extend(self.loss.map(|loss| Measure::new("loss", loss, LAST_STEP)));
        report.measures.extend(accuracy.map(|accuracy| Measure::new("accuracy", accuracy, TEST_IMAGES)));
        measures::append(&mut self.log, &report.run, &report.measures)?;
        report.write(folder.join("train.json"))
    }
}

/// Everything that a training run's figures depend on. Its weights are those that came out.
pub fn provenance(
    common: &Common,
    device: &Device,
    trainer: &Trainer,
    source: &Source,
    [train, test]: [&Dataset; 2],
) -> Result<Provenance> {
    let json = |name: &str, value: serde_json::Result<serde_json::Value>| {
        value.map(|value| (name.to_owned(), value)).map_err(|error| Error::new(name, error.to_string()))
    };
    let mut settings = vec![
        json("recipe", serde_json::to_value(trainer.recipe()))?,
        json("model", serde_json::to_value(trainer.config()))?,
        json("source", serde_json::to_value(source))?,
    ];
    if !test.is_empty() {
        settings.push(json("test images", serde_json::to_value(digest::dataset(test)?))?);
    }
    Ok(Provenance {
        seed: trainer.recipe().seed,
        weights: Some(digest::weights("model.safetensors", &trainer.weights()?)),
        data: Some(digest::dataset(train)?),
        settings: settings.into_iter().collect(),
        ..bare(common, device)
    })
}

/// Number of a step since the start of the run.
fn number((epoch, step): (u32, usize), steps: usize) -> usize {
    usize::try_from(epoch).unwrap_or(usize::MAX).saturating_mul(steps).saturating_add(step)
}

/// What the measures at the end are measured on.
const LAST_STEP: &str = "last training step";
const TEST_IMAGES: &str = "test images";

/// Drops the records of steps that a resumed run does again, those at or after `position`, and of the end of a run. Measures of
/// other commands stay.
fn rewind(path: &Path, position: (u32, usize)) -> Result<()> {
    let number = |line: &serde_json::Value, key: &str| line.get(key).and_then(serde_json::Value::as_u64);
    keep_records(path, |record| match (number(record, "epoch"), number(record, "step")) {
        (Some(epoch), Some(step)) => {
            (epoch, step) < (u64::from(position.0), u64::try_from(position.1).unwrap_or(u64::MAX))
        }
        _ => record.get("on").is_some_and(|on| on != LAST_STEP && on != TEST_IMAGES),
    })
}

/// Drops the records of a log that `keeps` does not keep; there may be no log.
pub fn keep_records(path: &Path, keeps: impl Fn(&serde_json::Value) -> bool) -> Result<()> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(()) };
    let mut kept = String::new();
    for line in text.lines() {
        if serde_json::from_str(line).is_ok_and(|record| keeps(&record)) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    engine::fs::write_atomic(path, |file| std::io::Write::write_all(file, kept.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_log_loses_what_is_done_again_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let lines = [
            r#"{"epoch":0,"step":9}"#,
            r#"{"epoch":1,"step":2}"#,
            r#"{"epoch":1,"step":3}"#,
            r#"{"epoch":2,"step":0}"#,
            r#"{"measure":"loss","on":"last training step"}"#,
            r#"{"measure":"accuracy","on":"test images"}"#,
            r#"{"measure":"accuracy","on":"clean"}"#,
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        rewind(&path, (1, 3)).unwrap();
        let kept = std::fs::read_to_string(&path).unwrap();
        assert_eq!(kept.lines().collect::<Vec<_>>(), [lines[0], lines[1], lines[6]]);
        assert_eq!((number((0, 4), 10), number((2, 3), 10)), (4, 23));
    }
}
