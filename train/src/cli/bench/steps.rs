//! Whole steps: training steps of two models, and one large matrix product. `bench/peers` measures the same in PyTorch and candle.

use std::io::BufRead;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Device, Error, MemoryReport, Profile, Result};
use models::{Normalisation, VitConfig, init, registry};
use serde::Serialize;
use train::attack::AttackConfig;
use train::data::{Augment, Batch, Loader};
use train::eps::Eps;
use train::recipe::{Adversarial, Method, Optimizer, Recipe, Schedule};
use train::trainer::Trainer;

use super::product::Product;
use super::samples::Samples;
use crate::cli::dummy;
use crate::cli::screen;

/// What there is.
pub const NAMES: [&str; 10] = [
    "vit_ti16_224_train_b8",
    "deit_ti_65_train_b8",
    "deit_ti_65_train_b64",
    "deit_ti_65_train_b128",
    "deit_ti_65_pgd10_b64",
    "deit_ti_65_pgd10_b128",
    "vit_mnist_train_b128",
    "sgemm_1024",
    "sgemm_2048",
    "sgemm_4096",
];

/// One measurement: the line that `bench/peers/compare.py` reads.
#[derive(Serialize)]
pub struct Answer {
    bench: String,
    peer: &'static str,
    threads: Option<usize>,
    median_ms: f64,
    p20_ms: f64,
    p80_ms: f64,
    reps: usize,
    /// Highest resident memory so far, MiB; `None` where the system doesn't tell.
    peak_rss_mb: Option<f64>,
    /// The same before any bench was built.
    base_rss_mb: Option<f64>,
    /// What the plan said before it ran, MiB: everything on the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    planned_peak_mb: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gflops: Option<f64>,
    /// Where the device replays recordings: time of the host for one replay of the training step, device work excluded.
    #[serde(skip_serializing_if = "Option::is_none")]
    host_ms: Option<f64>,
    adapter: String,
    versions: serde_json::Value,
}

impl Answer {
    /// For people.
    pub fn line(&self) -> String {
        let Self { bench, median_ms, p20_ms, p80_ms, reps, .. } = self;
        let mut line = format!("{bench:24} {median_ms:10.2} ms  ({p20_ms:.2} to {p80_ms:.2}, {reps} repetitions)");
        if let Some(gflops) = self.gflops {
            line += &format!(", {gflops:.1} GFLOP/s");
        }
        if let Some(host) = self.host_ms {
            line += &format!(", {host:.3} ms of the host per replay");
        }
        if let (Some(planned), Some(peak)) = (self.planned_peak_mb, self.peak_rss_mb) {
            line += &format!(", planned {planned:.0} MiB, resident so far {peak:.0} MiB");
        }
        line
    }
}

/// Builds a bench on its first use, and drops it when another one is asked for.
pub struct Runner {
    device: Device,
    base: Option<f64>,
    current: Option<(String, Step)>,
}

impl Runner {
    pub fn new(device: Device) -> Self {
        Self { device, base: peak_rss(), current: None }
    }

    /// Answers names from standard input, one a line, until its end.
    pub fn serve(&mut self) -> Result<()> {
        for line in std::io::stdin().lock().lines() {
            let line = line.map_err(|error| Error::io("standard input", "read", &error))?;
            let name = line.trim();
            if name.is_empty() {
                continue;
            }
            let answer = match self.answer(name, Some(1), Duration::ZERO) {
                Ok(answer) => serde_json::to_value(answer),
                Err(error) => Ok(serde_json::json!({ "bench": name, "peer": "vitrum", "error": error.to_string() })),
            };
            screen::put(&answer.map_err(|error| Error::new("bench", error.to_string()))?.to_string())?;
        }
        Ok(())
    }

    /// Measures a bench: `reps` times, or for `time`.
    pub fn answer(&mut self, name: &str, reps: Option<usize>, time: Duration) -> Result<Answer> {
        let base = self.base;
        let (threads, adapter) = (self.device.threads(), self.device.description());
        let step = self.step(name)?;
        let samples = match reps {
            Some(reps) => Samples::of((0..reps.max(1)).map(|_| step.time()).collect::<Result<_>>()?)?,
            None => Samples::collect(time, || step.time().map(Duration::from_secs_f64))?,
        };
        let seconds = samples.quantile(0.5);
        Ok(Answer {
            bench: name.to_owned(),
            peer: "vitrum",
            threads,
            median_ms: 1e3 * seconds,
            p20_ms: 1e3 * samples.quantile(0.2),
            p80_ms: 1e3 * samples.quantile(0.8),
            reps: samples.reps(),
            peak_rss_mb: peak_rss(),
            base_rss_mb: base,
            planned_peak_mb: step.memory().map(|memory| mebibytes(memory.total())),
            gflops: step.flops().map(|flops| flops / seconds / 1e9),
            host_ms: step.host_seconds()?.map(|seconds| 1e3 * seconds),
            adapter,
            versions: serde_json::json!({ "vitrum": env!("CARGO_PKG_VERSION") }),
        })
    }

    /// Time of each launch of one training step.
    pub fn profile(&mut self, name: &str) -> Result<Option<Profile>> {
        match self.step(name)? {
            Step::Train(training) => training.trainer.profile().map(Some),
            Step::Product(_) => Ok(None),
        }
    }

