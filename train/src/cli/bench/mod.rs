//! `vitrum bench`

mod corruptions;
mod lab;
mod ops;
mod product;
mod samples;
mod steps;
mod suite;

use std::path::PathBuf;
use std::time::Duration;

use engine::{Error, Result};

use super::common::Common;

/// Time every operation, and whole steps, beside what this machine reaches at most
///
/// Operations run forward and backward apart. The ceilings (multiply-adds in registers, copies between memories) are measured in the
/// same run, on the same threads; a percentage above 100 means that the data of a case fit into a cache, which is faster than
/// memory. Whole steps are training steps of ViT-Ti/16, of a DeiT-Ti with 65 tokens and of a ViT for MNIST, PGD-10 adversarial training
/// of the DeiT-Ti, and square products. On a GPU launches are timed by the device where it offers timestamps. --suite measures the
/// rows of the table of GPU goals instead, --lab versions of one kernel.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  vitrum bench --ops --filter attention --threads 2\n  vitrum bench --steps --filter deit_ti_65_train_b64 --profile\n  vitrum bench --suite --device cuda --bf16 --out run.jsonl\n  vitrum bench --corruptions --threads 2"
)]
pub struct Args {
    /// Only operations and steps whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Operations only
    #[arg(long)]
    ops: bool,
    /// Whole steps only
    #[arg(long, group = "served", conflicts_with = "ops")]
    steps: bool,
    /// Seconds to spend on each measurement; at least five repetitions are made [default: 0.3, of the suite 0.1]
    #[arg(long, value_name = "SECONDS")]
    time: Option<f64>,
    /// Print where the time of each training step, or each row of the suite, goes, op by op
    #[arg(long)]
    profile: bool,
    /// Answer names from standard input, one a line, each with one JSON line: of one repetition of a step, or of a measurement of
    /// the suite (bench/peers)
    #[arg(long, requires = "served", conflicts_with_all = ["filter", "profile"])]
    once: bool,
    /// Check and time the kernels in a folder of the laboratory, such as bench/lab/gemm, beside the shipped one (CUDA)
    #[arg(long, value_name = "FOLDER", group = "of_suite", conflicts_with_all = ["ops", "steps", "once", "profile", "filter"])]
    lab: Option<PathBuf>,
    /// Time the corruptions of images instead, on --threads threads: severity 3 of each on 1000 images of 32 pixels, and one image of
    /// 224 pixels on one thread
    #[arg(long, conflicts_with_all = ["ops", "steps", "once", "profile", "lab", "suite", "list"])]
    corruptions: bool,
    #[command(flatten)]
    suite: suite::SuiteArgs,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let screen = common.screen();
        let filter = self.filter.as_deref();
        if self.suite.list {
            return self.suite.print_list(&screen, filter, if common.bf16 { "bf16" } else { "f32" });
        }
        let seconds = self.time.unwrap_or(if self.suite.suite || self.lab.is_some() { 0.1 } else { 0.3 });
        let time = Duration::try_from_secs_f64(seconds)
            .map_err(|error| Error::new("--time", error.to_string()).with("given", seconds))?;
        if self.corruptions {
            return corruptions::run(common, filter, time);
        }
        let device = common.device()?;
        if let Some(folder) = &self.lab {
            return lab::run(&device, &screen, folder, self.suite.tiny, time);
        }
        match (self.suite.suite, self.once) {
            (true, true) => return self.suite.serve(&device, time),
            (true, false) => return self.suite.run(&device, &screen, filter, time, self.profile),
            (false, _) => {}
        }
        let mut runner = steps::Runner::new(device.clone());
        if self.once {
            return runner.serve();
        }
        screen.line(device.description())?;
        let wanted = |name: &&str| self.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
        let names: Vec<&str> = if self.ops { Vec::new() } else { steps::NAMES.into_iter().filter(wanted).collect() };
        let ops = if self.steps { None } else { self.ops(&device, &screen, time, names.is_empty())? };
        if self.steps && names.is_empty() {
            return Err(Error::new("--filter", "no step has such a name").with("steps", steps::NAMES.join(", ")));
        }
        let mut answers = Vec::new();
        for name in names {
            let answer = runner.answer(name, None, time)?;
            screen.line(answer.line())?;
            answers.push(answer);
            if self.profile
                && let Some(profile) = runner.profile(name)?
            {
                screen.line(profile)?;
            }
        }
        screen.json(&serde_json::json!({
            "device": device.name(),
            "adapter": device.description(),
            "threads": device.threads(),
            "ops": ops,
            "steps": answers,
        }))
    }

    /// The ops that the filter names. That there is none is an error where no step has such a name either.
    fn ops(
        &self,
        device: &engine::Device,
        screen: &super::screen::Screen,
        time: Duration,
        needed: bool,
    ) -> Result<Option<ops::Measured>> {
        match super::selftest::matching(self.filter.as_deref()) {
            Ok(ops) => ops::run(device, screen, &ops, time).map(Some),
            Err(error) if needed => Err(error),
            Err(_) => Ok(None),
        }
    }
}
