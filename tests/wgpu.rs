//! The WGSL kernels on this machine's adapter: every op's cases against the f64 oracle, twice: as the adapter is, and as if it
//! were a graphics card without subgroups, which takes the other variants. `tests/run` installs Mesa's software adapter.

#[path = "support/conformance.rs"]
mod conformance;
#[path = "expectations.rs"]
mod expectations;
mod support;

use engine::Device;
use support::gpu;

/// The adapter as it is, and as a graphics card.
fn devices() -> Vec<(&'static str, &'static Device)> {
    let named = [("as it is", gpu::device()), ("as a graphics card", gpu::card())];
    named.into_iter().filter_map(|(name, device)| Some((name, device?))).collect()
}

#[test]
fn every_case_is_within_twice_the_naive_error() {
    conformance::every_case_is_within_twice_the_naive_error(&devices());
}

#[test]
fn every_second_contribution_to_a_gradient_is_added() {
    conformance::every_second_contribution_to_a_gradient_is_added(&devices());
}

#[test]
fn every_gradient_agrees_with_central_differences() {
    conformance::every_gradient_agrees_with_central_differences(&devices());
}

#[test]
fn every_case_gives_the_same_bits_in_every_run() {
    conformance::every_case_gives_the_same_bits_in_every_run(&devices());
}

#[test]
fn ten_steps_of_training_follow_the_cpu() {
    conformance::training_follows_the_cpu(&devices(), 10);
}

#[test]
fn an_attack_takes_the_cpus_path() {
    conformance::an_attack_takes_the_cpus_path(&devices());
}

#[test]
fn checked_replays_find_nothing_and_give_the_same_bits() {
    conformance::checked_replays_find_nothing_and_give_the_same_bits(&devices());
}

#[test]
fn timing_a_phase_replays_the_whole_plan() {
    conformance::timing_a_phase_replays_the_whole_plan(&devices());
    conformance::timing_a_phase_replays_the_whole_plan(&[("cpu", &Device::cpu(None).unwrap())]);
}
