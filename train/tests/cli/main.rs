//! The binary `vitrum`, run as users run it. In this package, because Cargo builds the binary for its own package's tests only.

#![expect(clippy::unwrap_used, reason = "the helpers are part of the tests")]

mod bad_input;
mod bench;
mod common;
mod corruptions;
mod cuda;
mod lab;
mod methods;
mod nullspace;
mod privacy;
mod randomised;
mod results;
mod resume;
mod robustness;
mod warnings;

use common::{json, run, run_ok};

/// Names of all subcommands, as `vitrum --help` lists them.
fn subcommands() -> Vec<String> {
    let help = run_ok(&["--help"]);
    let listed = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names = listed.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    names.filter(|&name| name != "help").map(str::to_owned).collect()
}

#[test]
fn the_help_of_every_subcommand_shows_an_example() {
    let names = subcommands();
    for expected in [
        "demo",
        "train",
        "federated",
        "eval",
        "attack",
        "autoattack",
        "audit",
        "corrupt",
        "randomised",
        "nullspace",
        "privacy",
        "report",
        "predict",
        "gradients",
        "plan",
        "selftest",
        "bench",
        "devices",
        "convert",
    ] {
        assert!(names.iter().any(|name| name == expected), "{expected} is not among {names:?}");
    }
    for name in &names {
        let help = run_ok(&[name, "--help"]);
        assert!(help.contains("Example:") && help.contains(&format!("vitrum {name}")), "{name}: {help}");
        for flag in ["--json", "--seed", "--threads", "--device"] {
            assert!(help.contains(flag), "{name} has no {flag}");
        }
    }
}

#[test]
fn devices_lists_the_processor() {
    let found = json(&["devices", "--json", "--threads", "2"]);
    let entry = &found["devices"][0];
    assert_eq!((entry["device"].as_str(), entry["threads"].as_u64()), (Some("cpu"), Some(2)));
}

#[test]
fn selftest_counts_the_cases_of_an_op() {
    let found = json(&["selftest", "--filter", "residual", "--json", "--threads", "1"]);
    assert_eq!(found["device"], "cpu");
    assert!(found["passed"].as_u64().unwrap() > 0, "{found}");
    assert_eq!((found["failed"].as_u64(), found["skipped"].as_u64()), (Some(0), Some(0)));
    assert!(run(&["selftest", "--filter", "residul"]).1.contains("residual"), "the error names the operations");
}

#[test]
fn bench_measures_forward_and_backward_and_answers_the_peers_protocol() {
    let found = json(&["bench", "--ops", "--filter", "residual", "--time", "0", "--json", "--threads", "1"]);
    let passes = found["ops"]["passes"].as_array().unwrap();
    assert!(
        passes.iter().any(|pass| pass["pass"] == "forward") && passes.iter().any(|pass| pass["pass"] == "backward")
    );
    let positive = |value: &serde_json::Value| value.as_f64().is_some_and(|value| value > 0.0);
    assert!(passes.iter().all(|pass| positive(&pass["ms"]) && positive(&pass["gbs"])), "{found}");
    assert!(positive(&found["ops"]["peak_gflops"]) && positive(&found["ops"]["copy_gbs"]));

    let answer = common::run_with_input(&["bench", "--steps", "--once"], "no_such_bench\n\n");
    let answer: serde_json::Value = serde_json::from_str(answer.trim()).unwrap();
    assert_eq!((answer["bench"].as_str(), answer["peer"].as_str()), (Some("no_such_bench"), Some("vitrum")));
    assert!(answer["error"].as_str().unwrap().contains("sgemm_2048"));
}

#[test]
fn plans_grow_from_inference_to_training() {
    let total = |step: &str| {
        let found = json(&["plan", "--model", "test_vit", "--batch", "4", "--step", step, "--json"]);
        let memory = &found["memory"];
        let parts = ["parameters", "optimizer", "data", "arena"].map(|part| memory[part].as_u64().unwrap());
        assert_eq!(parts.iter().sum::<u64>(), memory["total"].as_u64().unwrap());
        (found["flops"].as_u64().unwrap(), memory["total"].as_u64().unwrap())
    };
    let (inference, gradient, training) = (total("inference"), total("gradient"), total("training"));
    assert!(inference.0 < gradient.0 && gradient.0 < training.0, "{inference:?} {gradient:?} {training:?}");
    assert!(inference.1 < gradient.1 && gradient.1 < training.1, "{inference:?} {gradient:?} {training:?}");
    let listing = run_ok(&["plan", "--model", "test_vit"]);
    assert!(listing.contains("blocks.5.attn: attention") && listing.contains("the peak is set by"), "{listing}");
}
