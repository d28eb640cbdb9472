//! The CUDA backend: on the emulator (`cuda_emulator/`), which stands in for libcuda and libnvrtc, and on a GPU where there is
//! one.
//!
//! Both libraries must be there when a process starts. So each test runs this program again for itself alone, with them; what it
//! then runs there is its body. With `VITRUM_CUDA_HERE=gpu`, as in a bundle, bodies run at once.

#[path = "support/conformance.rs"]
mod conformance;
#[path = "support/cuda_device.rs"]
mod cuda_device;
#[path = "expectations.rs"]
mod expectations;
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use engine::device::cuda::Options;
use engine::{DType, Device};
use support::goldens;

/// Set where bodies run: to `emulator` or `gpu`.
const HERE: &str = "VITRUM_CUDA_HERE";

/// Environment of a process.
type Settings<'s> = &'s [(&'s str, &'s str)];

/// Threads, warps and blocks in other orders, buffers at the other end of their pages, copies that land at once, and a GPU of
/// one multiprocessor, on which products take larger tiles and sums fewer parts: what one hides, another shows. The last is for
/// kernels that are compiled for sm_90a alone, whose blocks take several heads or tiles in turn.
const ORDERS: [Settings; 4] = [
    &[],
    &[("VITRUM_EMULATOR_SEED", "1"), ("VITRUM_EMULATOR_COPIES", "early")],
    &[("VITRUM_EMULATOR_SEED", "7"), ("VITRUM_EMULATOR_PROCESSORS", "1")],
    &[("VITRUM_EMULATOR_ARCH", "90"), ("VITRUM_EMULATOR_PROCESSORS", "2")],
];

/// The GPUs whose kernels differ.
const GPUS: [Settings; 2] = [ORDERS[0], ORDERS[3]];

/// Opened by each test: the emulator reports what is not freed when the process ends.
fn device() -> Device {
    Device::cuda(&Options::default()).unwrap_or_else(|error| unreachable!("{error}"))
}

fn has_gpu() -> bool {
    Path::new("/dev/nvidiactl").exists()
}

