//! A run that stops between two steps and is resumed ends with the bits of the run that never stopped.
//!
//! (Killing the process with SIGKILL is the command line's test; a checkpoint does not know how the process ended.)

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::{Device, Result, Tensor};
use models::init::init;
use models::{Distribution, Sharing, Stochastic, StochasticLayer, VitConfig};
use support::vit::config;
use train::attack::AttackConfig;
use train::checkpoint::{Source, read_run, run_file};
use train::data::{Augment, Dataset, Options, Split, open};
use train::nullspace::approximate::{Level, NullspaceConfig};
use train::recipe::{Adversarial, Freeze, Loss, Method, Optimizer, Recipe};
use train::trainer::Trainer;

/// A folder that is removed when the test is over, however it ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("vitrum-resume-{}-{name}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn source() -> Source {
    Source { spec: "synthetic".into(), limit: None, seed: 0 }
}

fn model() -> VitConfig {
    VitConfig { image: [32, 32], patch: 8, classes: 10, drop_path: 0.2, ..config(12, 2, 2) }
}

/// Three batches, the last one short.
fn data() -> Result<Arc<Dataset>> {
    open("synthetic", Split::Train, &Options { limit: Some(20), ..Options::default() }).map(Arc::new)
}

fn recipe() -> Recipe {
    let augment = Augment { flip: true, mixup: 0.4, smoothing: 0.1, ..Augment::default() };
    Recipe { epochs: 2, batch: 8, seed: 3, lr: 2e-3, augment, ..Recipe::default() }
}

/// Everything that has state: moments, an average, an attack, noise, stochastic layers.
fn runs() -> Vec<(&'static str, VitConfig, Recipe)> {
    let attack = AttackConfig { steps: 2, ard: true, prm: true, ..AttackConfig::default() };
    let adversarial = Adversarial { attack, warmup: 1.5, ..Adversarial::default() };
    let mart = Method::Adversarial(adversarial.clone().with_loss(Loss::MART));
    let arms = Adversarial { eps_ramp: true, clean_warmup: true, ..adversarial.clone() };
    let frozen = Recipe { freeze: Freeze::Backbone, ema: Some(0.9), ..recipe() };
    let nullspace = NullspaceConfig { rounds: 2, share: 1.0, eps: 1e-4, ..NullspaceConfig::default() };
    let layer = Stochastic {
        layer: StochasticLayer::Scale,
        distribution: Distribution::Uniform { half_width: 0.5 },
        sharing: Sharing::PerImage,
    };
    let with = |method| Recipe { method, ..recipe() };
    vec![
        ("average", model(), Recipe { ema: Some(0.9), ..recipe() }),
        ("sgd", model(), Recipe { optimizer: Optimizer::SGD, ..recipe() }),
        ("adversarial", model(), with(Method::Adversarial(adversarial.clone()))),
        ("trades", model(), with(Method::Adversarial(adversarial.clone().with_loss(Loss::TRADES)))),
        ("mart", model(), Recipe { augment: Augment { flip: true, ..Augment::default() }, ..with(mart) }),
        ("control arms", model(), with(Method::Adversarial(arms))),
        ("nullspace", model(), with(Method::Nullspace(nullspace.clone()))),
        ("nullspace of images", model(), with(Method::Nullspace(NullspaceConfig { level: Level::Image, ..nullspace }))),
        ("frozen backbone", model(), frozen),
        ("stochastic", VitConfig { stochastic: Some(layer), ..model() }, recipe()),
    ]
}

fn start(model: &VitConfig, recipe: &Recipe, threads: usize) -> Result<Trainer> {
    let device = Device::cpu(Some(threads))?;
    Trainer::new(&device, model, &init(model, 1)?, data()?, recipe.clone())
}

/// Goes on for at most `steps` steps; gives their losses.
fn go(trainer: &mut Trainer, steps: usize) -> Result<Vec<f64>> {
    let mut losses = Vec::new();
    while !trainer.is_done() && losses.len() < steps {
        trainer.run_epoch(&mut |_, report| {
            losses.push(report.loss);
            Ok(losses.len() < steps)
        })?;
    }
    Ok(losses)
}

