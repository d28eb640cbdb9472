//! `vitrum eval`

use std::sync::Arc;

use engine::{Error, Result};
use train::attack::{AttackConfig, Norm};
use train::data::Dataset;
use train::eval::accuracy::{AttackReport, CorruptionReport, Evaluator};
use train::eval::calibration::Calibration;
use train::eval::mce::Summary;
use train::eval::outputs::Outputs;
use train::report::lab::{
    AttackCurves, CalibrationResult, CorruptionCell, CorruptionMap, Curve, LabReport, Measure, Provenance,
};

use super::args::{DataArgs, ModelArgs, positive};
use super::attack_args::{AttackArgs, AttackName, describe};
use super::class_args::ClassArgs;
use super::common::Common;
use super::corruption_eval::{self, CorruptionEvalArgs};
use super::progress::Progress;
use super::record::{RecordArgs, provenance};
use super::repeats::{OverSeeds, PerClass};
use super::screen;

/// Measure a model: accuracy and calibration, clean, attacked and corrupted
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Images computed at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive)]
    batch: usize,
    /// Draws of a stochastic model whose softmax is averaged; 0 for the mean network
    #[arg(long, value_name = "N", default_value_t = 1)]
    draws: u32,
    /// Repeat the clean measurement under so many seeds of the draws: mean and standard deviation
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    draw_seeds: usize,
    /// Accuracy of each class too, and the mean over classes
    #[arg(long)]
    per_class: bool,
    /// Fit a temperature on this share of each class's images, and measure calibration on the others before and after
    #[arg(long, value_name = "SHARE", value_parser = share)]
    temperature: Option<f64>,
    /// Attack the images too; may be given several times
    #[arg(long = "attack", value_enum, value_name = "NAME")]
    attacks: Vec<AttackName>,
    #[command(flatten)]
    attack: AttackArgs,
    #[command(flatten)]
    corruptions: CorruptionEvalArgs,
    #[command(flatten)]
    classes: ClassArgs,
    #[command(flatten)]
    record: RecordArgs,
    #[command(flatten)]
    model: ModelArgs,
}

const EXAMPLE: &str = "\
Example:
  vitrum eval --weights runs/robust/model.safetensors --data cifar-10-batches-bin --limit 1000 \\
      --attack fgsm --attack pgd --eps 8/255 --steps 20 --temperature 0.2 --out runs/robust/eval
  vitrum eval --weights vit_tiny.safetensors --data imagenet --corruptions standard --frost create_c
  vitrum eval --weights runs/robust/model.safetensors --data cifar-10-batches-bin --corruption-data CIFAR-10-C
  vitrum eval --weights vit.safetensors --data imagenet-a --class-order imagenet/val";

/// Name of the result file, without its ending.
const NAME: &str = "eval";

