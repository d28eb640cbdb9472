//! `vitrum autoattack`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use engine::{Error, Result, Tensor};
use models::tensor_file;
use train::attack::cascade::{
    Apgd, ApgdLoss, Campaign, CascadeReport, Fab, Options, Robust, Square, Stage, Targets, Verified, Version, verify,
};
use train::attack::{AttackConfig, Norm, Objective};
use train::data::Dataset;
use train::eps::Eps;
use train::eval::accuracy::Evaluator;
use train::eval::sanity::Warning;
use train::report::lab::{self, AttackCurves, Cascade, Curve, LabReport, Measure};

use super::args::{DataArgs, ModelArgs, positive};
use super::attack_args::NormName;
use super::common::Common;
use super::progress::Progress;
use super::record::{RecordArgs, provenance};
use super::screen;

/// Run AutoAttack, or attacks of your choice one after the other, each on what the ones before left over
///
/// Deterministic: every draw is keyed by seed, sample, attempt and step, so batch size and order change nothing. With --state a killed run
/// goes on inside the attack. With --out, adversarial.safetensors holds `images` f32 [n, c, h, w] (clean where nothing fooled the model),
/// `labels` i32 `[n]`, `clean` and `robust` u8 `[n]`, `stage` i32 `[n]` (the stage that fooled it, -1 for none).
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Version of AutoAttack
    #[arg(long, value_enum, value_name = "NAME", default_value_t = VersionName::Standard)]
    version: VersionName,
    /// Instead of a version: these attacks in this order
    #[arg(long, value_enum, value_name = "NAMES", value_delimiter = ',')]
    attacks: Vec<StageName>,
    /// Ball that bounds the perturbation
    #[arg(long, value_enum, default_value_t = NormName::Linf)]
    norm: NormName,
    /// Radius of the ball, images lying in [0, 1]; several give a curve [default: 8/255; 0.5 for l2]
    #[arg(long, value_name = "EPS", value_delimiter = ',')]
    eps: Vec<String>,
    /// Look for the nearest adversarial image with FAB, and give accuracy against distance
    #[arg(long, conflicts_with_all = ["attacks", "eps"])]
    minimum_norm: bool,
    /// Steps of each attack (APGD, FAB: 100; PGD: 20) [default: the attack's own]
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// Proposals of the Square Attack
    #[arg(long, value_name = "N", default_value_t = 5000)]
    queries: u32,
    /// Attempts from other starts [default: the version's]
    #[arg(long, value_name = "N")]
    restarts: Option<u32>,
    /// The Square Attack's draws are the same for all images, as in the public implementation: for comparisons
    #[arg(long)]
    square_shared: bool,
    /// Draws of a stochastic model that gradients, losses and margins are averaged over; 0 attacks its mean network
    /// [default: 20 for a stochastic model]
    #[arg(long, value_name = "N")]
    eot: Option<u32>,
    /// Folder for what a killed run needs to go on
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
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
  vitrum autoattack --weights runs/robust/model.safetensors --data cifar-10-batches-bin --limit 500 --eps 8/255 --state aa --out aa
  vitrum autoattack --weights runs/robust/model.safetensors --data cifar-10-batches-bin --limit 100 \\
      --attacks apgd-ce,square --eps 2/255,4/255,8/255";

const NAME: &str = "autoattack";
/// Draws of a stochastic model where none are asked for.
const DRAWS: u32 = 20;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum VersionName {
    /// APGD-CE, APGD-T, FAB-T, Square
    Standard,
    /// More restarts, and the untargeted attacks
    Plus,
    /// For stochastic models: APGD-CE and APGD-DLR over 20 draws
    Rand,
}

#[derive(Clone, Copy, ValueEnum)]
enum StageName {
    /// One step
    Fgsm,
    /// Projected gradient descent on the cross-entropy
    Pgd,
    /// The same on the margin
    Cw,
    ApgdCe,
    ApgdDlr,
    /// Toward nine classes
    ApgdT,
    /// Nearest boundary of all classes
    Fab,
    /// Boundaries of nine classes
    FabT,
    Square,
}

