//! `vitrum randomised`

use std::sync::Arc;

use engine::Result;
use train::eval::randomised::{Judgement, Randomised, RandomisedConfig, RandomisedReport};
use train::report::lab::{LabReport, Measure, Provenance};

use super::args::{DataArgs, ModelArgs, positive};
use super::attack_args::{AttackArgs, AttackName};
use super::common::Common;
use super::progress::Progress;
use super::record::{RecordArgs, provenance, to_value};
use super::screen;

/// Measure a randomised model: expected accuracy of single draws and of majorities, under attacks that know its randomness
///
/// Attacks by expectation over transformation with several numbers of draws, an attack on the mean network, and one on a single fixed
/// draw, which must succeed as it does on the mean network (else gradients are masked). Every adversarial image is judged by fresh
/// draws that no attack has seen.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Images computed at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive)]
    batch: usize,
    /// Attack by
    #[arg(long = "attack", value_enum, value_name = "NAME", default_value_t = AttackName::Pgd)]
    name: AttackName,
    /// Draws per gradient, one attack each; 1,5,10,20,50,100 shows where accuracy stops falling
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_value = "1,20,100")]
    sweep: Vec<u32>,
    /// Fresh draws that judge each image; 100 or more for figures to publish
    #[arg(long, value_name = "N", default_value_t = 100)]
    draws: u32,
    /// Numbers of draws whose majority is taken
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_value = "10,100")]
    votes: Vec<u32>,
    /// Of the intervals
    #[arg(long, value_name = "SHARE", default_value_t = 0.95)]
    confidence: f64,
    #[command(flatten)]
    attack: AttackArgs,
    #[command(flatten)]
    record: RecordArgs,
    #[command(flatten)]
    model: ModelArgs,
}

const NAME: &str = "randomised";

const EXAMPLE: &str = "\
Example:
  vitrum randomised --weights runs/a05/model.safetensors --data cifar-10-batches-bin --limit 200 --steps 20 \\
      --sweep 1,5,10,20,50,100 --json";

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let config = RandomisedConfig {
            eot: self.sweep.clone(),
            draws: self.draws,
            votes: self.votes.clone(),
            confidence: self.confidence,
            ..RandomisedConfig::new(self.attack.config(self.name)?)
        };
        config.validate()?;
        self.record.prepare(NAME)?;
        let loaded = self.model.load()?;
        let data = Arc::new(self.data.open(&loaded.config, common.seed)?);
        let (batch, device) = (self.batch.min(data.len()), common.device()?);
        let mut model = Randomised::new(&device, &loaded.config, &loaded.tensors, batch, common.seed)?;
        let mut progress = Progress::new("img");
        let report = model.evaluate(&data, &config, &mut |stage, done| progress.show(stage, done, data.len(), ""))?;
        progress.finish();
        let screen = common.screen();
        screen.table(&rows(&report))?;
        screen.line(summary(&report))?;
        for warning in &report.warnings {
            screen::note(format_args!("warning: {warning}"));
        }
        let run = provenance(common, &device, &self.model.name(), &loaded, &data)?;
        self.record.write(&lab(run, &report)?, NAME)?;
        screen.json(&report)
    }
}

fn lab(run: Provenance, report: &RandomisedReport) -> Result<LabReport> {
    let mut lab = LabReport::new(run);
    lab.warnings.clone_from(&report.warnings);
    lab.measures = judged("clean", &report.clean);
    for attack in &report.attacks {
        let on = format!("{} {}", attack.kind, attack.name);
        lab.measures.extend(judged(&on, &attack.judgement));
        lab.run.settings.insert(format!("attack {on}"), to_value(&attack.config)?);
    }
    let fixed = &report.fixed;
    let on_draw = format!("draw {}, fixed", fixed.draw);
    lab.measures.extend([
        Measure::new("worst_case", report.worst_case, "all attacks"),
        Measure::new("accuracy", fixed.clean, on_draw.clone()),
        Measure::new("accuracy", fixed.accuracy, format!("{on_draw}, attacked")),
        Measure::new("accuracy", fixed.twin, "mean network, attacked"),
    ]);
    Ok(lab)
}

/// Expected accuracy of a single draw, its interval over images, and majorities.
fn judged(on: &str, found: &Judgement) -> Vec<Measure> {
    let Judgement { single, over_samples, votes, .. } = found;
    let interval = [("accuracy_low", over_samples.low), ("accuracy_high", over_samples.high)];
    let votes = votes.iter().map(|vote| Measure::new(format!("accuracy_vote{}", vote.draws), vote.accuracy, on));
    let fixed = [("accuracy", *single)].into_iter().chain(interval).map(|(name, value)| Measure::new(name, value, on));
    fixed.chain(votes).collect()
}

fn percent(share: f64) -> String {
    format!("{:.2}", 100.0 * share)
}

fn rows(report: &RandomisedReport) -> Vec<Vec<String>> {
    let votes = report.clean.votes.iter().map(|vote| format!("vote {}", vote.draws));
    let heading = ["attack", "A1 %", "pooled", "over images", "draws"].map(str::to_owned).into_iter().chain(votes);
    let row = |name: &str, found: &Judgement| {
        let between = |low, high| format!("{}..{}", percent(low), percent(high));
        let fixed = [
            name.to_owned(),
            percent(found.single),
            between(found.pooled.low, found.pooled.high),
            between(found.over_samples.low, found.over_samples.high),
            between(found.worst_draw, found.best_draw),
        ];
        fixed.into_iter().chain(found.votes.iter().map(|vote| percent(vote.accuracy))).collect::<Vec<_>>()
    };
    let attacks =
        report.attacks.iter().map(|attack| row(&format!("{} {}", attack.kind, attack.name), &attack.judgement));
    [heading.collect(), row("none", &report.clean)].into_iter().chain(attacks).collect()
}

fn summary(report: &RandomisedReport) -> String {
    let fixed = &report.fixed;
    format!(
        "strongest: {} ({}%); worst case per image over all attacks: {}%\n\
         randomness fixed to draw {}: clean {}%, attacked {}%, mean network attacked {}%: {}",
        report.strongest,
        percent(report.strongest_single),
        percent(report.worst_case),
        fixed.draw,
        percent(fixed.clean),
        percent(fixed.accuracy),
        percent(fixed.twin),
        if fixed.passes { "the attack succeeds" } else { "MASKED GRADIENTS" }
    )
}
