//! What was measured, for files.

use train::attack::Norm;
use train::eval::accuracy::{AttackReport, CorruptionReport, PatchReport};
use train::eval::calibration::Calibration;
use train::eval::mce::Summary;
use train::report::lab::{AttackCurves, CorruptionCell, CorruptionMap, Curve, LabReport, Measure, Provenance};

use super::attacks::Reports;
use super::clean::Clean;
use super::corrupted::Corrupted;

/// Everything under the names of [`LabReport`].
pub fn report(run: Provenance, clean: &Clean, attacks: &Reports, corrupted: Option<&Corrupted>) -> LabReport {
    let mut report = LabReport::new(run);
    report.measures = named(&clean.figures, "clean");
    if let Some(scaling) = &clean.calibration.temperature {
        report.measures.extend(named(&clean.calibration.before, "kept part"));
        report.measures.push(Measure::new("temperature", scaling.temperature, "held-out part"));
        report.measures.extend(named(&scaling.after, "kept part, scaled"));
    }
    report.calibration = Some(clean.calibration.clone());
    for AttackReport { name, config, accuracy, .. } in &attacks.in_balls {
        attacked(&mut report, &format!("{name} eps {}", config.eps), *accuracy, config);
    }
    for PatchReport { name, config, measured } in &attacks.on_patches {
        attacked(&mut report, name, measured.accuracy, config);
    }
    report.attacks = curves(clean.figures.accuracy, &attacks.in_balls);
    if let Some(found) = corrupted {
        let map = map(clean.figures.accuracy, found);
        report.measures.extend(corruption_measures(&map, &found.summary));
        report.corruptions = Some(map);
    }
    report
}

/// Accuracy under an attack, and what the attack was.
fn attacked(report: &mut LabReport, on: &str, accuracy: f64, config: &impl serde::Serialize) {
    report.measures.push(Measure::new("accuracy", accuracy, on));
    let configuration = serde_json::to_value(config).unwrap_or_default();
    report.run.settings.insert(format!("attack {on}"), configuration);
}

fn named(calibration: &Calibration, on: &str) -> Vec<Measure> {
    calibration.measures().into_iter().map(|(name, value)| Measure::new(name, value, on)).collect()
}

fn corruption_measures(map: &CorruptionMap, summary: &Summary) -> Vec<Measure> {
    let each = map.cells.iter().map(|cell| Measure::new("accuracy", cell.accuracy, cell.label()));
    let on = if summary.comparable { "corruptions" } else { "corruptions (not comparable)" };
    let comparison = summary.comparison.as_ref();
    let ratio = comparison.map(|found| Measure::new("mce", found.mce, on));
    let relative = comparison.and_then(|found| found.relative_mce).map(|mce| Measure::new("relative_mce", mce, on));
    each.chain([Measure::new("mean_error", summary.mean_error, on)]).chain(ratio).chain(relative).collect()
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

fn map(clean: f64, Corrupted { reports, summary }: &Corrupted) -> CorruptionMap {
    let cell = |report: &CorruptionReport| CorruptionCell {
        corruption: report.name.clone(),
        severity: report.severity,
        accuracy: report.accuracy,
        comparable: report.comparable,
    };
    let comparison = summary.comparison.as_ref();
    CorruptionMap {
        clean: Some(clean),
        cells: reports.iter().map(cell).collect(),
        mce: Some(comparison.map_or(summary.mean_error, |found| found.mce)),
        relative_mce: comparison.and_then(|found| found.relative_mce),
        baseline: comparison.map(|found| found.baseline.clone()),
    }
}
