//! Known deviations of adapters, each with its reason. A case that is listed must fail, and one that is not must pass: an
//! unexpected pass fails the run too, so that the list stays true.

/// Adapters whose name contains `adapter` fail cases of `op` whose label contains `case`.
#[derive(Debug)]
pub struct Expectation {
    /// Part of the adapter's name.
    pub adapter: &'static str,
    /// The op.
    pub op: &'static str,
    /// Part of the case's label.
    pub case: &'static str,
    /// Why, and since which driver.
    pub reason: &'static str,
}

/// What is known to fail. Nothing is.
pub const EXPECTED_FAILURES: &[Expectation] = &[];

/// Judges one case: the problem to report, `None` where all is as expected. `failure` says how the case failed, if it did.
pub fn judge(
    expectations: &[Expectation],
    adapter: &str,
    op: &str,
    case: &str,
    failure: Option<String>,
) -> Option<String> {
    let known = expectations
        .iter()
        .find(|known| adapter.contains(known.adapter) && known.op == op && case.contains(known.case));
    match (known, failure) {
        (None, None) | (Some(_), Some(_)) => None,
        (None, Some(failure)) => Some(format!("{op}: {case}: {failure}")),
        (Some(known), None) => Some(format!("{op}: {case} passes: take it off the list ({})", known.reason)),
    }
}

#[test]
fn a_known_failure_is_expected_and_a_known_failure_that_passes_is_not() {
    let known = [Expectation { adapter: "llvm", op: "linear", case: "m3", reason: "because" }];
    let judge =
        |adapter, op, failure: Option<&str>| judge(&known, adapter, op, "linear m3", failure.map(str::to_owned));
    assert_eq!(judge("llvmpipe", "linear", Some("error")), None);
    assert!(judge("llvmpipe", "linear", None).is_some_and(|text| text.contains("because")));
    assert!(judge("Radeon", "linear", Some("error")).is_some_and(|text| text.contains("error")));
    assert_eq!(judge("Radeon", "linear", None), None);
    assert!(judge("llvmpipe", "pool", Some("error")).is_some());
}
