//! `vitrum corrupt`, and `vitrum eval` on what it writes and on what it computes itself.

use std::path::Path;

use serde_json::Value;

use crate::common::{json, model, run, run_ok, text};

const DATA: [&str; 4] = ["--data", "synthetic", "--limit", "20"];

fn accuracies(found: &Value) -> Vec<(String, u64, f64)> {
    let entry = |report: &Value| {
        (
            report["name"].as_str().unwrap().to_owned(),
            report["severity"].as_u64().unwrap(),
            report["accuracy"].as_f64().unwrap(),
        )
    };
    found["corruptions"].as_array().unwrap().iter().map(entry).collect()
}

#[test]
fn written_sets_are_read_back_to_the_same_accuracies() {
    let folder = tempfile::tempdir().unwrap();
    let weights = model(folder.path(), 10);
    let names = ["--corruptions", "gaussian_noise,fog,spatter", "--seed", "5"];
    let eval = [&["eval", "--weights", text(&weights), "--heads", "2", "--json"][..], &DATA, &names].concat();
    let computed = json(&[&eval[..], &["--severities", "2,4", "--threads", "1"]].concat());
    assert_eq!(accuracies(&computed).len(), 6);
    let npy = folder.path().join("npy");
    let written = json(&[&["corrupt", "--out", text(&npy), "--json"][..], &DATA, &names].concat());
    assert_eq!((written["images"].as_u64(), written["files"].as_array().unwrap().len()), (Some(20), 3));
    let read = json(&[&eval[..], &["--severities", "2,4", "--corruption-data", text(&npy)]].concat());
    assert_eq!(accuracies(&read), accuracies(&computed));
    // The layout of the published files: 128 bytes of header, then five severities of 20 images.
    let bytes = std::fs::read(npy.join("fog.npy")).unwrap();
    assert_eq!((&bytes[..8], bytes.len()), (&b"\x93NUMPY\x01\0"[..], 128 + 5 * 20 * 3072));
    let labels = std::fs::read(npy.join("labels.npy")).unwrap();
    assert_eq!(labels.len(), 128 + 100);
    let png = folder.path().join("png");
    let layout = ["--format", "png", "--severities", "2,4", "--out", text(&png)];
    run_ok(&[&["corrupt"][..], &layout, &DATA, &names].concat());
    let read = json(&[&eval[..], &["--severities", "2,4", "--corruption-data", text(&png)]].concat());
    assert_eq!(accuracies(&read), accuracies(&computed));
    // Equal bytes whatever the number of threads.
    let again = folder.path().join("again");
    run_ok(&[&["corrupt", "--out", text(&again), "--threads", "1"][..], &DATA, &names].concat());
    assert_eq!(std::fs::read(again.join("spatter.npy")).unwrap(), std::fs::read(npy.join("spatter.npy")).unwrap());
}

#[test]
fn mce_takes_a_stated_baseline_and_procedural_frost_is_marked() {
    let folder = tempfile::tempdir().unwrap();
    let weights = model(folder.path(), 10);
    let few = ["--data", "synthetic", "--limit", "8"];
    let eval = [&["eval", "--weights", text(&weights), "--heads", "2"][..], &few].concat();
    let errors: serde_json::Map<String, Value> = NAMES.iter().map(|name| ((*name).to_owned(), 0.5.into())).collect();
    let baseline = folder.path().join("half.json");
    std::fs::write(&baseline, serde_json::json!({ "name": "half", "clean": null, "errors": errors }).to_string())
        .unwrap();
    let all = [&eval[..], &["--corruptions", "standard", "--baseline", text(&baseline)]].concat();
    let found = json(&[&all[..], &["--json"]].concat());
    let summary = &found["corruption_summary"];
    let (error, mce) = (summary["mean_error"].as_f64().unwrap(), summary["comparison"]["mce"].as_f64().unwrap());
    assert!((mce - 2.0 * error).abs() < 1e-12 && summary["comparison"]["relative_mce"].is_null(), "{summary}");
    assert_eq!((summary["comparable"].as_bool(), accuracies(&found).len()), (Some(false), 75));
    let marked = found["corruptions"].as_array().unwrap().iter().filter(|report| report["comparable"] == false);
    assert!(marked.clone().count() == 5 && marked.into_iter().all(|report| report["name"] == "frost"));
    let frost = [&eval[..], &["--corruptions", "frost", "--severities", "3"]].concat();
    let printed = run_ok(&frost);
    assert!(printed.contains("frost (procedural: not comparable)") && printed.contains("not comparable)"), "{printed}");
    assert!(run(&frost).1.contains("NOT comparable"));
    // Ten classes of 32 pixels are no ImageNet: no mCE of itself.
    assert!(json(&[&frost[..], &["--json"]].concat())["corruption_summary"]["comparison"].is_null());
}

const NAMES: [&str; 15] = [
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
];

#[test]
fn what_is_missing_or_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let weights = model(folder.path(), 10);
    let out = folder.path().join("out");
    let eval = [&["eval", "--weights", text(&weights), "--heads", "2"][..], &DATA].concat();
    let corrupt = [&["corrupt", "--out", text(&out)][..], &DATA].concat();
    let nowhere = folder.path().join("nowhere");
    let cases: [(&[&str], &[&str], &[&str]); 9] = [
        (&eval, &["--corruptions", "1,3,5"], &["--severities"]),
        (&eval, &["--corruptions", "smog"], &["smog", "gaussian_noise"]),
        (&eval, &["--corruptions", "fog", "--severities", "0-3"], &["--severities", "0-3"]),
        (&eval, &["--baseline", "alexnet"], &["--corruptions standard"]),
        (&eval, &["--baseline", "alexnet", "--corruptions", "fog"], &["all 15"]),
        (&eval, &["--corruption-data", text(&nowhere)], &["nowhere", "labels.npy"]),
        (&eval, &["--corruptions", "frost", "--frost", text(folder.path())], &["frost1", "published"]),
        (&corrupt, &["--severities", "3"], &["five severities", "--format png"]),
        (&corrupt, &["--threads", "0"], &["--threads"]),
    ];
    for (command, more, parts) in cases {
        let (status, message) = run(&[command, more].concat());
        assert_eq!(status, 2, "{more:?}: {message}");
        assert!(parts.iter().all(|part| message.contains(part)), "{more:?}: {message}");
    }
    // Truncated after it was written.
    run_ok(&[&corrupt[..], &["--corruptions", "contrast"]].concat());
    let damaged: &Path = &out.join("contrast.npy");
    let bytes = std::fs::read(damaged).unwrap();
    std::fs::write(damaged, &bytes[..bytes.len() - 7]).unwrap();
    let (_, message) = run(&[&eval[..], &["--corruptions", "contrast", "--corruption-data", text(&out)]].concat());
    assert!(
        message.contains("contrast.npy") && message.contains("truncated") && message.contains("again"),
        "{message}"
    );
    let (_, message) = run(&[&eval[..], &["--corruptions", "fog", "--corruption-data", text(&out)]].concat());
    assert!(message.contains("fog.npy") && message.contains("missing"), "{message}");
}

#[test]
fn bench_times_corruptions() {
    let found = json(&["bench", "--corruptions", "--filter", "brightness", "--time", "0", "--threads", "2", "--json"]);
    let entry = &found["corruptions"][0];
    assert_eq!((entry["corruption"].as_str(), found["threads"].as_u64()), (Some("brightness"), Some(2)));
    assert!(entry["median_ms"].as_f64().unwrap() > 0.0 && entry["reps"].as_u64().unwrap() >= 5);
}
