//! Federated averaging (McMahan et al., 1602.05629), its clients simulated one after the other on one device.
//!
//! A round: each chosen client starts from the global weights, trains on its own samples for some epochs with a fresh optimizer
//! state, and the global weights become `sum_k (n_k / n) w_k`, n_k being the client's number of samples and n their sum over the
//! round's clients. What is not trained (a frozen backbone) is neither sent nor averaged.
//!
//! The recipe's epochs are those of the whole run, `rounds * local_epochs`: its learning rate falls over the rounds. Client k draws
//! under a seed of its own, that of client 0 being the recipe's; so one client in one round is plain training, bit for bit.
//! The sum is taken in f64 in the clients' order, whatever order they were simulated in.

pub mod partition;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::fs::write_atomic;
use engine::rng::{Philox, Stream};
use engine::{Device, Error, Result, Tensor};
use models::VitConfig;
use models::tensor_file::{self, TensorFile};
use serde::{Deserialize, Serialize};

pub use partition::Partition;

use crate::checkpoint::{Source, remove_others};
use crate::data::Dataset;
use crate::recipe::Recipe;
use crate::trainer::Trainer;

/// Knobs of federated averaging.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FederatedConfig {
    /// Clients that the data are dealt to.
    pub clients: usize,
    /// Clients of a round, drawn anew for each; all where it is left out.
    pub per_round: Option<usize>,
    /// Rounds.
    pub rounds: u32,
    /// Epochs of a client in a round.
    pub local_epochs: u32,
    /// How the data are dealt.
    pub partition: Partition,
}

/// What a round came to.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Round {
    /// Its number, from 0.
    pub round: u32,
    /// The clients that took part.
    pub clients: Vec<usize>,
    /// Samples that they have.
    pub samples: usize,
    /// Mean training loss over their samples and epochs.
    pub loss: f64,
    /// Bytes that the clients sent to the server: the weights that are trained, once each.
    pub bytes: usize,
}

/// What `federated.toml` holds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Format version.
    pub version: u32,
    /// Name of the weights' file beside it.
    pub state: String,
    /// Round to be done next.
    pub round: u32,
    /// The data.
    pub data: Source,
    /// Clients and rounds.
    pub federated: FederatedConfig,
    /// The model.
    pub model: VitConfig,
    /// What a client does.
    pub recipe: Recipe,
}

const VERSION: u32 = 1;

/// Path of a federated run's file in its folder.
pub fn run_file(folder: &Path) -> PathBuf {
    folder.join("federated.toml")
}

/// Reads the run file of a folder.
///
/// # Errors
/// It is missing or damaged, or of another version.
pub fn read_run(folder: &Path) -> Result<Run> {
    let path = run_file(folder);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Error::io(&path, "read", &error).help("is this the folder of a federated run?"))?;
    let run: Run = toml::from_str(&text)
        .map_err(|error| Error::new(path.display().to_string(), format!("is not a run file: {error}")))?;
    if run.version != VERSION {
        return Err(Error::new(path.display().to_string(), "was written by another version")
            .with("version", run.version)
            .with("expected", VERSION));
    }
    Ok(run)
}

/// A model in federated training.
pub struct Federation {
    config: FederatedConfig,
    trainer: Trainer,
    clients: Vec<Arc<Dataset>>,
    /// Weights that are trained, as the server has them.
    global: Vec<(String, Tensor)>,
    seed: u64,
    round: u32,
}

impl Federation {
    /// Deals `data` to clients and plans their training of a model of `model`'s shape that starts from `tensors`.
    ///
    /// # Errors
    /// The knobs are out of range, or as [`Trainer::new`].
    pub fn new(
        device: &Device,
        model: &VitConfig,
        tensors: &[(String, Tensor)],
        data: &Dataset,
        recipe: &Recipe,
        config: &FederatedConfig,
    ) -> Result<Self> {
        config.validate()?;
        if recipe.ema.is_some() {
            return Err(Error::new("federated training", "clients send their weights, not a moving average of them")
                .help("leave out --ema"));
        }
        let epochs = config.rounds.checked_mul(config.local_epochs);
        let epochs = epochs.ok_or_else(|| Error::new("federated training", "too many epochs"))?;
        let recipe = Recipe { epochs, ..recipe.clone() };
        let hands = config.partition.deal(data, config.clients, recipe.seed)?;
        let clients = hands.iter().map(|hand| data.select(hand).map(Arc::new)).collect::<Result<Vec<_>>>()?;
        let first = clients.iter().find(|client| !client.is_empty());
        let first = first.ok_or_else(|| Error::new(data.name(), "there is no image to train on"))?;
        let seed = recipe.seed;
        let trainer = Trainer::new(device, model, tensors, Arc::clone(first), recipe)?;
        let global = trainer.trained()?;
        Ok(Self { config: config.clone(), trainer, clients, global, seed, round: 0 })
    }

