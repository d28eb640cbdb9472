//! The report of the demonstration.

use std::path::Path;
use std::sync::Arc;

use engine::{Device, Result};
use models::VitConfig;

use super::{Demo, Invariance, Outcome, Weights, invariance, measuring_attack};
use crate::data::Dataset;
use crate::eps::Eps;
use crate::eval::accuracy::{Evaluator, argmax};
use crate::nullspace::exact::Nullspace;
use crate::report::picture::Strip;
use crate::report::plots::{Axes, Line, lines, reliability, spectrum};
use crate::report::table::{Column, Table};
use crate::report::{Report, Section};

/// Images of the report.
const SHOWN: usize = 6;

/// What the report shows besides figures.
pub(super) struct Shown {
    pub invariance: Invariance,
    nullspace: Nullspace,
    strips: Vec<Strip>,
    noise: Strip,
}

impl Shown {
    pub fn new(
        device: &Device,
        demo: &Demo,
        config: &VitConfig,
        weights: &Weights,
        trained: &[(VitConfig, Weights)],
        test: &Arc<Dataset>,
    ) -> Result<Self> {
        let few = Arc::new(test.subset(0..SHOWN.min(test.len()))?);
        let volume = few.volume();
        let mut images = vec![0.0; few.len() * volume];
        for (index, image) in images.chunks_exact_mut(volume).enumerate() {
            few.image_f32(index, image)?;
        }
        let (nullspace, noise, invariance) = invariance(device, demo, config, weights, &images)?;
        let mut strips = Vec::new();
        for (at, name) in [(0, "baseline"), (2, "adversarial")] {
            if let Some((config, weights)) = trained.get(at) {
                strips.extend(attacked(device, demo, config, weights, &few, name)?);
            }
        }
        let noise = noisy(device, demo, config, weights, &few, &images, &noise)?;
        Ok(Self { invariance, nullspace, strips, noise })
    }
}

/// Strips of attacked images: clean, difference, attacked, with the predictions.
fn attacked(
    device: &Device,
    demo: &Demo,
    config: &VitConfig,
    weights: &Weights,
    few: &Arc<Dataset>,
    name: &str,
) -> Result<Vec<Strip>> {
    let classes = few.classes().to_vec();
    let dims = few.dims();
    let volume = few.volume();
    let mut evaluator = Evaluator::new(device, config, weights, few.len(), 0, demo.seed)?;
    let attack = measuring_attack(config, Eps::fraction(8, 255));
    let mut strips = Vec::new();
    evaluator.attacked(few, &attack, &mut |batch| {
        let rows = batch.samples.images.chunks_exact(volume).zip(batch.images.chunks_exact(volume));
        let predictions = batch.probabilities.chunks_exact(classes.len());
        for (at, ((clean, moved), row)) in rows.zip(predictions).enumerate().take(3) {
            let label = batch.samples.labels.get(at).and_then(|&label| usize::try_from(label).ok());
            let truth = label.and_then(|label| classes.get(label)).map_or("?", String::as_str);
            let best = argmax(row);
            let said = classes.get(best).map_or("?", String::as_str);
            let sure = 100.0 * row.get(best).copied().unwrap_or(0.0);
            let captions = [format!("label: {truth}"), format!("{name} says: {said} {sure:.0}%")];
            strips.push(Strip::attack("", clean, moved, dims, [&captions[0], &captions[1]])?);
        }
        Ok(())
    })?;
    Ok(strips)
}

/// An image, nullspace noise, and their sum, with the predictions of both.
fn noisy(
    device: &Device,
    demo: &Demo,
    config: &VitConfig,
    weights: &Weights,
    few: &Arc<Dataset>,
    images: &[f32],
    noise: &[f32],
) -> Result<Strip> {
    let dims = few.dims();
    let volume = few.volume();
    let mut evaluator = Evaluator::new(device, config, weights, 1, 0, demo.seed)?;
    let clean = images.get(..volume).unwrap_or(images);
    let moved: Vec<f32> = clean.iter().zip(noise).map(|(&x, &v)| x + v).collect();
    let mut say = |image: &[f32]| -> Result<String> {
        let logits = evaluator.predict(image, &[0])?.0.to_f64();
        let best = argmax(&logits);
        let name = few.classes().get(best).map_or("?", String::as_str);
        Ok(format!("{name}, logit {:.4}", logits.get(best).copied().unwrap_or(0.0)))
    };
    let (before, after) = (say(clean)?, say(&moved)?);
    Strip::new("").image(clean, dims, before)?.perturbation(noise, dims, "nullspace noise")?.image(&moved, dims, after)
}

