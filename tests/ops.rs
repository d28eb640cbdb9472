//! Every op's cases against the f64 oracle, against differences, and against themselves on another thread count.

use engine::Device;
use kernels::cases::{Draw, adding_error, check, gradient_error, reproducible, wide_error};
use proptest::prelude::*;

#[test]
fn every_case_is_within_twice_the_naive_error() {
    let device = Device::cpu(Some(2)).unwrap();
    for op in kernels::registry() {
        assert!(!op.cases.is_empty(), "{} has no cases", op.name);
        for case in &op.cases {
            let verdict = check(case, &device).unwrap();
            assert!(verdict.passes(), "{}: {verdict:?}", op.name);
        }
    }
}

#[test]
fn every_case_in_f64_agrees_with_its_oracle() {
    let device = Device::cpu(Some(2)).unwrap();
    for op in kernels::registry() {
        for case in &op.cases {
            let error = wide_error(case, &device).unwrap();
            assert!(error < 1e-12, "{}: {}: relative error {error:e}", op.name, case.label);
        }
    }
}

#[test]
fn every_second_contribution_to_a_gradient_is_added() {
    let device = Device::cpu(Some(2)).unwrap();
    for op in kernels::registry() {
        for case in &op.cases {
            let error = adding_error(case, &device).unwrap();
            assert!(error < 1e-12, "{}: {}: relative error {error:e}", op.name, case.label);
        }
    }
}

#[test]
fn every_gradient_agrees_with_central_differences() {
    let device = Device::cpu(Some(2)).unwrap();
    for op in kernels::registry() {
        for case in &op.cases {
            let error = gradient_error(case, &device).unwrap();
            assert!(error < 1e-6, "{}: {}: relative error {error:e}", op.name, case.label);
        }
    }
}

#[test]
fn every_case_gives_the_same_bits_on_one_and_two_threads() {
    let (one, two) = (Device::cpu(Some(1)).unwrap(), Device::cpu(Some(2)).unwrap());
    for op in kernels::registry() {
        for case in &op.cases {
            assert!(reproducible(case, &one, &two).unwrap(), "{}: {}", op.name, case.label);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn random_shapes_pass_too(seed in any::<u64>()) {
        let device = Device::cpu(Some(2)).unwrap();
        for op in kernels::registry() {
            let case = (op.random)(&mut Draw::new(seed));
            let verdict = check(&case, &device).unwrap();
            prop_assert!(verdict.passes(), "{}: {verdict:?}", op.name);
            let error = gradient_error(&case, &device).unwrap();
            prop_assert!(error < 1e-6, "{}: {}: relative error {error:e}", op.name, case.label);
        }
    }
}
