//! The page: one section per subject, with the runs side by side in it.

use engine::{Error, Result};

use super::run_folder::Found;
use super::{
    AttackCurves, AuditReport, CalibrationResult, Cascade, CorruptionCell, CorruptionMap, Gallery, Measure,
    NOT_COMPARABLE, Provenance,
};
use crate::eval::calibration::Calibration;
use crate::report::grids::{Bar, bars, heat_map};
use crate::report::picture::Strip;
use crate::report::plots::{Axes, Line, lines, reliability};
use crate::report::table::{Cell, Column, Table};
use crate::report::{Report, Section, Verdict};

/// One page of any number of results; `command` is what made it.
///
/// # Errors
/// A picture is missing or no PNG file; a section holds nothing that can be drawn.
pub fn page(title: &str, command: &str, found: &[Found]) -> Result<Report> {
    let mut devices: Vec<&str> = found.iter().map(|found| found.report.run.device.as_str()).collect();
    devices.sort_unstable();
    devices.dedup();
    let mut report = Report { machine: devices.join("; "), command: command.to_owned(), ..Report::default() };
    title.clone_into(&mut report.title);
    let names = names(found);
    let named: Vec<(&str, &Found)> = names.iter().map(String::as_str).zip(found).collect();
    let sections = [
        warnings(&named),
        accuracy(&named),
        attacks(&named)?,
        cascades(&named)?,
        corruptions(&named)?,
        calibration(&named)?,
        gallery("Inversion", &named, |found| found.report.inversion.as_ref())?,
        gallery("Nullspace", &named, |found| found.report.nullspace.as_ref())?,
        audits(&named),
        other(&named),
        Some(reproduction(&named)),
    ];
    sections.into_iter().flatten().for_each(|section| report.push(section));
    Ok(report)
}

/// What tells the runs apart: nothing where there is one folder, else the folder's name, or the whole path where two are alike.
fn names(found: &[Found]) -> Vec<String> {
    let last =
        |found: &Found| found.folder().file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let folders: std::collections::BTreeSet<_> = found.iter().map(Found::folder).collect();
    let lasts: std::collections::BTreeSet<_> = found.iter().map(last).collect();
    let name = |each: &Found| match folders.len() {
        1 => String::new(),
        count if count == lasts.len() => last(each),
        _ => each.folder().display().to_string(),
    };
    found.iter().map(name).collect()
}

/// `run: words`, or one of both where the other is empty.
fn join(run: &str, words: &str) -> String {
    match (run.is_empty(), words.is_empty()) {
        (true, _) => words.to_owned(),
        (_, true) => run.to_owned(),
        _ => format!("{run}: {words}"),
    }
}

type Named<'a> = [(&'a str, &'a Found)];

/// Results that have a section, with their run's name.
fn having<'a, T>(named: &'a Named, part: impl Fn(&'a Found) -> Option<&'a T>) -> Vec<(&'a str, &'a T)> {
    named.iter().filter_map(|&(name, found)| Some((name, part(found)?))).collect()
}

/// What is wrong comes first.
fn warnings(named: &Named) -> Option<Section> {
    let each = named.iter().flat_map(|&(run, found)| found.report.warnings.iter().map(move |warning| (run, warning)));
    let section =
        each.fold(Section::new("Warnings"), |section, (run, warning)| section.note(join(run, &warning.to_string())));
    (!section.blocks.is_empty()).then_some(section)
}

fn accuracy(named: &Named) -> Option<Section> {
    let mut table = Table::new("", vec![Column::text("measured on"), Column::percent("accuracy")]);
    for (run, found) in named {
        let report = &found.report;
        let cells = report.corruptions.iter().flat_map(|map| &map.cells);
        let corrupted: Vec<String> = cells.map(CorruptionCell::label).collect();
        // Parts of the images stand in the table of calibration, corrupted ones in their map.
        let elsewhere =
            |on: &String| corrupted.contains(on) || report.calibration.is_some() && on.starts_with("kept part");
        let shown = report.measures.iter().filter(|measure| measure.name == "accuracy" && !elsewhere(&measure.on));
        for Measure { value, on, .. } in shown {
            table.push([join(run, on).into(), Cell::Number(*value)]);
        }
    }
    (!table.rows.is_empty()).then(|| Section::new("Accuracy").table(table))
}

