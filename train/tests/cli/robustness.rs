//! AutoAttack and the audit, from the command line.

use std::path::Path;
use std::process::Command;

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

/// No file may grow beyond some 20 KiB, room for one record of a fooled sample and a part of the next: a write beyond fails, as on a full
/// disk, or kills the process in its midst.
#[cfg(unix)]
fn with_small_files(kills: bool, args: &[&str]) -> (Option<i32>, String) {
    let shell = if kills { "ulimit -f 40; exec \"$@\"" } else { "trap '' 25; ulimit -f 40; exec \"$@\"" };
    let binary = Path::new(env!("CARGO_BIN_EXE_vitrum"));
    let output = Command::new("sh").args(["-c", shell, "sh"]).arg(binary).args(args).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
#[cfg(unix)]
fn a_full_disk_and_a_kill_in_the_midst_of_a_write_lose_no_more_than_was_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let weights = model(folder.path(), 10);
    let flags = ["autoattack", "--weights", text(&weights), "--data", "synthetic", "--limit", "40", "--batch", "2"];
    let attacks = ["--attacks", "fgsm,cw", "--eps", "32/255", "--json"];
    let report = |state: &Path| json(&[&flags[..], &attacks[..], &["--state", text(state)]].concat())["report"].clone();
    let whole = folder.path().join("whole");
    let undisturbed = report(&whole);
    let length = |state: &Path| std::fs::metadata(state.join("journal.bin")).unwrap().len();
    for kills in [false, true] {
        let state = folder.path().join(format!("state-{kills}"));
        let (status, errors) =
            with_small_files(kills, &[&flags[..], &attacks[..], &["--state", text(&state)]].concat());
        if kills {
            assert_eq!(status, None, "no signal ended it: {errors}");
        } else {
            assert!(status == Some(2) && errors.contains("journal.bin"), "{status:?} {errors}");
        }
        // What was on disk is used: it is not empty, and ends within a record.
        assert!(length(&state) > 12_288 && length(&state) < length(&whole), "{}", length(&state));
        assert_eq!(report(&state), undisturbed);
        let journal = |state: &Path| std::fs::read(state.join("journal.bin")).unwrap();
        assert!(journal(&state) == journal(&whole), "the journals differ");
    }
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
