//! `vitrum audit`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use engine::Result;
use train::audit::{Audit, AuditConfig, Audited, Findings};
use train::eps::Eps;
use train::report::lab::LabReport;

use super::args::{DataArgs, ModelArgs, positive};
use super::common::Common;
use super::record::{RecordArgs, provenance};
use super::screen;

/// Check an evaluation of robustness: sixteen checks, each pass or fail with the figure
///
/// Exit status 1 where one fails. The checks are those of Carlini et al. (arXiv 1902.06705): gradient masking, convergence, noise and
/// black-box attacks, transfer, randomness, rounding to 8 bits, and what must be recorded.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Radius of the Linf ball that the model is to be robust in
    #[arg(long, value_name = "EPS", default_value = "8/255")]
    eps: Eps,
    /// Undefended model of the same task, for transfer; a stochastic model's mean network otherwise
    #[arg(long, value_name = "FILE")]
    twin: Option<PathBuf>,
    /// Steps of PGD
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Steps of Auto-PGD
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    apgd_steps: u32,
    /// Proposals of the Square Attack
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    queries: u32,
    /// Random perturbations per image
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    noise_draws: u32,
    /// Steps of Patch-Fool
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    patch_steps: u32,
    /// Restarts that must change nothing
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    restarts: u32,
    /// Radius of the L2 ball of check 14 [default: 0.5; 3 above 64 pixels]
    #[arg(long, value_name = "EPS")]
    eps_l2: Option<String>,
    /// Draws of a stochastic model per gradient
    #[arg(long, value_name = "N", default_value_t = 20)]
    eot: u32,
    /// Images computed at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive)]
    batch: usize,
    #[command(flatten)]
    record: RecordArgs,
    #[command(flatten)]
    model: ModelArgs,
}

const EXAMPLE: &str = "\
Example:
  vitrum audit --weights runs/robust/model.safetensors --twin runs/clean/model.safetensors --data cifar-10-batches-bin --limit 200 \\
      --out runs/robust/audit";

const NAME: &str = "audit";
/// Images of more pixels a side take ImageNet's L2 radius.
const SMALL: usize = 64;

impl Args {
    pub fn run(&self, common: &Common) -> Result<ExitCode> {
        self.record.prepare(NAME)?;
        let loaded = self.model.load()?;
        let twin = self.twin.as_deref().map(|path| models::load(path, &models::LoadOptions::default())).transpose()?;
        let data = Arc::new(self.data.open(&loaded.config, common.seed)?);
        let device = common.device()?;
        let weights = self.model.weights.as_deref().map_or_else(String::new, |path| path.display().to_string());
        let run = provenance(common, &device, &weights, &loaded, &data)?;
        let audited = Audited {
            device: &device,
            config: &loaded.config,
            tensors: &loaded.tensors,
            twin: twin.as_ref().map(|twin| (&twin.config, twin.tensors.as_slice())),
            data: &data,
            is_recorded: run.weights.is_some() && run.data.is_some() && !run.settings.is_empty(),
        };
        let mut audit = Audit::new(audited, self.config(&loaded.config, common.seed)?)?;
        let Findings { report, curves, measures } =
            audit.run(&mut |number, name| screen::note(format_args!("{number:2}/16 {name}")))?;
        let screen = common.screen();
        for check in &report.checks {
            let verdict = if check.passed { "pass" } else { "FAIL" };
            screen.line(format_args!("{verdict} {:2} {}: {}", check.number, check.name, check.figure))?;
            if !check.passed {
                screen.line(format_args!("        {}", check.detail))?;
            }
        }
        let failed = report.checks.iter().filter(|check| !check.passed).count();
        screen.line(format_args!("{} passed, {failed} failed", report.checks.len() - failed))?;
        let passed = report.passed();
        let mut lab = LabReport::new(run);
        (lab.measures, lab.attacks, lab.audit) = (measures, Some(curves), Some(report));
        self.record.write(&lab, NAME)?;
        screen.json(&serde_json::json!({ "passed": passed, "audit": lab.audit, "measures": lab.measures }))?;
        Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }

    fn config(&self, model: &models::VitConfig, seed: u64) -> Result<AuditConfig> {
        let is_small = model.image.iter().all(|&side| side <= SMALL);
        let default = if is_small { "0.5" } else { "3" };
        let is_stochastic = model.stochastic.is_some();
        Ok(AuditConfig {
            steps: self.steps,
            apgd_steps: self.apgd_steps,
            queries: self.queries,
            noise_draws: self.noise_draws,
            patch_steps: self.patch_steps,
            restarts: self.restarts,
            eps_l2: Eps::length(self.eps_l2.as_deref().unwrap_or(default)).map_err(|error| error.within("--eps-l2"))?,
            draws: if is_stochastic { self.eot.max(1) } else { 0 },
            batch: self.batch,
            seed,
            ..AuditConfig::new(self.eps.clone(), is_stochastic)
        })
    }
}