fn attacks(named: &Named) -> Result<Option<Section>> {
    let results: Vec<(&str, &AttackCurves)> = having(named, |found| found.report.attacks.as_ref());
    let mut section = Section::new("Accuracy against eps");
    for (norm, unit, scale) in [("linf", "eps (Linf), 1/255", 255.0), ("l2", "eps (L2), images in [0, 1]", 1.0)] {
        let mut curves = Vec::new();
        for (run, result) in &results {
            for curve in result.curves.iter().filter(|curve| curve.norm == norm) {
                let mut points = curve.points.clone();
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                let shown = points.iter().map(|&(eps, accuracy)| (eps * scale, 100.0 * accuracy));
                curves.push(Line::new(join(run, &curve.attack), shown));
            }
        }
        if curves.is_empty() {
            continue;
        }
        let axes = Axes {
            title: format!("Robust accuracy, {}", if norm == "linf" { "Linf" } else { "L2" }),
            x: unit.to_owned(),
            y: "accuracy, %".to_owned(),
            y_range: Some((0.0, 100.0)),
            ..Axes::default()
        };
        section = section.chart(lines(&axes, &curves)?.caption("At eps 0: clean accuracy."));
    }
    Ok((!section.blocks.is_empty()).then_some(section))
}

fn cascades(named: &Named) -> Result<Option<Section>> {
    let results: Vec<(&str, &Cascade)> = having(named, |found| found.report.cascade.as_ref());
    let mut section = Section::new("Cascade of attacks").note(
        "Each attack sees only the images that all before it left correct; what is left at the end is the robust accuracy.",
    );
    for (run, cascade) in &results {
        let Cascade { name, ball, total, clean, stages } = cascade;
        let mut before = *clean;
        let mut rows = vec![bar("no attack", *clean, *total, *total)];
        for stage in stages {
            rows.push(bar(&stage.attack, stage.survivors, before, *total));
            before = stage.survivors;
        }
        let title = join(run, &format!("{name}, {ball}"));
        section = section.chart(
            bars(&title, ["still correct", "lost in this stage"], &rows)
                .map_err(|error| error.with("cascade", name).help("survivors can't grow from stage to stage"))?
                .caption(format!("{total} images.")),
        );
    }
    Ok((!results.is_empty()).then_some(section))
}

fn bar(label: &str, survivors: usize, before: usize, total: usize) -> Bar {
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    let share = |count: usize| count as f64 / total.max(1) as f64;
    Bar {
        label: label.to_owned(),
        kept: share(survivors),
        // Negative where survivors grew: the chart refuses it.
        lost: share(before) - share(survivors),
        figure: format!("{survivors} ({:.1}%)", 100.0 * share(survivors)),
    }
}

fn corruptions(named: &Named) -> Result<Option<Section>> {
    let results: Vec<(&str, &CorruptionMap)> = having(named, |found| found.report.corruptions.as_ref());
    let mut section = Section::new("Corruptions");
    for (run, map) in &results {
        let mut rows: Vec<String> = Vec::new();
        let mut severities: Vec<u8> = map.cells.iter().map(|cell| cell.severity).collect();
        severities.sort_unstable();
        severities.dedup();
        for cell in &map.cells {
            if !rows.contains(&cell.corruption) {
                rows.push(cell.corruption.clone());
            }
        }
        let value = |row: &String, severity: u8| {
            let cell = map.cells.iter().find(|cell| cell.corruption == *row && cell.severity == severity);
            cell.map(|cell| 1.0 - cell.accuracy)
        };
        let values: Vec<Option<f64>> =
            rows.iter().flat_map(|row| severities.iter().map(move |&severity| value(row, severity))).collect();
        let columns: Vec<String> = severities.iter().map(u8::to_string).collect();
        let marked: Vec<String> = rows.iter().map(|row| marked(row, map)).collect();
        let chart = heat_map(&join(run, "Error by corruption and severity, %"), &marked, &columns, &values)?;
        section = section.chart(chart.caption(mce(map)));
    }
    Ok((!results.is_empty()).then_some(section))
}

/// A corruption's name, with a remark where a figure of it can't be compared with published ones.
fn marked(name: &str, map: &CorruptionMap) -> String {
    let comparable = map.cells.iter().filter(|cell| cell.corruption == name).all(|cell| cell.comparable);
    format!("{name}{}", if comparable { "" } else { NOT_COMPARABLE })
}

