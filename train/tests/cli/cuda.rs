//! The binary on the CUDA emulator (tests/cuda_emulator), unchanged: it opens libcuda and libnvrtc as it would a GPU's.

use std::path::Path;
use std::process::Command;

use crate::common::json;

/// The JSON that `vitrum ARGS` prints on the emulator, or `None`, loudly, where that can't be built.
pub fn on_emulator(args: &[&str]) -> Option<serde_json::Value> {
    on_emulator_of(80, args)
}

/// The same for a device of this compute capability.
pub fn on_emulator_of(capability: u32, args: &[&str]) -> Option<serde_json::Value> {
    if Command::new("g++").arg("--version").output().is_err() {
        vitrum_tests::skipped("vitrum on the CUDA emulator: there is no g++; tests/run installs it");
        return None;
    }
    let (status, json, errors) = run_on_emulator(capability, args);
    assert_eq!(status, Some(0), "vitrum {}: {errors}", args.join(" "));
    Some(json)
}

/// Exit status, the JSON on the last line of standard output, and standard error of `vitrum ARGS` on the emulator.
pub fn run_on_emulator(capability: u32, args: &[&str]) -> (Option<i32>, serde_json::Value, String) {
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cuda_emulator/run");
    let folder = std::env::temp_dir().join("vitrum-cuda-emulator");
    let mut command = Command::new(run);
    command.arg(env!("CARGO_BIN_EXE_vitrum")).args(args);
    command.env("VITRUM_CACHE", folder.join("cubins")).env("VITRUM_EMULATOR_DIR", folder);
    command.env("VITRUM_EMULATOR_ARCH", capability.to_string());
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let json = serde_json::from_str(text.trim_end().lines().last().unwrap_or_default()).unwrap_or_default();
    (output.status.code(), json, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_selftest_on_the_emulator_is_full_of_passes() {
    let Some(outcome) = on_emulator(&["selftest", "--device", "cuda", "--json"]) else { return };
    assert_eq!((&outcome["failed"], &outcome["skipped"]), (&0.into(), &0.into()), "{outcome}");
    assert!(outcome["passed"].as_u64().is_some_and(|passed| passed > 300), "{outcome}");
}

#[test]
fn the_tiny_demo_on_the_emulator_gives_the_cpus_table() {
    let folder = tempfile::tempdir().unwrap();
    let report = |name: &str| folder.path().join(name).display().to_string();
    let (ours, theirs) = (report("cuda.html"), report("cpu.html"));
    let demo = |report, device| ["demo", "--tiny", "--json", "--report", report, "--device", device];
    let Some(outcome) = on_emulator(&demo(&ours, "cuda")) else { return };
    let expected = json(&demo(&theirs, "cpu"));
    assert!(std::fs::metadata(&ours).unwrap().len() > 10_000, "the report is written");
    let models = expected["models"].as_array().unwrap();
    assert_eq!(models.len(), 4);
    for (at, expected) in models.iter().enumerate() {
        let model = &outcome["models"][at];
        assert_eq!(model["name"], expected["name"]);
        for figure in ["clean", "pgd20", "corruption"] {
            let (a, b) = (model[figure].as_f64().unwrap(), expected[figure].as_f64().unwrap());
            // Two of the eight test images: a few steps of training differ in rounding only.
            assert!((a - b).abs() <= 0.251, "{}: {figure} {a}, {b} on the CPU", expected["name"]);
        }
    }
}
