//! A page with every section, from made-up figures, through files as the commands leave them.

use std::path::Path;

use super::page::page;
use super::run_folder::read;
use super::*;
use crate::eval::calibration::{Scores, scaled};
use crate::report::picture::png;

fn provenance(seed: u64) -> Provenance {
    let source = |name: &str, count| Some(Source { name: name.into(), count, sha256: "a1".repeat(32) });
    Provenance {
        command: "vitrum eval --weights 'my <model>.safetensors'".into(),
        version: "0.1.0".into(),
        commit: Some("c0ffee".into()),
        device: "cpu, 2 threads".into(),
        seed,
        weights: source("my <model>.safetensors", 150),
        data: source("CIFAR-10 test", 1000),
        settings: BTreeMap::from([("eps".into(), "8/255".into()), ("steps".into(), serde_json::json!(20))]),
    }
}

/// Overconfident logits, and their calibration at a temperature.
fn calibration_at(temperature: f64) -> Calibration {
    let draw = engine::rng::Philox::new(3, 0, engine::rng::Stream::named("lab.test"));
    let logits: Vec<f64> = (0..4000).map(|i| 4.0 * f64::from(draw.normal(0, i))).collect();
    let label = |(i, row): (usize, &[f64])| {
        let best = (0..4).fold(0, |best, k| if row[k] > row[best] { k } else { best });
        i32::try_from(if draw.uniform(1, i) < 0.7 { best } else { (best + 1) % 4 }).unwrap()
    };
    let labels: Vec<i32> = logits.chunks_exact(4).enumerate().map(label).collect();
    Calibration::of(&Scores::from_probabilities(&scaled(&logits, 4, temperature), 4, &labels).unwrap())
}

fn attacked(report: &mut LabReport) {
    let curve = |attack: &str, norm: &str, points: &[(f64, f64)]| Curve {
        attack: attack.into(),
        norm: norm.into(),
        points: points.to_vec(),
    };
    report.attacks = Some(AttackCurves {
        curves: vec![
            curve("apgd-ce", "linf", &[(8.0 / 255.0, 0.41), (0.0, 0.82), (4.0 / 255.0, 0.63), (16.0 / 255.0, 0.1)]),
            curve("square", "linf", &[(0.0, 0.82), (4.0 / 255.0, 0.7), (8.0 / 255.0, 0.52)]),
            curve("pgd20-l2", "l2", &[(0.0, 0.82), (0.5, 0.55)]),
        ],
    });
    let stages = [("apgd-ce", 411), ("apgd-t", 389), ("fab-t", 389), ("square", 388)];
    let stages = stages.map(|(attack, survivors)| Stage { attack: attack.into(), survivors }).to_vec();
    report.cascade =
        Some(Cascade { name: "standard".into(), ball: "Linf 8/255".into(), total: 1000, clean: 823, stages });
}

fn corrupted() -> CorruptionMap {
    let names = ["gaussian_noise", "fog", "jpeg_compression"];
    let cells = names.iter().zip(1_u8..).flat_map(|(name, hard)| {
        (1..=5).map(move |severity| CorruptionCell {
            corruption: (*name).into(),
            severity,
            accuracy: 0.82 - 0.04 * f64::from(hard * severity),
            comparable: true,
        })
    });
    // One cell was not measured.
    let cells = cells.filter(|cell| (cell.corruption.as_str(), cell.severity) != ("fog", 2)).collect();
    CorruptionMap {
        clean: Some(0.82),
        cells,
        mce: Some(0.712),
        relative_mce: Some(0.945),
        baseline: Some("AlexNet".into()),
    }
}

/// A result with everything, and its pictures in `folder`.
fn sample(folder: &Path) -> LabReport {
    let mut report = LabReport::new(provenance(7));
    report.warnings =
        vec![Warning { problem: "7% of gradients are <0>".into(), remedy: "raise the margin instead".into() }];
    report.measures = vec![
        Measure::new("accuracy", 0.823, "clean"),
        Measure::new("ece15", 0.1, "clean"),
        Measure::new("membership_auc", 0.5321, "train <and> test"),
        Measure::new("mse_logits", 1.25e-9, "noise"),
    ];
    report.calibration = Some(CalibrationResult {
        evaluated: "CIFAR-10 test, kept part".into(),
        before: calibration_at(1.0),
        temperature: Some(TemperatureResult {
            temperature: 2.5,
            at_bound: false,
            fitted_on: "CIFAR-10 test, held-out part".into(),
            fitted_images: 200,
            after: calibration_at(2.5),
        }),
    });
    attacked(&mut report);
    report.corruptions = Some(corrupted());
    for (name, level) in [("clean.png", 0.2_f32), ("inverted.png", 0.7)] {
        let image: Vec<f32> = (0..3 * 32 * 32).map(|i| level + 0.3 * ((i % 32) as f32 / 32.0)).collect();
        std::fs::write(folder.join(name), png(&image, [3, 32, 32]).unwrap()).unwrap();
    }
    let picture = |file: &str, caption: &str| GalleryPicture { file: file.into(), caption: caption.into() };
    let strip = GalleryStrip {
        title: "image 3".into(),
        pictures: vec![picture("clean.png", "original"), picture("inverted.png", "PSNR 17.2 dB\nSSIM 0.41")],
    };
    report.inversion = Some(Gallery { note: "Features of block 4.".into(), strips: vec![strip.clone()] });
    report.nullspace = Some(Gallery { note: "Noise of Linf 0.2.".into(), strips: vec![strip] });
    let check = |number, passed, figure: &str| Check {
        number,
        name: format!("check <{number}>"),
        passed,
        figure: figure.into(),
        detail: "more steps, or another loss, where it fails".into(),
    };
    report.audit =
        Some(AuditReport { checks: vec![check(1, true, "41.1% <= 48.0%"), check(2, false, "63.0% = 63.0%")] });
    report
}