fn share(text: &str) -> Result<f64> {
    let value = text.parse().ok().filter(|&share: &f64| share > 0.0 && share < 1.0);
    value.ok_or_else(|| Error::new("share", "must lie inside (0, 1)").with("given", text))
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let attacks: Vec<AttackConfig> =
            self.attacks.iter().map(|&name| self.attack.config(name)).collect::<Result<_>>()?;
        let selected = self.corruptions.selected(common.seed)?;
        self.record.prepare(NAME)?;
        let loaded = self.model.load()?;
        let (data, mask) = self.classes.open(&self.data, &loaded.config, common.seed)?;
        let data = Arc::new(data);
        let device = common.device()?;
        let batch = self.batch.min(data.len());
        let (config, tensors) = (&loaded.config, &loaded.tensors);
        let mut evaluator = Evaluator::new(&device, config, tensors, batch, self.draws, common.seed)?;
        if let Some(mask) = mask {
            evaluator.restrict(mask);
        }
        let screen = common.screen();
        let outputs = evaluator.outputs(&data)?;
        let clean = Calibration::of(&outputs.scores()?);
        screen.line(summary(&clean))?;
        let repeated = self.repeated(&mut evaluator, &data, &clean, common.seed)?;
        if let Some(found) = &repeated {
            screen.line(format_args!("over {} seeds: {found}", self.draw_seeds))?;
        }
        let classes = self.per_class.then(|| PerClass::of(&outputs, &data));
        if let Some(classes) = &classes {
            screen.line(classes)?;
        }
        let calibration = self.calibration(&outputs, &clean, &data, common.seed)?;
        if let Some(line) = scaling(&calibration) {
            screen.line(line)?;
        }
        let mut reports: Vec<AttackReport> = Vec::new();
        for config in &attacks {
            reports.push(attacked(&mut evaluator, &data, config)?);
            screen.line(reports.last().map_or_else(String::new, describe))?;
        }
        let interpolation = self.data.how.interpolation();
        let corrupted = selected
            .map(|selected| selected.measure(&mut evaluator, &data, clean.accuracy, interpolation))
            .transpose()?;
        if let Some((reports, summary)) = &corrupted {
            screen.table(&corruption_eval::table(reports, summary))?;
            screen.line(corruption_eval::describe(summary))?;
        }
        for warning in evaluator.warnings() {
            screen::note(format_args!("warning: {warning}"));
        }
        let weights = self.model.weights.as_deref().map_or_else(String::new, |path| path.display().to_string());
        let run = provenance(common, &device, &weights, &loaded, &data)?;
        let report = report(run, &clean, calibration.clone(), &reports, corrupted.as_ref());
        let (corrupted, corruption_summary) = corrupted.unzip();
        self.record.write(&report, NAME)?;
        screen.json(&serde_json::json!({
            "clean": clean, "over_seeds": repeated, "per_class": classes, "calibration": calibration, "attacks": reports, "corruptions": corrupted.unwrap_or_default(),
            "corruption_summary": corruption_summary,
            "warnings": evaluator.warnings(), "data": report.run.data, "weights": report.run.weights,
        }))
    }

    /// Accuracy, NLL and ECE over the seeds of the draws, where several are asked for.
    fn repeated(
        &self,
        evaluator: &mut Evaluator,
        data: &Arc<Dataset>,
        first: &Calibration,
        seed: u64,
    ) -> Result<Option<OverSeeds>> {
        if self.draw_seeds == 1 {
            return Ok(None);
        }
        if evaluator.config().stochastic.is_none() || self.draws == 0 {
            return Err(Error::new("--draw-seeds", "this model draws nothing: every seed gives the same")
                .help("leave it out, or give a model with stochastic layers and --draws 1 or more"));
        }
        let mut all = vec![first.clone()];
        for number in 1..self.draw_seeds {
            evaluator.reseed(seed.wrapping_add(u64::try_from(number).unwrap_or(0)));
            all.push(evaluator.clean(data)?);
        }
        evaluator.reseed(seed);
        Ok(Some(OverSeeds::of(&all)))
    }

    fn calibration(
        &self,
        outputs: &Outputs,
        clean: &Calibration,
        data: &Dataset,
        seed: u64,
    ) -> Result<CalibrationResult> {
        match self.temperature {
            Some(share) => outputs.with_temperature(data, share, seed),
            None => {
                let evaluated = data.name().to_owned();
                Ok(CalibrationResult { evaluated, before: clean.clone(), temperature: None })
            }
        }
    }
}

fn attacked(evaluator: &mut Evaluator, data: &Arc<Dataset>, config: &AttackConfig) -> Result<AttackReport> {
    let mut progress = Progress::new("img");
    let mut done = 0;
    let report = evaluator.attacked(data, config, &mut |attacked| {
        done += attacked.samples.count;
        progress.show(&config.name(), done, data.len(), "");
        Ok(())
    })?;
    progress.finish();
    Ok(report)
}

