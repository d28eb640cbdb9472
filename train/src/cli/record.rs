//! What a command leaves behind for others to repeat and to compare: `NAME.json`, `metrics.jsonl`, event files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{ArgMatches, Command};
use engine::{Device, Error, Result};
use models::Loaded;
use serde::Serialize;
use serde_json::Value;
use vitrum_train::data::Dataset;
use vitrum_train::report::lab::{LabReport, Provenance};
use vitrum_train::report::{digest, measures};

use super::args::ModelArgs;
use super::common::Common;

/// Where results are kept.
#[derive(clap::Args)]
#[command(next_help_heading = "Results")]
pub struct RecordArgs {
    /// Folder for the results: a JSON file that `vitrum report` shows, and a line per measure in metrics.jsonl
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Folder for TensorBoard event files
    #[arg(long, value_name = "DIR")]
    tensorboard: Option<PathBuf>,
}

impl RecordArgs {
    /// Where files beside the results go.
    pub fn folder(&self) -> Option<&std::path::Path> {
        self.out.as_deref()
    }

    /// Finds out, before work starts, that results called `name` can be written.
    pub fn prepare(&self, name: &str) -> Result<()> {
        for folder in self.out.iter().chain(&self.tensorboard) {
            std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, "create", &error))?;
            engine::fs::check_writable(folder.join(format!("{name}.json")))?;
        }
        Ok(())
    }

    /// Writes what was asked for.
    pub fn write(&self, report: &LabReport, name: &str) -> Result<()> {
        measures::write(report, name, self.out.as_deref(), self.tensorboard.as_deref())
    }
}

/// Everything that figures of this run depend on. `weights` names where the model came from.
pub fn provenance(
    common: &Common,
    device: &Device,
    weights: &str,
    loaded: &Loaded,
    data: &Dataset,
) -> Result<Provenance> {
    Ok(Provenance {
        weights: Some(digest::weights(weights, &loaded.tensors)),
        data: Some(digest::dataset(data)?),
        ..bare(common, device)
    })
}

/// As [`provenance`], without data: images of a file.
pub fn of_model(common: &Common, device: &Device, model: &ModelArgs, loaded: &Loaded) -> Provenance {
    Provenance { weights: Some(digest::weights(&model.name(), &loaded.tensors)), ..bare(common, device) }
}

/// As [`provenance`], without a model and data.
pub fn bare(common: &Common, device: &Device) -> Provenance {
    Provenance {
        command: common.invocation.command.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("VITRUM_COMMIT").map(str::to_owned),
        device: device.description(),
        seed: common.seed,
        settings: common.invocation.settings.clone(),
        ..Provenance::default()
    }
}

/// As JSON.
pub fn to_value(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::new("result", error.to_string()))
}

/// The command line, and every flag's value.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    command: String,
    settings: BTreeMap<String, Value>,
}

/// Flags that say where results go and how they are shown: no figure depends on them.
const NOT_SETTINGS: [&str; 6] = ["json", "out", "tensorboard", "resume", "threads", "checkpoint_every"];

impl Invocation {
    /// The command line as a shell reads it.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Of the arguments of `program`, given or by default.
    pub fn new(program: &Command, matches: &ArgMatches) -> Self {
        let words: Vec<String> = std::env::args().skip(1).map(|word| quoted(&word)).collect();
        // `nullspace max` has its flags with `max`.
        let (mut names, mut command, mut found) = (Vec::new(), program, matches);
        while let Some((name, inner)) = found.subcommand() {
            let Some(own) = command.find_subcommand(name) else { break };
            names.push(name);
            (command, found) = (own, inner);
        }
        let mut settings = BTreeMap::new();
        if !names.is_empty() {
            settings.insert("command".to_owned(), Value::from(names.join(" ")));
            let flags = command.get_arguments().chain(program.get_arguments());
            for flag in flags.map(|flag| flag.get_id().as_str()) {
                if let Some(value) = value_of(found, flag).filter(|_| !NOT_SETTINGS.contains(&flag)) {
                    settings.insert(flag.to_owned(), value);
                }
            }
        }
        Self { command: format!("vitrum {}", words.join(" ")), settings }
    }
}

/// A flag's value as text, or its values.
fn value_of(matches: &ArgMatches, flag: &str) -> Option<Value> {
    let raw = matches.try_get_raw(flag).ok().flatten()?;
    let mut values: Vec<Value> = raw.map(|value| Value::from(value.to_string_lossy())).collect();
    Some(if values.len() == 1 { values.remove(0) } else { Value::from(values) })
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+%@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    #[derive(Args)]
    struct Flags {
        #[arg(long, default_value_t = 64)]
        batch: usize,
        #[arg(long)]
        attack: Vec<String>,
        #[command(flatten)]
        record: RecordArgs,
    }

    #[test]
    fn defaults_and_lists_are_settings_and_folders_are_not() {
        let command = Command::new("vitrum").subcommand(Flags::augment_args(Command::new("eval")));
        let words = ["vitrum", "eval", "--attack", "a", "--attack", "b", "--out", "runs/x"];
        let matches = command.clone().try_get_matches_from(words).unwrap();
        let flags = Flags::from_arg_matches(matches.subcommand().unwrap().1).unwrap();
        assert_eq!((flags.batch, flags.attack.len(), flags.record.out.is_some()), (64, 2, true));
        let settings = Invocation::new(&command, &matches).settings;
        let known = serde_json::json!({ "command": "eval", "batch": "64", "attack": ["a", "b"] });
        assert_eq!(serde_json::to_value(settings).unwrap(), known);
    }

    #[test]
    fn flags_of_nested_commands_are_settings() {
        let flags = Flags::augment_args(Command::new("max"));
        let command = Command::new("vitrum").subcommand(Command::new("nullspace").subcommand(flags));
        let matches = command.clone().try_get_matches_from(["vitrum", "nullspace", "max", "--attack", "a"]).unwrap();
        let settings = Invocation::new(&command, &matches).settings;
        let known = serde_json::json!({ "command": "nullspace max", "batch": "64", "attack": "a" });
        assert_eq!(serde_json::to_value(settings).unwrap(), known);
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_split_them() {
        assert_eq!(quoted("--eps=8/255"), "--eps=8/255");
        assert_eq!(
            (quoted("a b").as_str(), quoted("").as_str(), quoted("it's").as_str()),
            ("'a b'", "''", r"'it'\''s'")
        );
    }
}
