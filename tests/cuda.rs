//! The CUDA backend: on the emulator (`cuda_emulator/`), which stands in for libcuda and libnvrtc, and on a GPU where there is
//! one.
//!
//! The tests that compute are ignored, because both libraries must be there when the process starts: the others run this
//! program again, with them.

#[path = "support/conformance.rs"]
mod conformance;
#[path = "support/cuda_device.rs"]
mod cuda_device;
#[path = "expectations.rs"]
mod expectations;
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use engine::device::cuda::Options;
use engine::{DType, Device};
use support::goldens;

/// Opened by each test: the emulator reports what is not freed when the process ends.
fn device() -> Device {
    Device::cuda(&Options::default()).unwrap_or_else(|error| unreachable!("run through on_the_emulator: {error}"))
}

#[test]
#[ignore = "run by on_the_emulator"]
fn every_case_is_within_twice_the_naive_error() {
    conformance::every_case_is_within_twice_the_naive_error(&[("cuda", &device())]);
}

#[test]
#[ignore = "run by on_the_emulator"]
fn every_second_contribution_to_a_gradient_is_added() {
    conformance::every_second_contribution_to_a_gradient_is_added(&[("cuda", &device())]);
}

#[test]
#[ignore = "run by on_the_emulator"]
fn every_gradient_agrees_with_central_differences() {
    conformance::every_gradient_agrees_with_central_differences(&[("cuda", &device())]);
}

#[test]
#[ignore = "run by on_the_emulator"]
fn every_case_gives_the_same_bits_in_every_run() {
    conformance::every_case_gives_the_same_bits_in_every_run(&[("cuda", &device())]);
}

#[test]
#[ignore = "run by on_the_emulator"]
fn five_steps_of_training_follow_the_cpu() {
    conformance::training_follows_the_cpu(&[("cuda", &device())], 5);
}

#[test]
#[ignore = "run by on_the_emulator"]
fn an_attack_takes_the_cpus_path() {
    conformance::an_attack_takes_the_cpus_path(&[("cuda", &device())]);
}

#[test]
#[ignore = "run by on_the_emulator"]
fn checked_replays_find_nothing_and_give_the_same_bits() {
    conformance::checked_replays_find_nothing_and_give_the_same_bits(&[("cuda", &device())]);
}

#[test]
#[ignore = "run by on_the_emulator"]
fn five_steps_of_training_in_bf16_stay_near_the_cpus() {
    let device = Device::cuda(&Options { bf16: true, ..Options::default() }).unwrap();
    conformance::training_stays_near_the_cpus(&device, 5);
}

#[test]
#[ignore = "run by on_the_emulator"]
fn logits_features_and_every_gradient() {
    goldens::logits_features_and_every_gradient(&[(device(), DType::F32)]);
}

#[test]
#[ignore = "run by on_the_emulator"]
fn ten_steps_of_sgd() {
    goldens::ten_steps_of_sgd(&[(device(), DType::F32)]);
}

#[test]
#[ignore = "run by on_the_emulator"]
fn five_steps_of_pgd() {
    goldens::five_steps_of_pgd(&[(device(), DType::F32)]);
}

/// The folder of the emulator.
fn emulator() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda_emulator")
}

/// This program on the emulator, or `None`, loudly, where that can't be built.
fn on_emulator() -> Option<Command> {
    if Command::new("g++").arg("--version").output().is_err() {
        vitrum_tests::skipped("the CUDA backend on the emulator: there is no g++; tests/run installs it");
        return None;
    }
    let mut command = Command::new(emulator().join("run"));
    command.arg(std::env::current_exe().unwrap_or_else(|error| unreachable!("{error}")));
    let folder = std::env::temp_dir().join("vitrum-cuda-emulator");
    command.env("VITRUM_CACHE", folder.join("cubins")).env("VITRUM_EMULATOR_DIR", folder);
    Some(command)
}

/// Runs ignored tests and fails with their output if any does. What they printed.
fn passes(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| unreachable!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    assert!(!text.contains(" 0 passed"), "no test ran: {text}");
    for skipped in text.lines().filter_map(|line| line.split("SKIPPED: ").nth(1)) {
        vitrum_tests::skipped(skipped);
    }
    text
}

#[test]
fn on_the_emulator() {
    let Some(mut command) = on_emulator() else { return };
    passes(command.args(["--ignored", "--skip", "alone_"]));
}

