//! AutoAttack and the audit, from the command line.

use models::tensor_file::TensorFile;

use crate::common::{json, listing, model, read, run, text};

#[test]
fn autoattack_shows_survivors_per_stage_and_keeps_what_fools() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, out) = (model(folder.path(), 10), folder.path().join("aa"));
    let flags = ["autoattack", "--weights", text(&weights), "--data", "synthetic", "--limit", "40", "--json"];
    let short = ["--steps", "2", "--queries", "3", "--out", text(&out), "--eps", "4/255,1/255"];
    let found = json(&[&flags[..], &short[..]].concat());
    let stages = found["report"]["stages"].as_array().unwrap();
    let names: Vec<_> = stages.iter().map(|stage| stage["name"].as_str().unwrap()).collect();
    let standard = ["apgd-ce", "apgd-t", "fab-t", "square"];
    assert_eq!(names, [standard, standard].concat(), "the smaller radius comes first");
    assert_eq!(stages[0]["config"]["eps"], "1/255");
    let survivors: Vec<_> = stages.iter().map(|stage| stage["survivors"].as_u64().unwrap()).collect();
    assert!(survivors.is_sorted_by(|a, b| a >= b), "{survivors:?}");
    assert!(found["report"]["clean"].as_u64() > Some(0), "nothing was attacked");
    assert_eq!(listing(&out), ["adversarial.safetensors", "autoattack.json", "metrics.jsonl"]);
    let robust = read(&out.join("adversarial.safetensors"), "robust");
    let left = robust.values::<u8>().unwrap().iter().filter(|&&robust| robust == 1).count();
    assert_eq!(u64::try_from(left).unwrap(), *survivors.last().unwrap());
    assert_eq!(found["verified"]["found"], found["verified"]["confirmed"]);

    let near = json(&[&flags[..], &["--minimum-norm", "--steps", "2"]].concat());
    let points = near["curve"]["curves"][0]["points"].as_array().unwrap();
    assert!(points.len() > 1 && points[0][0] == 0.0, "{near}");

    let (status, errors) = run(&[&flags[..], &["--eps", "8"]].concat());
    assert!(status == 2 && errors.contains("8/255"), "{errors}");
}

#[test]
fn the_state_of_another_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, state) = (model(folder.path(), 10), folder.path().join("state"));
    let flags =
        ["autoattack", "--weights", text(&weights), "--data", "synthetic", "--limit", "40", "--attacks", "fgsm,cw"];
    let more = ["--state", text(&state), "--json"];
    let first = json(&[&flags[..], &more[..]].concat());
    assert_eq!(json(&[&flags[..], &more[..]].concat())["report"], first["report"]);
    let (status, errors) = run(&[&flags[..], &more[..], &["--seed", "1"]].concat());
    assert!(status == 2 && errors.contains("another run"), "{errors}");
    assert!(TensorFile::open(state.join("slots.safetensors")).is_ok() || state.join("journal.bin").exists());
}

#[test]
fn an_audit_makes_sixteen_checks_and_fails_without_a_twin() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, out) = (model(folder.path(), 10), folder.path().join("audit"));
    let flags = ["audit", "--weights", text(&weights), "--data", "synthetic", "--limit", "40", "--out", text(&out)];
    let short = ["--steps", "2", "--apgd-steps", "2", "--queries", "3", "--noise-draws", "2"];
    let more = ["--patch-steps", "2", "--restarts", "2"];
    let (status, errors) = run(&[&flags[..], &short[..], &more[..]].concat());
    assert_eq!(status, 1, "{errors}");
    assert!(errors.contains("16/16"), "{errors}");
    let audit = || -> serde_json::Value {
        let report = std::fs::read_to_string(out.join("audit.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&report).unwrap()["audit"]["checks"].clone()
    };
    let checks = audit();
    let numbers: Vec<_> = checks.as_array().unwrap().iter().map(|check| check["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=16).collect::<Vec<_>>());
    assert!(
        checks.as_array().unwrap().iter().all(|check| check["figure"].as_str().is_some_and(|text| !text.is_empty()))
    );
    let transfer = |checks: &serde_json::Value| checks[5].clone();
    assert_eq!(transfer(&checks)["passed"], false);
    assert!(transfer(&checks)["detail"].as_str().unwrap().contains("--twin"));
    run(&[&flags[..], &short[..], &more[..], &["--twin", text(&weights)]].concat());
    assert!(transfer(&audit())["figure"].as_str().unwrap().contains("transfer"), "{}", audit());
}