/// The page of what lies in some folders.
fn shown(folders: &[&Path]) -> Result<String> {
    let mut found = Vec::new();
    for folder in folders {
        found.extend(read(folder)?);
    }
    Ok(page("Robustness", "vitrum report", &found)?.html())
}

#[test]
fn every_section_appears_in_its_order_and_nothing_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path()).write(folder.path().join("eval.json")).unwrap();
    std::fs::write(folder.path().join("other.json"), "{\"vitrum\": 3}").unwrap();
    let html = shown(&[folder.path()]).unwrap();
    let parts = [
        "<h2>Warnings</h2>",
        "7% of gradients are &lt;0&gt;; raise the margin instead",
        "<h2>Accuracy</h2>",
        "82.3",
        "<h2>Accuracy against eps</h2>",
        "Robust accuracy, Linf",
        "Robust accuracy, L2",
        "<h2>Cascade of attacks</h2>",
        "standard, Linf 8/255",
        "411 (41.1%)",
        "388 (38.8%)",
        "<h2>Corruptions</h2>",
        "jpeg_compression",
        "clean error 18.0%, mCE 71.2% (relative to AlexNet), relative mCE 94.5%",
        "<h2>Calibration</h2>",
        "Before scaling",
        "After scaling",
        "temperature 2.500, fitted on 200 images that are not among these",
        "classwise ECE-15",
        "Selective prediction",
        "<h2>Inversion</h2>",
        "SSIM 0.41",
        "<h2>Nullspace</h2>",
        "<h2>Audit</h2>",
        "1 of 2 checks passed",
        "<li class=\"pass\">",
        "1. check &lt;1&gt;",
        "<li class=\"fail\">",
        "63.0% = 63.0%",
        "<h2>Other figures</h2>",
        "train &lt;and&gt; test",
        "0.532100",
        "1.250e-9",
        "<h2>To repeat this</h2>",
        "my &lt;model&gt;.safetensors, 150 tensors",
        &"a1".repeat(32),
        "CIFAR-10 test, 1000 images",
        "8/255",
    ];
    parts.iter().fold(0, |from, part| {
        let at = html[from..].find(part);
        from + at.unwrap_or_else(|| panic!("{part:?} is missing, or before its turn"))
    });
    for foreign in ["http:", "https:", "<script", "<link", "url(", "<model>", "<and>"] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    assert_eq!(html.matches("data:image/png;base64,").count(), 4);
    for tag in ["section", "table", "tr", "figure", "svg", "div", "ul", "ol", "li", "dl", "text"] {
        let opened = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        let opened = opened + html.matches(&format!("<{tag}\n")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn curves_are_drawn_by_rising_eps_and_runs_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let folders = ["a", "b"].map(|name| folder.path().join(name));
    for folder in &folders {
        std::fs::create_dir(folder).unwrap();
        let mut report = LabReport::new(provenance(1));
        attacked(&mut report);
        report.write(folder.join("attack.json")).unwrap();
    }
    let html = shown(&[&folders[0], &folders[1]]).unwrap();
    for name in ["a: apgd-ce", "b: apgd-ce", "a: standard", "b: standard"] {
        assert!(html.contains(name), "{name}");
    }
    assert!(!shown(&[&folders[0]]).unwrap().contains("a: apgd-ce"), "one run needs no name");
    // Points that go back and forth would need a longer line than the sorted ones, whose x only rises.
    let curve = |line: &&str| line.contains("stroke=\"#3B82D6\"");
    let line = html.split("<polyline").skip(1).find(curve).unwrap();
    let line = line.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
    let x: Vec<f64> = line.split_whitespace().map(|point| point.split(',').next().unwrap().parse().unwrap()).collect();
    assert!(x.len() == 4 && x.is_sorted(), "{x:?}");
}

#[test]
fn a_result_reads_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let report = sample(folder.path());
    let path = folder.path().join("eval.json");
    report.write(&path).unwrap();
    assert!(read(folder.path()).unwrap()[0].report == report, "to the last bit");
    let mut infinite = report;
    let before = &mut infinite.calibration.as_mut().unwrap().before;
    before.nll = f64::INFINITY;
    infinite.measures[0].value = f64::NAN;
    infinite.write(&path).unwrap();
    let back = read(folder.path()).unwrap().remove(0).report;
    assert_eq!(back.calibration.as_ref().unwrap().before.nll, f64::INFINITY);
    assert!(back.measures[0].value.is_nan());
    shown(&[folder.path()]).unwrap();
}

#[test]
fn what_can_not_be_shown_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let error = || shown(&[folder]).unwrap_err().to_string();
    assert!(error().contains("--out"), "an empty folder");
    let path = folder.join("eval.json");
    for (text, part) in [
        ("{\"vitrum_lab\": 1, \"run\"", "damaged"),
        ("{\"vitrum_lab\": 99}", "another version"),
        ("{\"vitrum_lab\": 1, \"runs\": {}}", "runs"),
    ] {
        std::fs::write(&path, text).unwrap();
        assert!(error().contains(part) && error().contains("eval.json"), "{text}: {}", error());
    }
    let mut report = sample(folder);
    report.cascade.as_mut().unwrap().stages[2].survivors = 500;
    report.write(&path).unwrap();
    assert!(error().contains("survivors"), "{}", error());
    for (file, part) in [("../secret.png", "beside"), ("missing.png", "missing.png"), ("eval.json", "not a PNG")] {
        let mut report = sample(folder);
        report.inversion.as_mut().unwrap().strips[0].pictures[0].file = file.into();
        report.write(&path).unwrap();
        assert!(error().contains(part), "{file}: {}", error());
    }
}
