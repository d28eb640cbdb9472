//! The CUDA emulator proves itself: kernels that are broken on purpose are caught, and their healthy twins pass.
//!
//! It stands ready for the CUDA backend; `cuda_emulator/README.md` says what it is.

use std::path::Path;
use std::process::Command;

#[test]
fn every_broken_kernel_is_caught_and_every_healthy_one_passes() {
    if Command::new("g++").arg("--version").output().is_err() {
        vitrum_tests::skipped("the CUDA emulator: there is no g++; tests/run installs it");
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda_emulator");
    let libraries = std::env::temp_dir().join("vitrum-cuda-emulator");
    let output = Command::new("bash").arg(folder.join("prove")).env("VITRUM_EMULATOR_DIR", libraries).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    let last = text.lines().last().unwrap_or_default();
    let passed = last.strip_suffix(" passed, 0 failed").and_then(|count| count.parse::<u32>().ok());
    assert!(passed.is_some_and(|count| count >= 50), "{text}");
    let caught = text.lines().filter(|line| line.ends_with(" caught")).count();
    assert!(caught >= 10, "only {caught} broken kernels were caught:\n{text}");
}
