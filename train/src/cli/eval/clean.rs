//! Clean images: accuracy and calibration.

use std::sync::Arc;

use engine::{Error, Result};
use train::data::Dataset;
use train::eval::accuracy::Evaluator;
use train::eval::calibration::Calibration;
use train::eval::outputs::Outputs;
use train::report::lab::CalibrationResult;

use super::super::args::positive;
use super::super::repeats::{OverSeeds, PerClass};
use super::super::screen::Screen;

#[derive(clap::Args)]
pub struct CleanArgs {
    /// Repeat the clean measurement under so many seeds of the draws: mean and standard deviation
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    draw_seeds: usize,
    /// Accuracy of each class too, and the mean over classes
    #[arg(long)]
    per_class: bool,
    /// Fit a temperature on this share of each class's images, and measure calibration on the others before and after
    #[arg(long, value_name = "SHARE", value_parser = share)]
    temperature: Option<f64>,
}

fn share(text: &str) -> Result<f64> {
    let value = text.parse().ok().filter(|&share: &f64| share > 0.0 && share < 1.0);
    value.ok_or_else(|| Error::new("share", "must lie inside (0, 1)").with("given", text))
}

/// What clean images came to.
pub struct Clean {
    /// Under the run's seed.
    pub figures: Calibration,
    /// Under several seeds of the draws.
    pub over_seeds: Option<OverSeeds>,
    /// Of each class.
    pub per_class: Option<PerClass>,
    /// Before and after temperature scaling.
    pub calibration: CalibrationResult,
}

impl CleanArgs {
    /// Measures, and shows each figure as it is there.
    pub fn measure(&self, evaluator: &mut Evaluator, data: &Arc<Dataset>, seed: u64, screen: &Screen) -> Result<Clean> {
        if self.draw_seeds > 1 && !evaluator.is_random() {
            return Err(Error::new("--draw-seeds", "this model draws nothing: every seed gives the same")
                .help("leave it out, or give a model with stochastic layers and --draws 1 or more"));
        }
        let outputs = evaluator.outputs(data)?;
        let figures = Calibration::of(&outputs.scores()?);
        screen.line(summary(&figures))?;
        let over_seeds = self.repeated(evaluator, data, &figures, seed)?;
        if let Some(found) = &over_seeds {
            screen.line(format_args!("over {} seeds: {found}", self.draw_seeds))?;
        }
        let per_class = self.per_class.then(|| PerClass::of(&outputs, data));
        if let Some(classes) = &per_class {
            screen.line(classes)?;
        }
        let calibration = self.calibration(&outputs, &figures, data, seed)?;
        if let Some(line) = scaling(&calibration) {
            screen.line(line)?;
        }
        Ok(Clean { figures, over_seeds, per_class, calibration })
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
