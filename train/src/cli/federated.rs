//! `vitrum federated`

use std::path::PathBuf;
use std::sync::Arc;

use engine::{Device, Error, Result};
use serde::Serialize;
use train::checkpoint::Source;
use train::data::{self, Dataset};
use train::eval::accuracy::Evaluator;
use train::federated::{FederatedConfig, Federation, Partition, Round, read_run, run_file};
use train::report::jsonl::Log;

use super::common::Common;
use super::journal::keep_records;
use super::progress::Progress;
use super::recipe::RecipeArgs;
use super::screen;
use super::start_args::StartArgs;

/// Train by federated averaging, the clients simulated on this machine
///
/// The data are dealt to clients. In each round the clients start from the global weights, train on their own samples, and the
/// weights are averaged, each client counting as many times as it has samples. With --freeze backbone they train and send
/// a head alone. The recipe's epochs don't count: there are --rounds times --local-epochs.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// `synthetic`, or a folder: CIFAR-10/100 binary, MNIST idx, images
    #[arg(long, value_name = "SPEC", default_value = "synthetic")]
    data: String,
    /// Folder of the run
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Continue the run in --out after its last whole round
    #[arg(long)]
    resume: bool,
    /// Train on at most so many images
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Measure clean accuracy on at most so many test images after each round; 0 for never
    #[arg(long, value_name = "N", default_value_t = 1000)]
    eval_limit: usize,
    /// Clients that the data are dealt to
    #[arg(long, value_name = "N", default_value_t = 10)]
    clients: usize,
    /// Clients of a round, drawn anew for each [default: all]
    #[arg(long, value_name = "N")]
    clients_per_round: Option<usize>,
    /// Rounds
    #[arg(long, value_name = "N", default_value_t = 10)]
    rounds: u32,
    /// Epochs of a client in a round
    #[arg(long, value_name = "N", default_value_t = 1)]
    local_epochs: u32,
    /// How the data are dealt: iid, dirichlet:ALPHA (fewer classes per client the smaller it is), shards:PER_CLIENT
    #[arg(long, value_name = "SPEC", default_value = "iid")]
    partition: Partition,
    #[command(flatten)]
    model: StartArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
}

const EXAMPLE: &str = "\
Example:
  vitrum federated --data cifar-10-batches-bin --out runs/federated --weights runs/clean/model.safetensors \\
      --clients 10 --partition dirichlet:0.5 --rounds 20 --optimizer sgd --lr 0.01 --schedule constant
  vitrum federated --data cifar-10-batches-bin --out runs/federated --resume";

/// One line of the log.
#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    round: &'a Round,
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<f64>,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let device = common.device()?;
        let source = if self.resume {
            read_run(&self.out)?.data
        } else {
            Source { spec: self.data.clone(), limit: self.limit, seed: common.seed }
        };
        let options = data::Options { limit: source.limit, seed: source.seed, ..data::Options::default() };
        let (train_data, test_data) = data::open_pair(&source.spec, &options)?;
        let test_data = Arc::new(test_data.subset(0..self.eval_limit.min(test_data.len()))?);
        let mut federation = if self.resume {
            Federation::resume(&device, &self.out, &train_data)?
        } else {
            self.start(&device, &train_data, common.seed)?
        };
        std::fs::create_dir_all(&self.out).map_err(|error| Error::io(&self.out, "create", &error))?;
        engine::fs::check_writable(run_file(&self.out))?;
        let metrics = self.out.join("metrics.jsonl");
        if self.resume {
            let next = u64::from(federation.round());
            keep_records(&metrics, |record| {
                record.get("round").and_then(serde_json::Value::as_u64).is_some_and(|r| r < next)
            })?;
        }
        let mut log = Log::append(&metrics)?;
        let sizes: Vec<usize> = federation.clients().iter().map(|client| client.len()).collect();
        screen::note(format_args!("{} clients with {sizes:?} images", sizes.len()));
        let accuracy = self.rounds(&mut federation, &source, &test_data, &device, &mut log)?;
        let path = self.out.join("model.safetensors");
        models::save(&path, federation.trainer().config(), &federation.weights()?)?;
        let screen = common.screen();
        screen.line(format_args!("model: {}", path.display()))?;
        let rounds = federation.round();
        screen.json(&serde_json::json!({ "model": path, "rounds": rounds, "sizes": sizes, "accuracy": accuracy }))
    }

    fn start(&self, device: &Device, data: &Dataset, seed: u64) -> Result<Federation> {
        let file = run_file(&self.out);
        if file.exists() {
            return Err(Error::new(file.display().to_string(), "there is a run in this folder already")
                .help("continue it with --resume, or give another --out"));
        }
        let knobs = FederatedConfig {
            clients: self.clients,
            per_round: self.clients_per_round,
            rounds: self.rounds,
            local_epochs: self.local_epochs,
            partition: self.partition,
        };
        let recipe = self.recipe.recipe(seed)?;
        let (config, tensors) = self.model.start(data, seed)?;
        Federation::new(device, &config, &tensors, data, &recipe, &knobs)
    }

    /// All rounds that are left; gives the last accuracy.
    fn rounds(
        &self,
        federation: &mut Federation,
        source: &Source,
        test: &Arc<Dataset>,
        device: &Device,
        log: &mut Log,
    ) -> Result<Option<f64>> {
        let mut progress = Progress::new("clients");
        while !federation.is_done() {
            let (number, of) = (federation.round() + 1, federation.config().rounds);
            let (count, mut done) = (federation.chosen().len(), 0);
            let round = federation.run_round(&mut |_| {
                done += 1;
                progress.show(&format!("round {number}/{of}"), done, count, "");
            })?;
            progress.finish();
            let accuracy = self.accuracy(federation, test, device)?;
            log.write(&Record { round: &round, accuracy })?;
            let percent = accuracy.map_or(String::new(), |value| format!(", accuracy {:.1}%", 100.0 * value));
            screen::note(format_args!("round {number}/{of}: loss {:.4}{percent}", round.loss));
            federation.save(&self.out, source)?;
        }
        self.accuracy(federation, test, device)
    }

    fn accuracy(&self, federation: &Federation, test: &Arc<Dataset>, device: &Device) -> Result<Option<f64>> {
        if self.eval_limit == 0 {
            return Ok(None);
        }
        let trainer = federation.trainer();
        let batch = trainer.recipe().batch;
        let mut evaluator = Evaluator::new(device, trainer.config(), &federation.weights()?, batch, 1, 0)?;
        Ok(Some(evaluator.clean(test)?.accuracy))
    }
}
