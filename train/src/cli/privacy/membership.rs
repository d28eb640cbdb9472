//! `vitrum privacy membership`

use std::path::PathBuf;

use engine::{Error, Result};
use models::Loaded;
use models::adapt::check_classes;
use serde::Serialize;
use train::data::Split;
use train::privacy::membership::{Curve, Signal, likelihood_ratio, logit_confidence, scores};
use train::report::digest;
use train::report::lab::{LabReport, Measure};

use super::super::args::{DataDetails, ModelArgs, positive};
use super::super::common::Common;
use super::super::images::Images;
use super::super::predict::Predictor;
use super::super::record::{RecordArgs, provenance, to_value};
use super::{Originals, originals};

/// Tell images that a model was trained on from others
///
/// Members are the first --limit images of the training split, which the model must have been trained on; others are those of the test
/// split. Thresholds on loss, entropy and confidence; with shadow models, which saw none of these images, the offline likelihood ratio
/// attack.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  vitrum privacy membership --weights vit.safetensors --data cifar-10-batches-bin --limit 1000\n  vitrum privacy membership --weights vit.safetensors --shadow a.safetensors --shadow b.safetensors --data cifar-10-batches-bin"
)]
pub struct Args {
    /// `synthetic` or a folder, as for `vitrum eval`
    #[arg(long, value_name = "SPEC")]
    data: String,
    /// Most members, and most others
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = positive)]
    limit: usize,
    /// Weights of a model that was trained on none of the images; at least two of them
    #[arg(long, value_name = "FILE")]
    shadow: Vec<PathBuf>,
    /// Images computed at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive)]
    batch: usize,
    #[command(flatten)]
    record: RecordArgs,
    #[command(flatten)]
    model: ModelArgs,
}

const NAME: &str = "membership";

#[derive(Serialize)]
struct Row {
    attack: &'static str,
    #[serde(flatten)]
    curve: Curve,
}

impl Row {
    fn measures(&self) -> [Measure; 4] {
        let Curve { auc, tpr_at_0_1_percent, tpr_at_1_percent, balanced_accuracy, .. } = self.curve;
        [
            ("membership_auc", auc),
            ("membership_tpr_at_0.1%_fpr", tpr_at_0_1_percent),
            ("membership_tpr_at_1%_fpr", tpr_at_1_percent),
            ("membership_balanced_accuracy", balanced_accuracy),
        ]
        .map(|(name, value)| Measure::new(name, value, self.attack))
    }
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        if self.shadow.len() == 1 {
            return Err(Error::new("--shadow", "one shadow model has no spread").help("give two or more, or none"));
        }
        self.record.prepare(NAME)?;
        let loaded = self.model.load()?;
        let how = DataDetails::most(self.limit);
        let members = how.open_split(&self.data, Split::Train, &loaded.config, common.seed)?;
        let others = how.open_split(&self.data, Split::Test, &loaded.config, common.seed)?;
        check_classes(&loaded.config, members.classes().len(), &self.data)?;
        let mut lab = LabReport::new(provenance(common, &common.device()?, &self.model.name(), &loaded, &members)?);
        lab.run.settings.insert("others".to_owned(), to_value(&digest::dataset(&others)?)?);
        let (members, others) = (originals(&members)?, originals(&others)?);
        let count = members.labels.len();
        let all = Originals {
            pixels: [members.pixels, others.pixels].concat(),
            ids: [members.ids, others.ids].concat(),
            labels: [members.labels, others.labels].concat(),
        };
        let logits = self.logits(common, &loaded, &all)?;
        let classes = loaded.config.classes;
        let mut rows = Vec::new();
        let mut add = |attack, scores: &[f64]| -> Result<()> {
            let (members, others) = scores.split_at(count);
            rows.push(Row { attack, curve: Curve::of(members, others)? });
            Ok(())
        };
        for (name, signal) in [("loss", Signal::Loss), ("entropy", Signal::Entropy), ("confidence", Signal::Confidence)]
        {
            add(name, &scores(&logits, classes, &all.labels, signal)?)?;
        }
        if !self.shadow.is_empty() {
            let target = logit_confidence(&logits, classes, &all.labels)?;
            let shadows: Result<Vec<Vec<f64>>> = self
                .shadow
                .iter()
                .map(|path| {
                    let shadow = self.model.details.load(path)?;
                    check_classes(&shadow.config, classes, &path.display().to_string())?;
                    logit_confidence(&self.logits(common, &shadow, &all)?, classes, &all.labels)
                })
                .collect();
            add("likelihood ratio", &likelihood_ratio(&target, &shadows?)?)?;
        }
        lab.measures = rows.iter().flat_map(Row::measures).collect();
        self.record.write(&lab, NAME)?;
        let screen = common.screen();
        screen.line(format_args!("{count} members, {} others:", all.labels.len() - count))?;
        let heading = ["attack", "AUC", "TPR at 0.1% FPR", "TPR at 1% FPR", "balanced accuracy"];
        let row = |Row { attack, curve }: &Row| {
            let shares = [curve.tpr_at_0_1_percent, curve.tpr_at_1_percent, curve.balanced_accuracy];
            let shares = shares.map(|share| format!("{:.2}%", 100.0 * share));
            [(*attack).to_owned(), format!("{:.4}", curve.auc)].into_iter().chain(shares).collect()
        };
        let table: Vec<Vec<String>> =
            std::iter::once(heading.map(str::to_owned).to_vec()).chain(rows.iter().map(row)).collect();
        screen.table(&table)?;
        screen.json(&serde_json::json!({ "attacks": rows, "shadows": self.shadow.len() }))
    }

    /// Logits [n, classes].
    fn logits(&self, common: &Common, loaded: &Loaded, all: &Originals) -> Result<Vec<f64>> {
        let images = Images { count: all.labels.len(), pixels: all.pixels.clone() };
        let batch = self.batch.min(images.count);
        let outputs = Predictor::new(&common.device()?, loaded, batch, common.seed)?.predict(&images)?;
        Ok(outputs.logits.to_f64())
    }
}