/// All results.
struct Outcome {
    report: CascadeReport,
    samples: Vec<Robust>,
    verified: Option<Verified>,
    remarks: Vec<String>,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        self.record.prepare(NAME)?;
        let radii = self.radii()?;
        let loaded = self.model.load()?;
        let data = Arc::new(self.data.open(&loaded.config, common.seed)?);
        let device = common.device()?;
        let is_stochastic = loaded.config.stochastic.is_some();
        let draws = if is_stochastic { self.eot.unwrap_or(DRAWS) } else { 0 };
        let (stages, remarks) = self.stages(&radii, loaded.config.classes, draws)?;
        remarks.iter().for_each(|remark| screen::note(format_args!("note: {remark}")));
        let batch = self.batch.min(data.len());
        let (config, tensors) = (&loaded.config, &loaded.tensors);
        let mut evaluator = Evaluator::new(&device, config, tensors, batch, draws, common.seed)?;
        let clean = evaluator.outputs(&data)?;
        evaluator.look_at_gradients(&data, &AttackConfig { stochastic: draws > 0, ..AttackConfig::default() })?;
        let blind = (is_stochastic && draws <= 1).then(|| blind(draws));
        let warnings: Vec<Warning> = evaluator.warnings().iter().cloned().chain(blind).collect();
        warnings.iter().for_each(|warning| screen::note(format_args!("warning: {warning}")));
        let run = provenance(common, &device, &self.model.name(), &loaded, &data)?;
        let state = self.state.clone().map(|folder| (folder, fingerprint(&run, &stages)));
        let options = Options { batch, seed: common.seed, state, ..Options::default() };
        let targets = Targets { device: &device, config, tensors, data: &data, clean: &clean };
        let mut campaign = Campaign::new(targets, options)?;
        let mut progress = Progress::new("img");
        let names: Vec<String> = stages.iter().map(Stage::name).collect();
        let report = campaign.run(&stages, &mut |stage, done, of| {
            progress.show(names.get(stage).map_or("", String::as_str), done, of, "");
        })?;
        progress.finish();
        let verified = if draws == 0 { Some(verify(&mut evaluator, &data, &campaign.samples)?) } else { None };
        let outcome = Outcome { report, samples: campaign.samples, verified, remarks };
        self.show(common, &outcome)?;
        let mut lab = self.lab(run, &outcome);
        lab.warnings = warnings;
        self.record.write(&lab, NAME)?;
        if let Some(folder) = self.record.folder() {
            write_images(&folder.join("adversarial.safetensors"), &data, &outcome.samples)?;
        }
        common.screen().json(&serde_json::json!({
            "report": outcome.report, "verified": outcome.verified, "curve": lab.attacks,
            "remarks": outcome.remarks, "warnings": lab.warnings, "data": lab.run.data, "weights": lab.run.weights,
        }))
    }

    /// By rising radius.
    fn radii(&self) -> Result<Vec<Eps>> {
        let norm = Norm::from(self.norm);
        let (read, default): (fn(&str) -> Result<Eps>, _) = match norm {
            Norm::Linf => (str::parse, "8/255"),
            Norm::L2 => (Eps::length, "0.5"),
        };
        let texts = if self.eps.is_empty() { vec![default.to_owned()] } else { self.eps.clone() };
        let mut radii: Vec<Eps> =
            texts.iter().map(|text| read(text)).collect::<Result<_>>().map_err(|error| error.within("--eps"))?;
        radii.sort_by(|a, b| a.value().total_cmp(&b.value()));
        Ok(radii)
    }

    /// What is run: for each radius all attacks. What a smaller radius broke a larger one needs not attack.
    fn stages(&self, radii: &[Eps], classes: usize, draws: u32) -> Result<(Vec<Stage>, Vec<String>)> {
        let norm = Norm::from(self.norm);
        if self.minimum_norm {
            // Everything is within reach.
            let eps = Eps::length("1e9")?;
            let mut fab = Fab { nearest: true, eot: draws, ..Fab::new(norm, eps) };
            fab.targets = fab.targets.min(u32::try_from(classes.saturating_sub(1)).unwrap_or(1));
            return Ok((vec![self.adjusted(Stage::Fab(fab))], Vec::new()));
        }
        let version = match self.version {
            VersionName::Standard => Version::Standard,
            VersionName::Plus => Version::Plus,
            VersionName::Rand => Version::Rand,
        };
        let (mut stages, mut all_remarks) = (Vec::new(), Vec::new());
        for eps in radii {
            let (one, remarks) = if self.attacks.is_empty() {
                version.stages(norm, eps, classes)
            } else {
                (self.attacks.iter().map(|name| name.stage(norm, eps)).collect::<Result<_>>()?, Vec::new())
            };
            stages.extend(one.into_iter().map(|stage| self.adjusted(stage.with_draws(draws))));
            all_remarks = remarks;
        }
        if stages.is_empty() {
            return Err(Error::new("autoattack", "no attack fits so few classes").with("classes", classes));
        }
        stages.iter().try_for_each(|stage| stage.validate(classes))?;
        Ok((stages, all_remarks))
    }

    fn adjusted(&self, mut stage: Stage) -> Stage {
        let set = |slot: &mut u32, value: Option<u32>| *slot = value.unwrap_or(*slot);
        match &mut stage {
            Stage::Pgd(config) => {
                if config.steps > 1 {
                    set(&mut config.steps, self.steps);
                }
                set(&mut config.restarts, self.restarts);
            }
            Stage::Apgd(apgd) => {
                set(&mut apgd.steps, self.steps);
                set(&mut apgd.restarts, self.restarts);
            }
            Stage::Fab(fab) => {
                set(&mut fab.steps, self.steps);
                set(&mut fab.restarts, self.restarts);
            }
            Stage::Square(square) => {
                (square.queries, square.shared) = (self.queries, self.square_shared);
                set(&mut square.restarts, self.restarts);
            }
        }
        stage
    }

    fn show(&self, common: &Common, outcome: &Outcome) -> Result<()> {
        let (report, screen) = (&outcome.report, common.screen());
        let percent = |count: usize| 100.0 * share(count, report.total);
        screen.line(format_args!(
            "clean: {} of {} correct ({:.2}%)",
            report.clean,
            report.total,
            percent(report.clean)
        ))?;
        for stage in &report.stages {
            if self.minimum_norm {
                continue;
            }
            screen.line(format_args!(
                "{:8} eps {:8} attacked {:5}, fooled {:5}, left {:5} ({:.2}%)",
                stage.name,
                stage.config.eps(),
                stage.attacked,
                stage.fooled,
                stage.survivors,
                percent(stage.survivors)
            ))?;
        }
        if !self.minimum_norm {
            screen.line(format_args!("robust accuracy: {:.2}%", 100.0 * report.robust_accuracy))?;
        }
        for (eps, accuracy) in self.curve(outcome).points.iter().filter(|_| self.minimum_norm) {
            screen.line(format_args!("distance {eps:.5}: {:.2}% are farther", 100.0 * accuracy))?;
        }
        screen.line(format_args!(
            "largest change of a pixel {:.5}, mean L2 {:.4} of those fooled",
            report.max_linf, report.mean_l2
        ))?;
        if let Some(verified) = outcome.verified {
            screen.line(format_args!(
                "of {} adversarial images {} are misclassified when looked at again, {} after rounding to 8 bits",
                verified.found, verified.confirmed, verified.after_rounding
            ))?;
        }
        Ok(())
    }

    /// Accuracy against eps.
    fn curve(&self, outcome: &Outcome) -> Curve {
        let report = &outcome.report;
        let norm = Norm::from(self.norm);
        let total = report.total;
        let mut points = vec![(0.0, share(report.clean, total))];
        if self.minimum_norm {
            let size = |delta: &Vec<f32>| match norm {
                Norm::Linf => delta.iter().fold(0.0_f64, |most, d| f64::from(d.abs()).max(most)),
                Norm::L2 => delta.iter().map(|&d| f64::from(d) * f64::from(d)).sum::<f64>().sqrt(),
            };
            let mut sizes: Vec<f64> = outcome.samples.iter().filter_map(|one| one.delta.as_ref().map(size)).collect();
            sizes.sort_by(f64::total_cmp);
            // Nine places along the curve are enough to draw and to read it.
            for part in 1..=9 {
                let at = (sizes.len() * part / 9).saturating_sub(1);
                if let Some(&eps) = sizes.get(at) {
                    points.push((eps, share(report.clean.saturating_sub(at + 1), total)));
                }
            }
        } else {
            for stage in &report.stages {
                let eps = stage.config.eps().value();
                points.retain(|point| point.0 < eps);
                points.push((eps, share(stage.survivors, total)));
            }
        }
        let norm = match norm {
            Norm::Linf => "linf",
            Norm::L2 => "l2",
        };
        Curve { attack: self.title(), norm: norm.to_owned(), points }
    }

    /// What was run, for people.
    fn title(&self) -> String {
        let name =
            |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| value().map(|value| value.get_name().to_owned());
        if self.minimum_norm {
            return "fab-t, nearest".to_owned();
        }
        if self.attacks.is_empty() {
            return name(&|| self.version.to_possible_value()).unwrap_or_default();
        }
        let names = self.attacks.iter().filter_map(|attack| name(&|| attack.to_possible_value()));
        names.collect::<Vec<_>>().join("+")
    }

    fn lab(&self, run: lab::Provenance, outcome: &Outcome) -> LabReport {
        let report = &outcome.report;
        let mut found = LabReport::new(run);
        found.measures.push(Measure::new("accuracy", share(report.clean, report.total), "clean"));
        if !self.minimum_norm {
            found.measures.push(Measure::new(format!("accuracy.{}", self.title()), report.robust_accuracy, "clean"));
            let largest = report.stages.last().map(|stage| stage.config.eps().clone());
            let at_largest = report.stages.iter().filter(|stage| Some(stage.config.eps()) == largest.as_ref());
            let norm = if Norm::from(self.norm) == Norm::Linf { "Linf" } else { "L2" };
            found.cascade = Some(Cascade {
                name: self.title(),
                ball: format!("{norm} {}", largest.as_ref().map_or_else(String::new, ToString::to_string)),
                total: report.total,
                clean: report.clean,
                stages: at_largest
                    .map(|stage| lab::Stage { attack: stage.name.clone(), survivors: stage.survivors })
                    .collect(),
            });
        }
        found.attacks = Some(AttackCurves { curves: vec![self.curve(outcome)] });
        found
    }
}

