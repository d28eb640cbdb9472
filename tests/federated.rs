//! Federated averaging: one client is plain training, the order of simulation does not matter, a run resumes after each round.

mod support;

use std::sync::Arc;

use engine::{Device, Result, Tensor};
use models::VitConfig;
use support::vit::{config, lively};
use train::attack::AttackConfig;
use train::checkpoint::Source;
use train::data::{Augment, Dataset, Options, Split, open};
use train::federated::{FederatedConfig, Federation, Partition, Round};
use train::nullspace::approximate::NullspaceConfig;
use train::recipe::{Adversarial, Freeze, Method, Optimizer, Recipe, Schedule};
use train::trainer::Trainer;

type Weights = Vec<(String, Tensor)>;

fn model() -> VitConfig {
    VitConfig { image: [32, 32], patch: 8, classes: 10, drop_path: 0.2, ..config(12, 2, 2) }
}

fn data() -> Result<Dataset> {
    open("synthetic", Split::Train, &Options { limit: Some(40), ..Options::default() })
}

fn recipe() -> Recipe {
    let augment = Augment { flip: true, mixup: 0.4, ..Augment::default() };
    Recipe { batch: 8, seed: 3, lr: 2e-3, augment, ..Recipe::default() }
}

fn knobs() -> FederatedConfig {
    FederatedConfig { clients: 3, per_round: None, rounds: 2, local_epochs: 1, partition: Partition::Iid }
}

fn start(recipe: &Recipe, knobs: &FederatedConfig, threads: usize) -> Result<Federation> {
    let device = Device::cpu(Some(threads))?;
    Federation::new(&device, &model(), &lively(&model(), 1)?, &data()?, recipe, knobs)
}

/// Runs all rounds that are left, each in the order that `order` makes of its clients.
fn finish(federation: &mut Federation, order: impl Fn(&mut Vec<usize>)) -> Result<(Vec<Round>, Weights)> {
    let mut rounds = Vec::new();
    while !federation.is_done() {
        let mut clients = federation.chosen();
        order(&mut clients);
        rounds.push(federation.run_round_in(&clients, &mut |_| {})?);
    }
    Ok((rounds, federation.weights()?))
}

fn plain(recipe: &Recipe) -> Result<Weights> {
    let (device, data) = (Device::cpu(Some(2))?, Arc::new(data()?));
    let mut trainer = Trainer::new(&device, &model(), &lively(&model(), 1)?, data, recipe.clone())?;
    while !trainer.is_done() {
        trainer.run_epoch(&mut |_, _| Ok(true))?;
    }
    trainer.weights()
}

#[test]
fn one_client_is_plain_training() {
    let one = FederatedConfig { clients: 1, rounds: 1, local_epochs: 2, ..knobs() };
    for partition in [Partition::Iid, Partition::Dirichlet { alpha: 0.1 }, Partition::Shards { per_client: 3 }] {
        let (rounds, weights) =
            finish(&mut start(&recipe(), &FederatedConfig { partition, ..one.clone() }, 1).unwrap(), |_| {}).unwrap();
        assert!(weights == plain(&Recipe { epochs: 2, ..recipe() }).unwrap(), "{partition}");
        assert_eq!((rounds[0].samples, rounds[0].clients.as_slice()), (40, [0].as_slice()));
    }
    // Without momentum nothing is lost between rounds, and the learning rate falls over all of them.
    let optimizer = Optimizer::Sgd { momentum: 0.0, nesterov: false, weight_decay: 1e-4 };
    let stateless = Recipe { optimizer, schedule: Schedule::Cosine { warmup: 0.0, min: 0.0 }, lr: 0.05, ..recipe() };
    let rounds = FederatedConfig { rounds: 3, local_epochs: 1, ..one };
    let (_, weights) = finish(&mut start(&stateless, &rounds, 1).unwrap(), |_| {}).unwrap();
    assert!(weights == plain(&Recipe { epochs: 3, ..stateless }).unwrap());
}