fn mce(map: &CorruptionMap) -> String {
    let percent = |value: f64| format!("{:.1}%", 100.0 * value);
    let mut words = Vec::new();
    words.extend(map.clean.map(|clean| format!("clean error {}", percent(1.0 - clean))));
    words.extend(map.mce.map(|mce| match &map.baseline {
        Some(baseline) => format!("mCE {} (relative to {baseline})", percent(mce)),
        None => format!("mean error {} (no baseline)", percent(mce)),
    }));
    words.extend(map.relative_mce.map(|mce| format!("relative mCE {}", percent(mce))));
    let text = words.join(", ");
    if map.cells.iter().all(|cell| cell.comparable) {
        return text;
    }
    format!("{text}; figures and means with a corruption that is not comparable can't be compared with published ones")
}

fn calibration(named: &Named) -> Result<Option<Section>> {
    let results: Vec<(&str, &CalibrationResult)> = having(named, |found| found.report.calibration.as_ref());
    let mut section = Section::new("Calibration");
    let mut rows: Vec<(String, &Calibration)> = Vec::new();
    for (run, CalibrationResult { evaluated, before, temperature }) in &results {
        let chart = |title: &str, calibration: &Calibration| {
            let caption = format!(
                "ECE-15 {:.2}%, NLL {:.4}, {} images: {evaluated}",
                100.0 * calibration.ece15,
                calibration.nll,
                calibration.total
            );
            Ok::<_, Error>(reliability(&join(run, title), &calibration.bins)?.caption(caption))
        };
        let Some(scaling) = temperature else {
            section = section.chart(chart("Reliability", before)?);
            rows.push((join(run, "as it is"), before));
            continue;
        };
        let bound = if scaling.at_bound { " (end of the searched range)" } else { "" };
        let scaled = format!("temperature {:.3}{bound}", scaling.temperature);
        section = section.chart(chart("Before scaling", before)?).chart(chart("After scaling", &scaling.after)?);
        section = section.note(join(
            run,
            &format!(
                "{scaled}, fitted on {} images that are not among these: {}.",
                scaling.fitted_images, scaling.fitted_on
            ),
        ));
        rows.push((join(run, "as it is"), before));
        rows.push((join(run, &scaled), &scaling.after));
    }
    if results.is_empty() {
        return Ok(None);
    }
    let errors = ["accuracy", "nll", "brier", "ece15", "mce15", "adaptive_ece15", "classwise_ece15", "ace15"];
    let caption = "15 bins each. ACE is that of Nixon et al.; other libraries call other things so: see the documentation of \
                   `calibration`.";
    let selective = ["aurc", "auroc", "entropy"];
    Ok(Some(section.table(figures(caption, &errors, &rows)).table(figures("Selective prediction", &selective, &rows))))
}

/// Some measures of calibrations, a row each.
fn figures(caption: &str, names: &[&str], rows: &[(String, &Calibration)]) -> Table {
    let columns = std::iter::once(Column::text("model")).chain(names.iter().map(|name| column(name)));
    let mut table = Table::new(caption, columns.collect());
    for (model, calibration) in rows {
        let measures = calibration.measures();
        let cell = |name: &&str| {
            let found = measures.iter().find(|measure| measure.0 == *name).map(|measure| measure.1);
            Cell::from(found.filter(|value| value.is_finite()))
        };
        table.push(std::iter::once(Cell::from(model.as_str())).chain(names.iter().map(cell)));
    }
    table
}

/// Heading and format of a measure of calibration.
fn column(name: &str) -> Column {
    let percent = |title: &str| Column { decimals: 2, ..Column::percent(title) };
    match name {
        "accuracy" => percent("accuracy"),
        "nll" => Column::number("NLL", "nats", 4).lowest(),
        "brier" => Column::number("Brier", "", 4).lowest(),
        "ece15" => percent("ECE-15").lowest(),
        "mce15" => percent("MCE-15").lowest(),
        "adaptive_ece15" => percent("adaptive ECE-15").lowest(),
        "classwise_ece15" => percent("classwise ECE-15").lowest(),
        "ace15" => percent("ACE-15").lowest(),
        "aurc" => Column::number("AURC", "", 4).lowest(),
        "auroc" => Column::number("AUROC", "", 4).highest(),
        _ => Column::number(name, "nats", 4),
    }
}

