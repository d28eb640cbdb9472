//! Checkpoints: a folder with one safetensors file of weights and optimizer state and a `run.toml` that names it.
//!
//! The state file is written first, under a name of its own; renaming `run.toml` over the old one makes the checkpoint.
//! A run that dies in between leaves the previous checkpoint whole; a full disk does too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::fs::write_atomic;
use engine::{Device, Error, Group, Result, Tensor};
use models::VitConfig;
use models::tensor_file::{self, TensorFile};
use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::recipe::Recipe;
use crate::trainer::Trainer;

/// What a run is trained on, as [`crate::data::open_pair`] takes it: a resumed run opens the same.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// `synthetic`, or a folder.
    pub spec: String,
    /// At most so many images.
    pub limit: Option<usize>,
    /// Seed of what is drawn.
    pub seed: u64,
}

/// What `run.toml` holds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Format version.
    pub version: u32,
    /// Name of the state file beside it.
    pub state: String,
    /// Epoch to be done next.
    pub epoch: u32,
    /// Step of that epoch to be done next.
    pub step: usize,
    /// The data.
    pub data: Source,
    /// The model.
    pub model: VitConfig,
    /// The recipe.
    pub recipe: Recipe,
}

const VERSION: u32 = 1;

/// Path of the run file of a checkpoint folder.
pub fn run_file(folder: &Path) -> PathBuf {
    folder.join("run.toml")
}

/// Reads the run file of a checkpoint folder.
///
/// # Errors
/// The file is missing, is no run file, or of another version.
pub fn read_run(folder: &Path) -> Result<Run> {
    let path = run_file(folder);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Error::io(&path, "read", &error).help("is this the folder of a run? give the one that --out named")
    })?;
    let run: Run = toml::from_str(&text)
        .map_err(|error| Error::new(path.display().to_string(), format!("is not a run file: {error}")))?;
    if run.version != VERSION {
        return Err(Error::new(path.display().to_string(), "was written by another version")
            .with("version", run.version)
            .with("expected", VERSION));
    }
    Ok(run)
}

impl Trainer {
    /// Groups whose values a run depends on, with the prefix of their names in the state file.
    fn saved_groups(&self) -> Vec<(String, Group)> {
        let mut groups = vec![("params".to_owned(), self.model.params())];
        groups.extend(self.model.frozen().map(|group| ("frozen".to_owned(), group)));
        groups.extend(self.state.moments.iter().enumerate().map(|(at, &group)| (format!("moment{}", at + 1), group)));
        groups.extend(self.state.average.map(|(group, _)| ("average".to_owned(), group)));
        groups.push(("steps".to_owned(), self.state.steps.group()));
        if let Some(synthesiser) = &self.synthesiser {
            groups.push(("noise".to_owned(), synthesiser.group()));
        }
        groups
    }

    /// Writes a checkpoint into `folder` and removes the one before it.
    ///
    /// # Errors
    /// The folder can't be written, or the disk is full; the previous checkpoint is then still there.
    pub fn save(&self, folder: &Path, data: &Source) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, "create", &error))?;
        let (epoch, step) = self.position();
        let state = format!("state-{epoch:04}-{step:06}.safetensors");
        let mut tensors: Vec<(String, Tensor)> = Vec::new();
        for (prefix, group) in self.saved_groups() {
            for (name, tensor) in self.model.tensors_of(&self.store, group)? {
                tensors.push((format!("{prefix}/{name}"), tensor));
            }
        }
        let named = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        tensor_file::write(folder.join(&state), named, &BTreeMap::new())?;
        let run = Run {
            version: VERSION,
            state: state.clone(),
            epoch,
            step,
            data: data.clone(),
            model: self.config().clone(),
            recipe: self.recipe.clone(),
        };
        let text =
            toml::to_string(&run).map_err(|error| Error::new("checkpoint", format!("can't be written: {error}")))?;
        write_atomic(run_file(folder), |file| std::io::Write::write_all(file, text.as_bytes()))?;
        remove_others(folder, &state);
        Ok(())
    }

    /// Continues the run in `folder` as if it had never stopped.
    ///
    /// # Errors
    /// The checkpoint is missing or damaged, or the data are not those of the run.
    pub fn resume(device: &Device, folder: &Path, data: Arc<Dataset>) -> Result<Self> {
        let run = read_run(folder)?;
        let path = folder.join(&run.state);
        let tensors = TensorFile::open(&path)?.read_all()?;
        let params: Vec<(String, Tensor)> = tensors
            .iter()
            .filter_map(|(name, tensor)| {
                let name = name.strip_prefix("params/").or_else(|| name.strip_prefix("frozen/"))?;
                Some((name.to_owned(), tensor.clone()))
            })
            .collect();
        let mut trainer = Self::new(device, &run.model, &params, data, run.recipe)?;
        for (prefix, group) in trainer.saved_groups() {
            let names: Vec<(String, engine::Var)> =
                trainer.store.vars(group)?.into_iter().map(|(name, var)| (format!("{prefix}/{name}"), var)).collect();
            for (name, var) in names {
                let tensor = tensors.iter().find_map(|(other, tensor)| (*other == name).then_some(tensor));
                let tensor = tensor.ok_or_else(|| {
                    Error::new(path.display().to_string(), "the state lacks a tensor").with("tensor", &name)
                })?;
                trainer.store.write(var, tensor)?;
            }
        }
        (trainer.epoch, trainer.step) = (run.epoch, run.step);
        Ok(trainer)
    }
}

/// Removes state files that no run file names any more. Best effort: a leftover costs disk and nothing else.
pub(crate) fn remove_others(folder: &Path, keep: &str) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("state-") && name.ends_with(".safetensors") && name != keep {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