pub(super) fn write(device: &Device, demo: &Demo, outcome: &Outcome, shown: &Shown, path: &Path) -> Result<()> {
    let command = if demo.tiny { "vitrum demo --tiny" } else { "vitrum demo" };
    let mut report = Report::new("Vitrum demo", command, device.description(), demo.seed);
    report.push(figures(outcome));
    report.push(curves(outcome)?);
    let mut pictures = Section::new("Attacked images").note(
        "Clean image, perturbation amplified, attacked image: PGD-20, eps 8/255. The first three attack the baseline, the \
         others the adversarially trained copy.",
    );
    for strip in &shown.strips {
        pictures = pictures.strip(strip.clone());
    }
    report.push(pictures);
    let Invariance { columns, rank, nullity, noise, permuted, linf } = shown.invariance;
    let text = format!(
        "The patch embedding maps {columns} pixel values to {} and has rank {rank}: {nullity} directions of pixel noise don't \
         reach it. Noise of {linf:.2} in these directions changes the logits by at most {noise:.1e}, the same values in \
         permuted order by {permuted:.1e}.",
        columns - nullity,
    );
    let named: Vec<(String, _)> =
        shown.nullspace.blocks().iter().map(|block| ("patch embedding".to_owned(), block.clone())).collect();
    report.push(
        Section::new("Exact nullspace of the patch embedding")
            .note(text)
            .strip(shown.noise.clone())
            .chart(spectrum("Singular values", &named)?),
    );
    report.write(path)
}

fn figures(outcome: &Outcome) -> Section {
    let columns = vec![
        Column::text("model"),
        Column::percent("clean").highest(),
        Column::percent("PGD-20").highest(),
        Column::percent("corrupted").highest(),
        Column::percent("ECE-15").lowest(),
        Column::number("training", "s", 1),
    ];
    let mut table = Table::new("Accuracy on the test images", columns);
    for model in &outcome.models {
        table.push([
            model.name.as_str().into(),
            model.clean.into(),
            model.pgd20.into(),
            model.corruption.into(),
            model.ece15.into(),
            model.seconds.into(),
        ]);
    }
    Section::new("Four models").table(table).note(
        "PGD-20: 20 steps of 2/255 in the Linf ball of 8/255 from a random start; against the stochastic model each step \
         averages 8 gradients of fresh draws, and accuracy is that of one draw. Corrupted: mean over gaussian noise, blur, \
         brightness, contrast and pixelate at severity 3. ECE-15: expected calibration error, 15 bins.",
    )
}

fn curves(outcome: &Outcome) -> Result<Section> {
    let axes =
        |title: &str, x: &str, y: &str| Axes { title: title.into(), x: x.into(), y: y.into(), ..Axes::default() };
    let losses: Vec<Line> =
        outcome.models.iter().map(|model| Line::new(&model.name, model.losses.iter().copied())).collect();
    let robust: Vec<Line> = outcome
        .models
        .iter()
        .map(|model| Line::new(&model.name, model.curve.iter().map(|&(eps, accuracy)| (eps, 100.0 * accuracy))))
        .collect();
    let range = Axes { y_range: Some((0.0, 100.0)), ..axes("Accuracy under PGD-20", "eps, 1/255", "accuracy, %") };
    let mut section = Section::new("Curves")
        .chart(lines(&axes("Training loss", "epoch", "cross-entropy"), &losses)?)
        .chart(lines(&range, &robust)?);
    for model in &outcome.models {
        section = section.chart(reliability(&format!("Reliability: {}", model.name), &model.calibration.bins)?);
    }
    Ok(section)
}
