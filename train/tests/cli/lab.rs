//! Result files, logs and the page made of them.

use std::path::Path;

use crate::common::{json, listing, model, run, run_ok, text};

/// Lines of a log as JSON.
fn lines(path: &Path) -> Vec<serde_json::Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_evaluation_leaves_all_that_is_needed_to_repeat_it_and_to_show_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (weights, out, again) = (model(folder, 10), folder.join("out"), folder.join("again"));
    let events = folder.join("events");
    let flags = "eval --data synthetic --limit 60 --batch 16 --temperature 0.3 --attack fgsm --seed 4 \
                 --corruptions contrast,frost --severities 2";
    let flags: Vec<&str> = flags.split_whitespace().chain(["--weights", text(&weights)]).collect();
    let found = json(&[&flags[..], &["--out", text(&out), "--tensorboard", text(&events), "--json"]].concat());
    assert_eq!(listing(&out), ["eval.json", "metrics.jsonl"]);
    assert_eq!(listing(&events).len(), 1);

    // No image is both fitted on and evaluated, and none is lost.
    let calibration = &found["calibration"];
    let (fitted, kept) = (&calibration["temperature"]["fitted_images"], &calibration["before"]["total"]);
    assert_eq!((fitted.as_u64().unwrap() + kept.as_u64().unwrap(), found["clean"]["total"].as_u64()), (60, Some(60)));
    let after = &calibration["temperature"]["after"];
    assert_eq!(after["correct"], calibration["before"]["correct"], "a temperature changes no prediction");
    assert_ne!(after["nll"], calibration["before"]["nll"]);

    let log = lines(&out.join("metrics.jsonl"));
    let line = |measure: &str, on: &str| {
        let mut found = log.iter().filter(|line| line["measure"] == measure && line["on"] == on);
        let line = found.next().unwrap_or_else(|| panic!("no {measure} on {on}"));
        assert!(found.next().is_none(), "{measure} on {on} stands there twice");
        line
    };
    assert_eq!(line("ece15", "clean")["value"], found["clean"]["ece15"]);
    assert_eq!(line("ece15", "kept part, scaled")["value"], after["ece15"]);
    assert_eq!(line("accuracy", "fgsm-linf eps 8/255")["value"], found["attacks"][0]["accuracy"]);
    assert_eq!(line("accuracy", "contrast 2")["value"], found["corruptions"][0]["accuracy"]);
    // Frost without photographs is marked wherever it appears.
    assert_eq!(line("accuracy", "frost 2 (not comparable)")["value"], found["corruptions"][1]["accuracy"]);
    let mean = line("mean_error", "corruptions (not comparable)");
    assert_eq!(mean["value"], found["corruption_summary"]["mean_error"]);
    for line in &log {
        assert_eq!((line["seed"].as_u64(), line["images"].as_u64()), (Some(4), Some(60)));
        assert_eq!((&line["data"], &line["weights"]), (&found["data"]["sha256"], &found["weights"]["sha256"]));
        let settings = &line["settings"];
        assert_eq!(
            (settings["batch"].as_str(), settings["crop_pct"].as_str()),
            (Some("16"), Some("0.9")),
            "{settings}"
        );
        assert_eq!(settings["attack fgsm-linf eps 8/255"]["steps"], 1);
        assert!(settings.get("out").is_none() && settings.get("RecordArgs").is_none(), "{settings}");
    }
    run_ok(&[&flags[..], &["--out", text(&again), "--threads", "1"]].concat());
    let figures = |folder: &Path| -> Vec<_> {
        lines(&folder.join("metrics.jsonl")).iter().map(|line| line["value"].clone()).collect()
    };
    assert_eq!(figures(&out), figures(&again), "the same figures on any number of threads");

    let page = folder.join("report.html");
    let found = json(&["report", "--in", text(&out), "--in", text(&again), "--out", text(&page), "--json"]);
    assert_eq!(found["results"].as_array().unwrap().len(), 2);
    let html = std::fs::read_to_string(&page).unwrap();
    let hash = log[0]["data"].as_str().unwrap();
    for part in [
        "out: fgsm-linf",
        "out: clean",
        "again: Before scaling",
        "contrast",
        "frost (not comparable)",
        hash,
        "vitrum eval --data synthetic",
    ] {
        assert!(html.contains(part), "{part}");
    }
}