/// Runs test `name` of this program in another process, and fails with its output if it does. What it printed.
fn again(mut command: Command, name: &str, place: &str, settings: Settings) -> String {
    command.args(["--exact", name, "--nocapture"]).env(HERE, place).envs(settings.iter().copied());
    let output = command.output().unwrap_or_else(|error| unreachable!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    assert!(text.contains("1 passed"), "there is no test {name}: {text}");
    text
}

/// Runs `body` on the emulator, once for each of `runs`, in processes of its own; `name` is the test's. What they printed: nothing
/// in such a process itself, and where the emulator can't be built, which is said loudly.
fn on_the_emulator(name: &str, runs: &[Settings], body: impl FnOnce()) -> Vec<String> {
    match std::env::var(HERE).as_deref() {
        Ok("gpu") => vitrum_tests::skipped(format_args!("{name}: it needs the emulator")),
        Ok(_) => body(),
        Err(_) if Command::new("g++").arg("--version").output().is_err() => {
            vitrum_tests::skipped("the CUDA backend on the emulator: there is no g++; tests/run installs it");
        }
        Err(_) => {
            let run = |settings: &Settings| {
                let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda_emulator/run"));
                command.arg(std::env::current_exe().unwrap_or_else(|error| unreachable!("{error}")));
                let folder = std::env::temp_dir().join("vitrum-cuda-emulator");
                command.env("VITRUM_CACHE", folder.join("cubins")).env("VITRUM_EMULATOR_DIR", folder);
                again(command, name, "emulator", settings)
            };
            return runs.iter().map(run).collect();
        }
    }
    Vec::new()
}

/// As [`on_the_emulator`], and on the GPU where there is one.
fn everywhere(name: &str, runs: &[Settings], body: impl FnOnce()) {
    match std::env::var(HERE).as_deref() {
        Ok("gpu") => return body(),
        Ok(_) => {}
        Err(_) if has_gpu() => {
            let program = std::env::current_exe().unwrap_or_else(|error| unreachable!("{error}"));
            again(Command::new(program), name, "gpu", &[]);
        }
        Err(_) => vitrum_tests::skipped("the CUDA backend on a GPU: there is no NVIDIA GPU"),
    }
    on_the_emulator(name, runs, body);
}

#[test]
fn every_case_is_within_twice_the_naive_error() {
    everywhere("every_case_is_within_twice_the_naive_error", &ORDERS, || {
        conformance::every_case_is_within_twice_the_naive_error(&[("cuda", &device())]);
    });
}

#[test]
fn every_second_contribution_to_a_gradient_is_added() {
    everywhere("every_second_contribution_to_a_gradient_is_added", &GPUS, || {
        conformance::every_second_contribution_to_a_gradient_is_added(&[("cuda", &device())]);
    });
}

#[test]
fn every_gradient_agrees_with_central_differences() {
    everywhere("every_gradient_agrees_with_central_differences", &ORDERS[..1], || {
        conformance::every_gradient_agrees_with_central_differences(&[("cuda", &device())]);
    });
}

#[test]
fn every_case_gives_the_same_bits_in_every_run() {
    everywhere("every_case_gives_the_same_bits_in_every_run", &GPUS, || {
        conformance::every_case_gives_the_same_bits_in_every_run(&[("cuda", &device())]);
    });
}

#[test]
fn five_steps_of_training_follow_the_cpu() {
    everywhere("five_steps_of_training_follow_the_cpu", &ORDERS[..1], || {
        conformance::training_follows_the_cpu(&[("cuda", &device())], 5);
    });
}

#[test]
fn five_steps_of_training_in_bf16_stay_near_the_cpus() {
    everywhere("five_steps_of_training_in_bf16_stay_near_the_cpus", &GPUS, || {
        let options = Options { bf16: true, ..Options::default() };
        conformance::training_stays_near_the_cpus(&Device::cuda(&options).unwrap(), 5);
    });
}

#[test]
fn an_attack_takes_the_cpus_path() {
    everywhere("an_attack_takes_the_cpus_path", &ORDERS[..1], || {
        conformance::an_attack_takes_the_cpus_path(&[("cuda", &device())]);
    });
}

#[test]
fn checked_replays_find_nothing_and_give_the_same_bits() {
    everywhere("checked_replays_find_nothing_and_give_the_same_bits", &ORDERS, || {
        conformance::checked_replays_find_nothing_and_give_the_same_bits(&[("cuda", &device())]);
    });
}

#[test]
fn timing_a_phase_replays_the_whole_plan() {
    everywhere("timing_a_phase_replays_the_whole_plan", &ORDERS[..1], || {
        conformance::timing_a_phase_replays_the_whole_plan(&[("cuda", &device())]);
    });
}

#[test]
fn goldens_of_pytorch() {
    everywhere("goldens_of_pytorch", &ORDERS[..1], || {
        let places = [(device(), DType::F32)];
        goldens::logits_features_and_every_gradient(&places);
        goldens::ten_steps_of_sgd(&places);
        goldens::five_steps_of_pgd(&places);
        goldens::trades_and_mart(&places);
    });
}

#[test]
fn a_compilers_message_names_our_file_and_line() {
    everywhere(
        "a_compilers_message_names_our_file_and_line",
        &ORDERS[..1],
        cuda_device::a_compilers_message_names_our_file_and_line,
    );
}

#[test]
fn launches_beyond_the_devices_limits_and_f64_are_refused() {
    everywhere("launches_beyond_the_devices_limits_and_f64_are_refused", &ORDERS[..1], || {
        cuda_device::launches_beyond_the_devices_limits_are_refused();
        cuda_device::f64_is_refused_with_the_remedy();
    });
}

#[test]
fn a_shape_that_tensor_cores_refuse_is_named_with_the_reason() {
    everywhere(
        "a_shape_that_tensor_cores_refuse_is_named_with_the_reason",
        &GPUS,
        cuda_device::general_kernels_are_named,
    );
}

/// Calls of the driver that a process's output tells of.
fn calls(text: &str) -> BTreeMap<String, i64> {
    let counts = text.lines().filter_map(|line| line.strip_prefix("cuda emulator: ")?.strip_suffix(" calls"));
    let counts = counts.filter_map(|line| line.rsplit_once(": ")).map(|(name, count)| {
        (name.to_owned(), count.parse().unwrap_or_else(|error| unreachable!("{name} {count}: {error}")))
    });
    counts.collect()
}

#[test]
fn a_replay_is_one_launch_of_a_graph_and_nothing_else() {
    let few: Settings = &[("VITRUM_EMULATOR_TRACE", "1"), ("VITRUM_TEST_REPLAYS", "3")];
    let many: Settings = &[("VITRUM_EMULATOR_TRACE", "1"), ("VITRUM_TEST_REPLAYS", "13")];
    let name = "a_replay_is_one_launch_of_a_graph_and_nothing_else";
    let texts = on_the_emulator(name, &[few, many], cuda_device::replays);
    let [few, many] = texts.as_slice() else { return };
    let (few, many) = (calls(few), calls(many));
    let more = many.iter().map(|(name, count)| (name.as_str(), count - few.get(name).copied().unwrap_or(0)));
    // Which context is the thread's is asked before each launch: that costs nanoseconds.
    let more: BTreeMap<&str, i64> = more.filter(|&(name, count)| count != 0 && name != "cuCtxGetCurrent").collect();
    assert_eq!(more, BTreeMap::from([("cuGraphLaunch", 20)]));
}

/// The emulator's findings, which these tests provoke, then don't fail the process.
const REPORTED: Settings = &[("VITRUM_EMULATOR_FINDINGS", "report")];

#[test]
fn an_illegal_access_is_an_error_that_names_the_launch() {
    let name = "an_illegal_access_is_an_error_that_names_the_launch";
    for text in on_the_emulator(name, &[REPORTED], cuda_device::illegal_access) {
        assert!(text.contains("out of bounds"), "the emulator saw it as well: {text}");
    }
}

#[test]
fn a_gpu_lost_while_training_leaves_the_last_checkpoint_whole_and_says_how_to_go_on() {
    let name = "a_gpu_lost_while_training_leaves_the_last_checkpoint_whole_and_says_how_to_go_on";
    on_the_emulator(name, &[REPORTED], cuda_device::lost_while_training);
}

#[test]
fn a_plan_that_does_not_fit_is_refused_before_memory_is_taken() {
    let name = "a_plan_that_does_not_fit_is_refused_before_memory_is_taken";
    on_the_emulator(name, &[&[("VITRUM_EMULATOR_MEMORY", "33554432")]], cuda_device::out_of_memory);
}

#[test]
fn machine_code_is_kept_and_a_damaged_entry_is_made_anew() {
    let folder = std::env::temp_dir().join(format!("vitrum-cubins-{}", std::process::id()));
    let cache = folder.display().to_string();
    let name = "machine_code_is_kept_and_a_damaged_entry_is_made_anew";
    if !on_the_emulator(name, &[&[("VITRUM_CACHE", &cache)]], cuda_device::machine_code).is_empty() {
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn an_old_gpu_and_an_old_driver_are_refused() {
    let gpu: Settings = &[("VITRUM_EMULATOR_ARCH", "75"), ("VITRUM_TEST_OLD", "75")];
    let driver: Settings = &[("VITRUM_EMULATOR_DRIVER", "11080"), ("VITRUM_TEST_OLD", "11080")];
    on_the_emulator("an_old_gpu_and_an_old_driver_are_refused", &[gpu, driver], cuda_device::too_old);
}

#[test]
fn without_a_driver_the_places_that_were_searched_are_listed() {
    if has_gpu() {
        vitrum_tests::skipped("the message of a missing CUDA driver: there is one");
        return;
    }
    let error = Device::cuda(&Options::default()).map(drop).unwrap_err().to_string();
    for part in ["libcuda", "was not found", "searched", "/usr/local/cuda", "install"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}