/// All that was measured, for files.
fn report(
    run: Provenance,
    clean: &Calibration,
    calibration: CalibrationResult,
    attacks: &[AttackReport],
    corrupted: Option<&(Vec<CorruptionReport>, Summary)>,
) -> LabReport {
    let measure = |name: String, value: f64, on: &str| Measure { name, value, on: on.to_owned() };
    let named = |calibration: &Calibration, on: &str| {
        calibration.measures().into_iter().map(|(name, value)| measure(name.to_owned(), value, on)).collect::<Vec<_>>()
    };
    let mut report = LabReport::new(run);
    report.measures = named(clean, "clean");
    if let Some(scaling) = &calibration.temperature {
        report.measures.extend(named(&calibration.before, "kept part"));
        report.measures.push(measure("temperature".to_owned(), scaling.temperature, "held-out part"));
        report.measures.extend(named(&scaling.after, "kept part, scaled"));
    }
    report.calibration = Some(calibration);
    for attack in attacks {
        let on = format!("{} eps {}", attack.name, attack.config.eps);
        report.measures.push(measure("accuracy".to_owned(), attack.accuracy, &on));
        let configuration = serde_json::to_value(&attack.config).unwrap_or_default();
        report.run.settings.insert(format!("attack {on}"), configuration);
    }
    for found in corrupted.iter().flat_map(|(reports, _)| reports) {
        let on = format!("{} {}", corruption_eval::marked(found), found.severity);
        report.measures.push(measure("accuracy".to_owned(), found.accuracy, &on));
    }
    report.attacks = curves(clean.accuracy, attacks);
    report.corruptions = corrupted.map(|(reports, summary)| map(clean.accuracy, reports, summary));
    report
}

fn curves(clean: f64, attacks: &[AttackReport]) -> Option<AttackCurves> {
    let mut curves: Vec<Curve> = Vec::new();
    for AttackReport { name, config, accuracy, .. } in attacks {
        let point = (config.eps.value(), *accuracy);
        match curves.iter_mut().find(|curve| curve.attack == *name) {
            Some(curve) => curve.points.push(point),
            None => {
                let norm = if config.norm == Norm::Linf { "linf" } else { "l2" };
                curves.push(Curve { attack: name.clone(), norm: norm.to_owned(), points: vec![(0.0, clean), point] });
            }
        }
    }
    (!curves.is_empty()).then_some(AttackCurves { curves })
}

fn map(clean: f64, corrupted: &[CorruptionReport], summary: &Summary) -> CorruptionMap {
    let cell = |report: &CorruptionReport| CorruptionCell {
        corruption: corruption_eval::marked(report),
        severity: report.severity,
        accuracy: report.accuracy,
    };
    let comparison = summary.comparison.as_ref();
    CorruptionMap {
        clean: Some(clean),
        cells: corrupted.iter().map(cell).collect(),
        mce: Some(comparison.map_or(summary.mean_error, |found| found.mce)),
        relative_mce: comparison.and_then(|found| found.relative_mce),
        baseline: comparison.map(|found| found.baseline.clone()),
    }
}

fn summary(clean: &Calibration) -> String {
    format!(
        "clean: {} of {} correct ({:.2}%), NLL {:.4}, Brier {:.4}, entropy {:.4}\n\
         calibration: ECE-15 {:.4}, ECE-10 {:.4}, MCE-15 {:.4}, adaptive ECE-15 {:.4}, classwise ECE-15 {:.4}, ACE-15 {:.4}\n\
         selective prediction: AURC {:.4}, AUROC {:.4}",
        clean.correct,
        clean.total,
        100.0 * clean.accuracy,
        clean.nll,
        clean.brier,
        clean.entropy,
        clean.ece15,
        clean.ece10,
        clean.mce15,
        clean.adaptive_ece15,
        clean.classwise_ece15,
        clean.ace15,
        clean.aurc,
        clean.auroc.unwrap_or(f64::NAN),
    )
}

fn scaling(calibration: &CalibrationResult) -> Option<String> {
    let scaling = calibration.temperature.as_ref()?;
    let (before, after) = (&calibration.before, &scaling.after);
    let bound = if scaling.at_bound { ", the end of the searched range" } else { "" };
    Some(format!(
        "temperature {:.4}{bound}, fitted on {} held-out images; on the other {}: NLL {:.4} to {:.4}, ECE-15 {:.4} to {:.4}",
        scaling.temperature, scaling.fitted_images, before.total, before.nll, after.nll, before.ece15, after.ece15
    ))
}