/// Threads, warps and blocks in other orders, buffers at the other end of their pages, copies that land at once, and a GPU of
/// one multiprocessor, on which products take larger tiles and sums fewer parts: what one hides, another shows.
#[test]
fn on_the_emulator_in_other_orders() {
    for (seed, copies, processors) in [("1", "early", "4"), ("7", "late", "1")] {
        let Some(mut command) = on_emulator() else { return };
        command.env("VITRUM_EMULATOR_SEED", seed).env("VITRUM_EMULATOR_COPIES", copies);
        command.env("VITRUM_EMULATOR_PROCESSORS", processors);
        passes(command.args(["--ignored", "every_case_is_within", "checked_replays_find_nothing"]));
    }
}

#[test]
fn on_a_gpu() {
    if !Path::new("/dev/nvidiactl").exists() {
        vitrum_tests::skipped("the CUDA backend on a GPU: there is no NVIDIA GPU");
        return;
    }
    let program = std::env::current_exe().unwrap();
    passes(Command::new(program).args(["--ignored", "--skip", "alone_"]));
}

/// Calls of the driver in a process that replays a training step and an attack step so many times.
fn calls(replays: u32) -> Option<BTreeMap<String, i64>> {
    let mut command = on_emulator()?;
    command.env("VITRUM_EMULATOR_TRACE", "1").env("VITRUM_TEST_REPLAYS", replays.to_string());
    let text = passes(command.args(["--ignored", "--exact", "cuda_device::alone_replays"]));
    let counts = text.lines().filter_map(|line| line.strip_prefix("cuda emulator: ")?.strip_suffix(" calls"));
    let counts = counts.filter_map(|line| line.rsplit_once(": ")).map(|(name, count)| {
        (name.to_owned(), count.parse().unwrap_or_else(|error| unreachable!("{name} {count}: {error}")))
    });
    Some(counts.collect())
}

#[test]
fn a_replay_is_one_launch_of_a_graph_and_nothing_else() {
    let (Some(few), Some(many)) = (calls(3), calls(13)) else { return };
    let more = many.iter().map(|(name, count)| (name.as_str(), count - few.get(name).copied().unwrap_or(0)));
    // Which context is the thread's is asked before each launch: that costs nanoseconds.
    let more: BTreeMap<&str, i64> = more.filter(|&(name, count)| count != 0 && name != "cuCtxGetCurrent").collect();
    assert_eq!(more, BTreeMap::from([("cuGraphLaunch", 20)]));
}

#[test]
fn an_illegal_access_is_an_error_that_names_the_launch() {
    let Some(mut command) = on_emulator() else { return };
    command.env("VITRUM_EMULATOR_FINDINGS", "report");
    let text = passes(command.args(["--ignored", "--exact", "cuda_device::alone_illegal_access", "--nocapture"]));
    assert!(text.contains("out of bounds"), "the emulator saw it as well: {text}");
}

#[test]
fn a_gpu_lost_while_training_leaves_the_last_checkpoint_whole_and_says_how_to_go_on() {
    let Some(mut command) = on_emulator() else { return };
    command.env("VITRUM_EMULATOR_FINDINGS", "report");
    passes(command.args(["--ignored", "--exact", "cuda_device::alone_lost_while_training"]));
}

#[test]
fn a_plan_that_does_not_fit_is_refused_before_memory_is_taken() {
    let Some(mut command) = on_emulator() else { return };
    command.env("VITRUM_EMULATOR_MEMORY", (32 << 20).to_string());
    passes(command.args(["--ignored", "--exact", "cuda_device::alone_out_of_memory"]));
}

#[test]
fn machine_code_is_kept_and_a_damaged_entry_is_made_anew() {
    let Some(mut command) = on_emulator() else { return };
    let folder = std::env::temp_dir().join(format!("vitrum-cubins-{}", std::process::id()));
    command.env("VITRUM_CACHE", &folder);
    passes(command.args(["--ignored", "--exact", "cuda_device::alone_machine_code"]));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_old_gpu_and_an_old_driver_are_refused() {
    for (setting, value) in [("VITRUM_EMULATOR_ARCH", "75"), ("VITRUM_EMULATOR_DRIVER", "11080")] {
        let Some(mut command) = on_emulator() else { return };
        command.env(setting, value).env("VITRUM_TEST_OLD", value);
        passes(command.args(["--ignored", "--exact", "cuda_device::alone_too_old"]));
    }
}

#[test]
fn without_a_driver_the_places_that_were_searched_are_listed() {
    if Path::new("/dev/nvidiactl").exists() {
        vitrum_tests::skipped("the message of a missing CUDA driver: there is one");
        return;
    }
    let error = Device::cuda(&Options::default()).map(drop).unwrap_err().to_string();
    for part in ["libcuda", "was not found", "searched", "/usr/local/cuda", "install"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}