    fn step(&mut self, name: &str) -> Result<&mut Step> {
        if self.current.as_ref().is_none_or(|(current, _)| current != name) {
            self.current = None; // frees its memory first
            let mut step = Step::new(name, &self.device)?;
            step.time()?;
            self.current = Some((name.to_owned(), step));
        }
        let (_, step) = self.current.as_mut().ok_or_else(|| Error::new("bench", "nothing was built"))?;
        Ok(step)
    }
}

enum Step {
    Train(Box<Training>),
    Product(Product),
}

struct Training {
    trainer: Trainer,
    batch: Batch,
}

impl Step {
    fn new(name: &str, device: &Device) -> Result<Self> {
        let plain = Method::Plain;
        match name {
            "vit_ti16_224_train_b8" => training(device, &vit_ti16()?, 8, plain),
            "deit_ti_65_train_b64" => training(device, &deit_ti_65()?, 64, plain),
            "deit_ti_65_train_b128" => training(device, &deit_ti_65()?, 128, plain),
            "deit_ti_65_pgd10_b64" => training(device, &deit_ti_65()?, 64, pgd10()),
            "deit_ti_65_pgd10_b128" => training(device, &deit_ti_65()?, 128, pgd10()),
            "deit_ti_65_train_b8" => training(device, &deit_ti_65()?, 8, plain),
            "vit_mnist_train_b128" => training(device, &vit_mnist()?, 128, plain),
            "sgemm_1024" => Product::new(device, 1024).map(Self::Product),
            "sgemm_2048" => Product::new(device, 2048).map(Self::Product),
            "sgemm_4096" => Product::new(device, 4096).map(Self::Product),
            _ => Err(Error::new("bench", "unknown bench").with("given", name).with("known", NAMES.join(", "))),
        }
    }

    /// Seconds of one repetition.
    fn time(&mut self) -> Result<f64> {
        let start = Instant::now();
        match self {
            Self::Train(training) => {
                training.trainer.train_on(&training.batch)?;
            }
            Self::Product(product) => product.run()?,
        }
        Ok(start.elapsed().as_secs_f64())
    }

    fn memory(&self) -> Option<MemoryReport> {
        match self {
            Self::Train(training) => Some(training.trainer.plan().memory()),
            Self::Product(_) => None,
        }
    }

    /// Of the product, which is nothing else; training steps do more than products.
    fn flops(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a count of work")]
        match self {
            Self::Train(_) => None,
            Self::Product(product) => Some(2.0 * (product.side() as f64).powi(3)),
        }
    }

    /// Seconds that the host spends on a replay of the training step, the median of some; `None` where it computes itself.
    fn host_seconds(&mut self) -> Result<Option<f64>> {
        match self {
            Self::Train(training) => {
                let times = (0..5).map(|_| training.trainer.host_time()).collect::<Result<Option<Vec<_>>>>()?;
                let times = times.map(|times| Samples::of(times.iter().map(Duration::as_secs_f64).collect()));
                Ok(times.transpose()?.map(|samples| samples.quantile(0.5)))
            }
            Self::Product(_) => Ok(None),
        }
    }
}

fn vit_ti16() -> Result<VitConfig> {
    let base = registry::lookup("vit_tiny_patch16_224")?;
    Ok(VitConfig { normalisation: Normalisation::imagenet(), ..base })
}

/// 32 pixels, patch 4: 64 patches and the class token.
fn deit_ti_65() -> Result<VitConfig> {
    Ok(VitConfig { image: [32, 32], patch: 4, classes: 10, ..vit_ti16()? })
}

/// 28 pixels of one channel, patch 4: 49 patches and the class token; width 64, 4 blocks, 4 heads.
fn vit_mnist() -> Result<VitConfig> {
    let normalisation = Normalisation::parse("0.1307/0.3081", 1)?;
    let sizes = VitConfig { image: [28, 28], channels: 1, patch: 4, classes: 10, normalisation, ..vit_ti16()? };
    Ok(VitConfig { width: 64, depth: 4, heads: 4, head_width: 16, mlp_width: 256, ..sizes })
}

/// PGD-10 adversarial training; ARD and PRM are left out, since the peers have none.
pub fn pgd10() -> Method {
    let attack = AttackConfig { steps: 10, ..AttackConfig::pgd(Eps::fraction(8, 255), Eps::fraction(2, 255), 10) };
    Method::Adversarial(Adversarial { attack, warmup: 0.0, ..Adversarial::default() })
}

/// SGD with momentum 0.9 and weight decay 1e-4 at a constant rate, on one batch of noise.
fn training(device: &Device, config: &VitConfig, batch: usize, method: Method) -> Result<Step> {
    let recipe = Recipe {
        batch,
        lr: 1e-3,
        schedule: Schedule::Constant,
        optimizer: Optimizer::SGD,
        clip: None,
        augment: Augment::default(),
        method,
        ..Recipe::default()
    };
    let data = Arc::new(dummy::dataset(config, batch, 0)?);
    let mut batches = Loader::evaluation(Arc::clone(&data), batch)?.start(0, 0)?;
    let first = batches.next().ok_or_else(|| Error::new("bench", "the loader made no batch"))??;
    let trainer = Trainer::new(device, config, &init::init(config, 0)?, data, recipe)?;
    Ok(Step::Train(Box::new(Training { trainer, batch: first })))
}

/// Highest resident memory of this process, MiB: Linux tells.
fn peak_rss() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kibibytes| kibibytes / 1024.0)
}

#[expect(clippy::cast_precision_loss, reason = "for reading")]
fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