#[test]
fn a_report_of_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (page, missing) = (folder.join("report.html"), folder.join("missing"));
    for (input, part) in [(folder, "no result file"), (&missing, "missing")] {
        let (status, message) = run(&["report", "--in", text(input), "--out", text(&page)]);
        assert!(status == 2 && message.contains(part), "{message}");
    }
    assert!(listing(folder).is_empty());
}

#[test]
fn classes_can_be_restricted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let list = |name: &str, lines: &[String]| {
        let path = folder.join(name);
        std::fs::write(&path, lines.join("\n")).unwrap();
        path
    };
    let eval = |weights: &Path, more: &[&str]| {
        let args = ["eval", "--weights", text(weights), "--data", "synthetic", "--limit", "40", "--json"];
        json(&[&args[..], more].concat())["clean"].clone()
    };
    let ten = model(folder, 10);
    let all = list("all", &(0..10).map(|class| class.to_string()).collect::<Vec<_>>());
    assert_eq!(eval(&ten, &["--class-subset", text(&all)]), eval(&ten, &[]), "all classes are no restriction");

    // A head of 14 classes, of which 10 in another order are the data's.
    let more = model(folder, 14);
    let some: Vec<String> = (0..10).map(|class| ((class * 3 + 1) % 14).to_string()).collect();
    let restricted = eval(&more, &["--class-subset", text(&list("some", &some))]);
    assert!(restricted["entropy"].as_f64().unwrap() <= 10_f64.ln() + 1e-12, "ten classes at most: {restricted}");
    assert!((restricted["nll"].as_f64().unwrap() - 10_f64.ln()).abs() < 1.0, "an untrained head guesses: {restricted}");

    let refused = |more_flags: &[&str], part: &str| {
        let args = ["eval", "--weights", text(&more), "--data", "synthetic", "--limit", "4"];
        let (status, message) = run(&[&args[..], more_flags].concat());
        assert!(status == 2 && message.contains(part), "{message}");
    };
    refused(&[], "14 classes");
    refused(&["--class-subset", text(&folder.join("some")), "--attack", "fgsm"], "--class-subset");
    refused(&["--class-subset", text(&list("beyond", &["14".to_owned()]))], "0 to 13");
    refused(&["--class-order", text(&list("names", &["circle".to_owned()]))], "another number of classes");
}

#[test]
fn a_training_leaves_its_measures_and_event_files() {
    let folder = tempfile::tempdir().unwrap();
    let (out, events) = (folder.path().join("run"), folder.path().join("events"));
    let flags = "train --data synthetic --limit 32 --batch 16 --epochs 2 --patch 8 --width 32 --heads 2 --depth 1 --eval-limit 8";
    let flags: Vec<&str> = flags.split(' ').chain(["--out", text(&out), "--tensorboard", text(&events)]).collect();
    run_ok(&flags);
    assert_eq!(listing(&events).len(), 1);
    let log = lines(&out.join("metrics.jsonl"));
    let steps: Vec<_> = log.iter().filter(|line| line.get("epoch").is_some()).collect();
    assert_eq!((steps.len(), log.len()), (4, 6), "four steps, then loss and accuracy");
    assert_eq!((&log[4]["value"], &log[5]["value"]), (&steps[3]["loss"], &steps[3]["accuracy"]));
    assert_eq!(log[5]["settings"]["recipe"]["batch"], 16);
    assert_eq!(log[5]["images"], 32);
    let page = folder.path().join("report.html");
    run_ok(&["report", "--in", text(&out), "--out", text(&page)]);
    assert!(std::fs::read_to_string(&page).unwrap().contains(log[5]["weights"].as_str().unwrap()));
}