#[test]
fn neither_the_order_of_simulation_nor_threads_matter() {
    for per_round in [None, Some(2)] {
        let knobs =
            FederatedConfig { clients: 4, per_round, partition: Partition::Dirichlet { alpha: 1.0 }, ..knobs() };
        let (rounds, weights) = finish(&mut start(&recipe(), &knobs, 1).unwrap(), |_| {}).unwrap();
        let (again, reversed) = finish(&mut start(&recipe(), &knobs, 2).unwrap(), |clients| clients.reverse()).unwrap();
        assert!(rounds == again && weights == reversed, "{per_round:?}");
        assert!(rounds.iter().all(|round| round.clients.len() == per_round.unwrap_or(4)), "{rounds:?}");
    }
    let mut federation = start(&recipe(), &knobs(), 1).unwrap();
    let error = federation.run_round_in(&[0, 0, 1], &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("not the round's clients"), "{error}");
}

#[test]
fn a_run_resumes_after_each_round() {
    let attack = AttackConfig { steps: 1, ..AttackConfig::default() };
    let adversarial = Method::Adversarial(Adversarial { attack, ..Adversarial::default() });
    let nullspace = Method::Nullspace(NullspaceConfig { rounds: 1, ..NullspaceConfig::default() });
    let with = |method| Recipe { method, ..recipe() };
    let recipes = [recipe(), Recipe { freeze: Freeze::Backbone, ..recipe() }, with(adversarial), with(nullspace)];
    let knobs = FederatedConfig { clients: 2, rounds: 2, per_round: Some(1), ..knobs() };
    let source = Source { spec: "synthetic".into(), limit: Some(40), seed: 0 };
    for (at, recipe) in recipes.iter().enumerate() {
        let folder = std::env::temp_dir().join(format!("vitrum-federated-{}-{at}", std::process::id()));
        let (rounds, weights) = finish(&mut start(recipe, &knobs, 1).unwrap(), |_| {}).unwrap();
        let mut stopped = start(recipe, &knobs, 1).unwrap();
        let first = stopped.run_round(&mut |_| {}).unwrap();
        let saved = stopped.save(&folder, &source);
        drop(stopped);
        let resumed = Federation::resume(&Device::cpu(Some(2)).unwrap(), &folder, &data().unwrap());
        let _ = std::fs::remove_dir_all(&folder);
        saved.unwrap();
        let (rest, again) = finish(&mut resumed.unwrap(), |_| {}).unwrap();
        assert_eq!(first, rounds[0], "recipe {at}");
        assert!(rest == rounds[1..] && again == weights, "recipe {at}");
    }
}

#[test]
fn clients_of_a_frozen_backbone_send_their_heads_alone() {
    let frozen = Recipe { freeze: Freeze::Backbone, ..recipe() };
    let (rounds, weights) = finish(&mut start(&frozen, &knobs(), 1).unwrap(), |_| {}).unwrap();
    for ((name, before), (_, after)) in lively(&model(), 1).unwrap().iter().zip(&weights) {
        assert_eq!(before != after, name.starts_with("head."), "{name}");
    }
    assert_eq!(rounds[0].bytes, 3 * 4 * (10 * 12 + 10));
}

#[test]
fn averaging_learns() {
    let knobs = FederatedConfig { rounds: 6, ..knobs() };
    let recipe = Recipe { augment: Augment::default(), schedule: Schedule::Constant, lr: 5e-3, ..recipe() };
    let (rounds, _) = finish(&mut start(&recipe, &knobs, 2).unwrap(), |_| {}).unwrap();
    assert!(rounds[5].loss < 0.95 * rounds[0].loss, "{rounds:?}");
}

#[test]
fn what_makes_no_federation_is_refused() {
    let refused = |recipe: &Recipe, knobs: &FederatedConfig| start(recipe, knobs, 1).err().unwrap().to_string();
    let average = Recipe { ema: Some(0.9), ..recipe() };
    assert!(refused(&average, &knobs()).contains("--ema"));
    assert!(refused(&recipe(), &FederatedConfig { clients: 0, ..knobs() }).contains("--clients"));
    for per_round in [0, 4] {
        let knobs = FederatedConfig { per_round: Some(per_round), ..knobs() };
        assert!(refused(&recipe(), &knobs).contains("--clients-per-round"));
    }
    assert!(refused(&recipe(), &FederatedConfig { rounds: 0, ..knobs() }).contains("rounds"));
}