fn gallery<'a>(
    title: &str,
    named: &'a Named,
    part: impl Fn(&'a Found) -> Option<&'a Gallery>,
) -> Result<Option<Section>> {
    let mut section = Section::new(title);
    for (run, found) in named {
        let Some(gallery) = part(found) else { continue };
        section = section.note(join(run, &gallery.note));
        for strip in &gallery.strips {
            let mut shown = Strip::new(&strip.title);
            for picture in &strip.pictures {
                // A name, not a path: a result file shows only what lies beside it.
                let is_name =
                    std::path::Path::new(&picture.file).file_name().is_some_and(|name| *name == *picture.file);
                let path = found.folder().join(&picture.file);
                if !is_name {
                    return Err(Error::new(
                        found.path.display().to_string(),
                        "a picture must lie beside the result file",
                    )
                    .with("file", &picture.file));
                }
                let bytes = std::fs::read(&path).map_err(|error| Error::io(&path, "read", &error))?;
                shown = shown.file(&bytes, &picture.caption).map_err(|error| error.within(path.display()))?;
            }
            section = section.strip(shown);
        }
    }
    Ok((!section.blocks.is_empty()).then_some(section))
}

fn audits(named: &Named) -> Option<Section> {
    let results: Vec<(&str, &AuditReport)> = having(named, |found| found.report.audit.as_ref());
    let mut section = Section::new("Audit");
    for (run, audit) in &results {
        let passed = audit.checks.iter().filter(|check| check.passed).count();
        section = section.note(join(run, &format!("{passed} of {} checks passed.", audit.checks.len())));
        let verdict = |check: &super::Check| Verdict {
            passed: check.passed,
            title: format!("{}. {}", check.number, check.name),
            figure: check.figure.clone(),
            detail: check.detail.clone(),
        };
        section = section.verdicts(audit.checks.iter().map(verdict).collect());
    }
    (!results.is_empty()).then_some(section)
}

/// Measures that no other section shows.
fn other(named: &Named) -> Option<Section> {
    let columns = vec![Column::text("measured on"), Column::text("measure"), Column::number("value", "", 6)];
    let mut table = Table::new("", columns);
    for (run, found) in named {
        let calibrated = found.report.calibration.as_ref().map(|result| result.before.measures()).unwrap_or_default();
        let is_shown = |name: &str| name == "accuracy" || calibrated.iter().any(|figure| figure.0 == name);
        for Measure { name, value, on } in found.report.measures.iter().filter(|measure| !is_shown(&measure.name)) {
            table.push([join(run, on).into(), name.as_str().into(), figure(*value)]);
        }
    }
    (!table.rows.is_empty()).then(|| Section::new("Other figures").table(table))
}

/// A figure of whatever size: what is small but not 0 must not read as 0.
fn figure(value: f64) -> Cell {
    match value.abs() {
        size if !size.is_finite() => Cell::Missing,
        size if size > 0.0 && size < 1e-3 => Cell::Text(format!("{value:.3e}")),
        _ => Cell::Number(value),
    }
}

fn reproduction(named: &Named) -> Section {
    let mut section = Section::new("To repeat this").note(
        "Hashes are SHA-256: of the labels and pixels in their order, and of the weights by name, shape and value.",
    );
    for (_, found) in named {
        section = section.facts(facts(&found.path.display().to_string(), &found.report.run));
    }
    section
}

fn facts(path: &str, run: &Provenance) -> Vec<(String, String)> {
    let mut facts = vec![("result file".to_owned(), path.to_owned()), ("command".to_owned(), run.command.clone())];
    let mut add = |name: &str, value: String| facts.push((name.to_owned(), value));
    add("version", run.version.clone());
    if let Some(commit) = &run.commit {
        add("revision", commit.clone());
    }
    add("device", run.device.clone());
    add("seed", run.seed.to_string());
    for (name, source) in [("weights", &run.weights), ("data", &run.data)] {
        if let Some(source) = source {
            let unit = if name == "data" { "images" } else { "tensors" };
            add(name, format!("{}, {} {unit}", source.name, source.count));
            add(&format!("{name}, hash"), source.sha256.clone());
        }
    }
    for (name, value) in &run.settings {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        add(name, text);
    }
    facts
}