impl StageName {
    fn stage(self, norm: Norm, eps: &Eps) -> Result<Stage> {
        let eps = eps.clone();
        let alpha = Eps::length(&format!("{}", eps.value() / 4.0))?;
        let pgd = |objective| {
            Stage::Pgd(AttackConfig { norm, objective, ..AttackConfig::pgd(eps.clone(), alpha.clone(), 20) })
        };
        Ok(match self {
            Self::Fgsm => Stage::Pgd(AttackConfig { norm, ..AttackConfig::fgsm(eps) }),
            Self::Pgd => pgd(Objective::Ce),
            Self::Cw => pgd(Objective::Margin),
            Self::ApgdCe => Stage::Apgd(Apgd::new(norm, eps, ApgdLoss::Ce)),
            Self::ApgdDlr => Stage::Apgd(Apgd::new(norm, eps, ApgdLoss::Dlr)),
            Self::ApgdT => Stage::Apgd(Apgd::new(norm, eps, ApgdLoss::Targeted)),
            Self::Fab => Stage::Fab(Fab { targets: 0, ..Fab::new(norm, eps) }),
            Self::FabT => Stage::Fab(Fab::new(norm, eps)),
            Self::Square => Stage::Square(Square::new(norm, eps)),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "sample counts")]
fn share(count: usize, total: usize) -> f64 {
    count as f64 / total.max(1) as f64
}

/// A warning where the attacks on a randomised model say nothing about its robustness.
fn blind(draws: u32) -> Warning {
    let seen = if draws == 0 { "only its mean network was attacked" } else { "each gradient saw one draw" };
    Warning {
        problem: format!("the model draws at random and {seen}, so this number is NOT robustness"),
        remedy: "average over draws (--eot 20), and judge by many (vitrum randomised)".to_owned(),
    }
}

/// What makes two runs the same.
fn fingerprint(run: &lab::Provenance, stages: &[Stage]) -> serde_json::Value {
    serde_json::json!({
        "stages": stages, "seed": run.seed, "weights": run.weights, "data": run.data, "version": run.version,
    })
}

fn write_images(file: &Path, data: &Dataset, samples: &[Robust]) -> Result<()> {
    let (n, [c, h, w]) = (samples.len(), data.dims());
    let mut images = vec![0.0; n * data.volume()];
    let (mut labels, mut clean, mut robust, mut stages) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for ((index, sample), image) in samples.iter().enumerate().zip(images.chunks_exact_mut(data.volume())) {
        data.image_f32(index, image)?;
        let delta = sample.delta.iter().flatten();
        image.iter_mut().zip(delta).for_each(|(pixel, delta)| *pixel += delta);
        labels.push(data.label(index)?);
        clean.push(u8::from(sample.clean));
        robust.push(u8::from(sample.clean && sample.stage.is_none()));
        stages.push(sample.stage.and_then(|stage| i32::try_from(stage).ok()).unwrap_or(-1));
    }
    let tensors = [
        ("images", Tensor::new(&[n, c, h, w], &images)?),
        ("labels", Tensor::new(&[n], &labels)?),
        ("clean", Tensor::new(&[n], &clean)?),
        ("robust", Tensor::new(&[n], &robust)?),
        ("stage", Tensor::new(&[n], &stages)?),
    ];
    tensor_file::write(file, tensors.iter().map(|(name, tensor)| (*name, tensor)), &BTreeMap::new())
}
