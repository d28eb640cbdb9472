//! A model's outputs on a whole data set: what calibration is measured on, and temperature scaling fitted on.

use std::collections::BTreeSet;

use engine::Result;

use super::calibration::{Calibration, Scores, Temperature, scaled};
use crate::data::Dataset;
use crate::report::lab::{CalibrationResult, TemperatureResult};

/// Probabilities with labels and sample ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outputs {
    /// Number of classes.
    pub classes: usize,
    /// Probabilities [n, classes]: the mean softmax over the draws of a stochastic model.
    pub probabilities: Vec<f64>,
    /// Labels `[n]`.
    pub labels: Vec<i32>,
    /// Sample ids `[n]`.
    pub ids: Vec<u32>,
}

impl Outputs {
    /// What the measures are computed from.
    ///
    /// # Errors
    /// As [`Scores::from_probabilities`].
    pub fn scores(&self) -> Result<Scores> {
        Scores::from_probabilities(&self.probabilities, self.classes, &self.labels)
    }

    /// The samples that are in `data`, in this order.
    fn of(&self, data: &Dataset) -> Result<Self> {
        let ids: BTreeSet<u32> = (0..data.len()).map(|index| data.id(index)).collect::<Result<_>>()?;
        let mut part = Self { classes: self.classes, ..Self::default() };
        let rows = self.probabilities.chunks_exact(self.classes.max(1));
        for ((row, &label), &id) in rows.zip(&self.labels).zip(&self.ids) {
            if ids.contains(&id) {
                part.probabilities.extend_from_slice(row);
                part.labels.push(label);
                part.ids.push(id);
            }
        }
        Ok(part)
    }

    fn logarithms(&self) -> Vec<f64> {
        self.probabilities.iter().map(|p| p.ln()).collect()
    }

    /// Calibration before and after temperature scaling. The temperature is fitted on a share `held_out` of each class's images
    /// of `data`, drawn by `seed`, and measured on the others; no image is in both parts.
    ///
    /// # Errors
    /// As [`Dataset::holdout`] and [`Temperature::fit`].
    pub fn with_temperature(&self, data: &Dataset, held_out: f64, seed: u64) -> Result<CalibrationResult> {
        let (kept, held) = data.holdout(held_out, seed).map_err(|error| error.within("temperature scaling"))?;
        let (fitted, evaluated) = (self.of(&held)?, self.of(&kept)?);
        let fit = Temperature::fit(&fitted.logarithms(), self.classes, &fitted.labels)?;
        let after = scaled(&evaluated.logarithms(), self.classes, fit.value);
        let after = Calibration::of(&Scores::from_probabilities(&after, self.classes, &evaluated.labels)?);
        Ok(CalibrationResult {
            evaluated: kept.name().to_owned(),
            before: Calibration::of(&evaluated.scores()?),
            temperature: Some(TemperatureResult {
                temperature: fit.value,
                at_bound: fit.at_bound,
                fitted_on: format!("{}, {held_out} of each class, seed {seed}", held.name()),
                fitted_images: fitted.labels.len(),
                after,
            }),
        })
    }
}