    /// Clients and rounds.
    pub fn config(&self) -> &FederatedConfig {
        &self.config
    }

    /// The trainer that plays the clients.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// Samples of each client.
    pub fn clients(&self) -> &[Arc<Dataset>] {
        &self.clients
    }

    /// Round to be done next.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// Whether all rounds are done.
    pub fn is_done(&self) -> bool {
        self.round >= self.config.rounds
    }

    /// The global weights, with those that are frozen, under timm's names.
    ///
    /// # Errors
    /// The device failed.
    pub fn weights(&self) -> Result<Vec<(String, Tensor)>> {
        let mut weights = self.trainer.weights()?;
        for (name, tensor) in &mut weights {
            if let Some((_, global)) = self.global.iter().find(|(other, _)| other == name) {
                tensor.clone_from(global);
            }
        }
        Ok(weights)
    }

    /// The clients of the next round, ascending: drawn among those that have samples.
    pub fn chosen(&self) -> Vec<usize> {
        let draw = Philox::new(self.seed, self.round, Stream::named("federated.clients"));
        let able = self.clients.iter().enumerate().filter(|(_, data)| !data.is_empty());
        let mut keyed: Vec<(u32, usize)> = able.map(|(client, _)| (draw.bits(0, client), client)).collect();
        keyed.sort_unstable();
        keyed.truncate(self.config.per_round.unwrap_or(keyed.len()));
        let mut chosen: Vec<usize> = keyed.into_iter().map(|(_, client)| client).collect();
        chosen.sort_unstable();
        chosen
    }

    /// Runs the next round. `after` is told of each client that is done.
    ///
    /// # Errors
    /// As [`Trainer::run_epoch`].
    pub fn run_round(&mut self, after: &mut dyn FnMut(usize)) -> Result<Round> {
        let chosen = self.chosen();
        self.run_round_in(&chosen, after)
    }

    /// As [`Federation::run_round`], simulating the round's clients in the given order, which changes nothing but the time at
    /// which each is done.
    ///
    /// # Errors
    /// As [`Trainer::run_epoch`]; `order` is not an order of the round's clients.
    pub fn run_round_in(&mut self, order: &[usize], after: &mut dyn FnMut(usize)) -> Result<Round> {
        let chosen = self.chosen();
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if sorted != chosen {
            return Err(Error::new("federated training", "these are not the round's clients")
                .with("given", format!("{order:?}"))
                .with("chosen", format!("{chosen:?}")));
        }
        let mut updates = Vec::with_capacity(order.len());
        for &client in order {
            updates.push(self.local(client)?);
            after(client);
        }
        updates.sort_by_key(|update| update.client);
        self.global = average(&updates)?;
        let samples: usize = updates.iter().map(|update| update.samples).sum();
        let bytes: usize = self.global.iter().map(|(_, tensor)| tensor.spec().bytes()).sum();
        #[expect(clippy::cast_precision_loss, reason = "sample counts")]
        let loss = updates.iter().map(|update| update.loss * update.samples as f64).sum::<f64>() / samples as f64;
        let round = Round { round: self.round, samples, loss, bytes: bytes * updates.len(), clients: chosen };
        self.round += 1;
        Ok(round)
    }

    /// Trains one client from the global weights.
    fn local(&mut self, client: usize) -> Result<Update> {
        let data = self.clients.get(client).cloned();
        let data = data.ok_or_else(|| Error::new("federated training", "no such client").with("client", client))?;
        let samples = data.len();
        // An odd multiplier: every client has another seed, and the first that of the recipe.
        let seed = self.seed.wrapping_add((client as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.trainer.assign(&self.global, data, seed, self.round * self.config.local_epochs)?;
        let (mut sum, mut count) = (0.0, 0.0);
        for _ in 0..self.config.local_epochs {
            self.trainer.run_epoch(&mut |_, step| {
                #[expect(clippy::cast_precision_loss, reason = "samples of a batch")]
                let weight = step.samples as f64;
                sum += weight * step.loss;
                count += weight;
                Ok(true)
            })?;
        }
        Ok(Update { client, samples, loss: sum / count, weights: self.trainer.trained()? })
    }

    /// Writes the global weights and the position into `folder`, and removes the state before.
    ///
    /// # Errors
    /// The folder can't be written, or the disk is full; the previous state is then still there.
    pub fn save(&self, folder: &Path, data: &Source) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, "create", &error))?;
        let state = format!("state-{:06}.safetensors", self.round);
        let weights = self.weights()?;
        let named = weights.iter().map(|(name, tensor)| (name.as_str(), tensor));
        tensor_file::write(folder.join(&state), named, &Default::default())?;
        let run = Run {
            version: VERSION,
            state: state.clone(),
            round: self.round,
            data: data.clone(),
            federated: self.config.clone(),
            model: self.trainer.config().clone(),
            recipe: Recipe { seed: self.seed, ..self.trainer.recipe().clone() },
        };
        let text =
            toml::to_string(&run).map_err(|error| Error::new("checkpoint", format!("can't be written: {error}")))?;
        write_atomic(run_file(folder), |file| std::io::Write::write_all(file, text.as_bytes()))?;
        remove_others(folder, &state);
        Ok(())
    }

    /// Continues the run in `folder` from its last whole round.
    ///
    /// # Errors
    /// The state is missing or damaged, or the data are not those of the run.
    pub fn resume(device: &Device, folder: &Path, data: &Dataset) -> Result<Self> {
        let run = read_run(folder)?;
        let tensors = TensorFile::open(folder.join(&run.state))?.read_all()?;
        let mut federation = Self::new(device, &run.model, &tensors, data, &run.recipe, &run.federated)?;
        federation.round = run.round;
        Ok(federation)
    }
}

