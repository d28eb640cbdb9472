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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use engine::Device;
    use models::{VitConfig, init, registry};

    use super::*;
    use crate::data::{self, Options, Split};
    use crate::eval::accuracy::Evaluator;
    use crate::eval::classes::ClassMap;

    fn synthetic(limit: usize) -> Dataset {
        data::open("synthetic", Split::Test, &Options { limit: Some(limit), ..Options::default() }).unwrap()
    }

    #[test]
    fn the_temperature_is_fitted_on_the_held_out_images_and_measured_on_the_others() {
        let data = synthetic(60);
        let draw = engine::rng::Philox::new(2, 0, engine::rng::Stream::named("outputs.test"));
        let logits: Vec<f64> = (0..600).map(|i| 3.0 * f64::from(draw.normal(0, i))).collect();
        let labels = (0..60).map(|i| data.label(i).unwrap()).collect();
        let ids = (0..60).map(|i| data.id(i).unwrap()).collect();
        let outputs = Outputs { classes: 10, probabilities: scaled(&logits, 10, 1.0), labels, ids };
        let found = outputs.with_temperature(&data, 0.4, 3).unwrap();
        let (kept, held) = data.holdout(0.4, 3).unwrap();
        // By sample id, which is the position in the data as opened.
        let rows = |part: &Dataset| -> (Vec<f64>, Vec<i32>) {
            let ids = (0..part.len()).map(|i| part.id(i).unwrap() as usize);
            let rows = ids.flat_map(|id| logits[id * 10..(id + 1) * 10].to_vec()).collect();
            (rows, (0..part.len()).map(|i| part.label(i).unwrap()).collect())
        };
        let ((held_logits, held_labels), (kept_logits, kept_labels)) = (rows(&held), rows(&kept));
        let scaling = found.temperature.unwrap();
        let fit = Temperature::fit(&held_logits, 10, &held_labels).unwrap();
        assert!((scaling.temperature / fit.value - 1.0).abs() < 1e-9, "{} {}", scaling.temperature, fit.value);
        assert_eq!((scaling.fitted_images, found.before.total), (held.len(), kept.len()));
        let of = |t: f64| {
            Scores::from_probabilities(&scaled(&kept_logits, 10, t), 10, &kept_labels)
                .map(|s| Calibration::of(&s))
                .unwrap()
        };
        assert!((found.before.nll - of(1.0).nll).abs() < 1e-12 && (scaling.after.nll - of(fit.value).nll).abs() < 1e-9);
    }

    #[test]
    fn a_mask_gives_the_softmax_of_the_classes_that_take_part() {
        let config = VitConfig {
            image: [32, 32],
            patch: 16,
            width: 16,
            depth: 1,
            heads: 1,
            head_width: 16,
            mlp_width: 16,
            classes: 13,
            ..registry::lookup("vit_tiny_patch16_224").unwrap()
        };
        let tensors = init::init(&config, 1).unwrap();
        let data = Arc::new(synthetic(5));
        let mut evaluator = Evaluator::new(&Device::cpu(Some(1)).unwrap(), &config, &tensors, 5, 0, 0).unwrap();
        let mut images = vec![0.0; 5 * data.volume()];
        for (at, image) in images.chunks_exact_mut(data.volume()).enumerate() {
            data.image_f32(at, image).unwrap();
        }
        let logits = evaluator.predict(&images, &[0, 1, 2, 3, 4]).unwrap().0.to_f64();
        let subset: Vec<String> = (0..10_usize).map(|class| ((class * 4 + 2) % 13).to_string()).collect();
        let map = ClassMap::new(data.classes(), 13, None, Some(&subset)).unwrap();
        let columns = map.columns().to_vec();
        evaluator.restrict(map);
        let outputs = evaluator.outputs(&data).unwrap();
        let kept: Vec<f64> = logits.chunks_exact(13).flat_map(|row| columns.iter().map(|&c| row[c])).collect();
        assert!(engine::check::max_error(&outputs.probabilities, &scaled(&kept, 10, 1.0)) < 1e-12);
        assert_eq!(outputs.labels, (0..5).map(|i| data.label(i).unwrap()).collect::<Vec<_>>());
        assert_eq!(outputs.ids, [0, 1, 2, 3, 4]);
    }
}