/// Losses, weights, and the bytes of the last state file.
type Finished = (Vec<f64>, Vec<(String, Tensor)>, Vec<u8>);

fn finish(trainer: &mut Trainer, folder: &Path) -> Result<Finished> {
    let losses = go(trainer, usize::MAX)?;
    trainer.save(folder, &source())?;
    let state = std::fs::read(folder.join(read_run(folder)?.state));
    let state = state.map_err(|error| engine::Error::io(folder, "read", &error))?;
    Ok((losses, trainer.weights()?, state))
}

#[test]
fn a_resumed_run_ends_with_the_same_bits() {
    for (name, model, recipe) in runs() {
        let whole = Folder::new(&format!("{name}-whole"));
        let (losses, weights, state) = finish(&mut start(&model, &recipe, 1).unwrap(), &whole.0).unwrap();
        assert_eq!(losses.len(), 6);
        // Within the first epoch, at its end, within the second; resumed with another number of threads.
        for stop in [1, 3, 4] {
            let folder = Folder::new(&format!("{name}-{stop}"));
            let mut stopped = start(&model, &recipe, 1).unwrap();
            let mut seen = go(&mut stopped, stop).unwrap();
            stopped.save(&folder.0, &source()).unwrap();
            drop(stopped);
            let mut resumed = Trainer::resume(&Device::cpu(Some(2)).unwrap(), &folder.0, data().unwrap()).unwrap();
            let (rest, again, saved) = finish(&mut resumed, &folder.0).unwrap();
            seen.extend(rest);
            assert_eq!(seen, losses, "{name} stopped after {stop}");
            assert!(again == weights, "{name} stopped after {stop}: other weights");
            assert!(saved == state, "{name} stopped after {stop}: another optimizer state");
        }
    }
}

#[test]
fn runs_do_not_depend_on_threads() {
    for (name, model, recipe) in runs() {
        let [one, two, three] = [1, 2, 3].map(|threads| {
            let mut trainer = start(&model, &recipe, threads).unwrap();
            (go(&mut trainer, usize::MAX).unwrap(), trainer.weights().unwrap())
        });
        assert!(one == two && one == three, "{name}");
    }
}

#[test]
fn another_seed_is_another_run() {
    let losses = |seed| go(&mut start(&model(), &Recipe { seed, ..recipe() }, 1).unwrap(), 3).unwrap();
    assert_ne!(losses(1), losses(2));
}

#[test]
fn a_checkpoint_replaces_the_one_before_it_and_damage_is_named() {
    let folder = Folder::new("damage");
    let mut trainer = start(&model(), &recipe(), 1).unwrap();
    for _ in 0..2 {
        go(&mut trainer, 1).unwrap();
        trainer.save(&folder.0, &source()).unwrap();
    }
    let names = || {
        let mut names: Vec<String> = std::fs::read_dir(&folder.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["run.toml", "state-0000-000002.safetensors"]);
    let resume = || Trainer::resume(&Device::cpu(Some(1)).unwrap(), &folder.0, data().unwrap());
    let failure = |resumed: Result<Trainer>| resumed.err().map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(resume().unwrap().position(), (0, 2));

    let state = folder.0.join("state-0000-000002.safetensors");
    let bytes = std::fs::read(&state).unwrap();
    std::fs::write(&state, &bytes[..bytes.len() - 3]).unwrap();
    let error = failure(resume());
    assert!(error.contains("state-0000-000002.safetensors") && error.contains("truncated"), "{error}");
    std::fs::write(&state, bytes).unwrap();

    let run = std::fs::read_to_string(run_file(&folder.0)).unwrap();
    std::fs::write(run_file(&folder.0), run.replace("version = 1", "version = 9")).unwrap();
    let error = failure(resume());
    assert!(error.contains("run.toml: was written by another version") && error.contains('9'), "{error}");
    std::fs::write(run_file(&folder.0), &run[..run.len() / 2]).unwrap();
    assert!(failure(resume()).contains("is not a run file"));
    std::fs::remove_file(run_file(&folder.0)).unwrap();
    assert!(failure(resume()).contains("is this the folder of a run?"));
}