impl FederatedConfig {
    fn validate(&self) -> Result<()> {
        let refuse = |field: &str, help: &str| {
            Err(Error::new("federated training", format!("{field} is out of range")).help(help))
        };
        if self.clients == 0 {
            return refuse("clients", "--clients 1 or more");
        }
        if self.per_round.is_some_and(|count| count == 0 || count > self.clients) {
            return refuse("clients per round", "--clients-per-round takes 1 to the number of clients");
        }
        if self.rounds == 0 || self.local_epochs == 0 {
            return refuse("rounds or local epochs", "1 or more of each");
        }
        self.partition.validate()
    }
}

/// What a client sends.
struct Update {
    client: usize,
    samples: usize,
    loss: f64,
    weights: Vec<(String, Tensor)>,
}

/// `sum_k n_k w_k / sum_k n_k`, in f64 and in the given order, rounded once.
fn average(updates: &[Update]) -> Result<Vec<(String, Tensor)>> {
    let first = updates.first().ok_or_else(|| Error::new("federated training", "a round without clients"))?;
    #[expect(clippy::cast_precision_loss, reason = "sample counts")]
    let counts: Vec<f64> = updates.iter().map(|update| update.samples as f64).collect();
    let total: f64 = counts.iter().sum();
    let mut averaged = Vec::with_capacity(first.weights.len());
    for (at, (name, tensor)) in first.weights.iter().enumerate() {
        let mut sums = vec![0.0_f64; tensor.spec().elements()];
        for (update, count) in updates.iter().zip(&counts) {
            let (_, weights) =
                update.weights.get(at).ok_or_else(|| Error::new("federated training", "a weight is missing"))?;
            for (sum, &weight) in sums.iter_mut().zip(weights.values::<f32>()?) {
                *sum += count * f64::from(weight);
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "a weight, rounded once")]
        let values: Vec<f32> = sums.iter().map(|sum| (sum / total) as f32).collect();
        averaged.push((name.clone(), Tensor::new(tensor.dims(), &values)?));
    }
    Ok(averaged)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn update(client: usize, samples: usize, values: &[f32]) -> Update {
        let weights = vec![("w".to_owned(), Tensor::new(&[values.len()], values).unwrap())];
        Update { client, samples, loss: 0.0, weights }
    }

    fn averaged(updates: &[Update]) -> Vec<f32> {
        average(updates).unwrap()[0].1.values::<f32>().unwrap().to_vec()
    }

    proptest! {
        #[test]
        fn equal_weights_stay_as_they_are(
            values in prop::collection::vec(-1e6_f32..1e6, 1..20), counts in prop::collection::vec(1_usize..100_000, 1..9),
        ) {
            let updates: Vec<Update> = counts.iter().enumerate().map(|(at, &n)| update(at, n, &values)).collect();
            prop_assert_eq!(averaged(&updates), values);
        }

        #[test]
        fn whole_numbers_are_averaged_exactly(
            clients in prop::collection::vec((1_u16..500, prop::collection::vec(-1000_i16..1000, 3)), 1..9),
        ) {
            let floats = |values: &[i16]| values.iter().map(|&value| f32::from(value)).collect::<Vec<_>>();
            let updates: Vec<Update> =
                clients.iter().enumerate().map(|(at, (n, values))| update(at, usize::from(*n), &floats(values))).collect();
            let total: i64 = clients.iter().map(|(n, _)| i64::from(*n)).sum();
            #[expect(clippy::cast_possible_truncation, reason = "rounded once, as the average is")]
            let expected: Vec<f32> = (0..3)
                .map(|at| {
                    let sum: i64 = clients.iter().map(|(n, values)| i64::from(*n) * i64::from(values[at])).sum();
                    (sum as f64 / total as f64) as f32
                })
                .collect();
            prop_assert_eq!(averaged(&updates), expected);
        }
    }

    #[test]
    fn no_clients_have_no_average() {
        assert!(average(&[]).is_err());
    }
}
