//! `vitrum selftest`

use std::process::ExitCode;

use engine::{Device, Error, Result};
use kernels::cases::{Case, IN_BF16, OpCases, check, gradient_bound, gradient_error, in_bf16};
use serde::Serialize;

use super::common::Common;

/// Check every operation on this device against a plain f64 implementation
///
/// Each case runs in f32 and may err twice as much as a naive f32 implementation does; gradients are compared with central
/// differences, in f64 on the CPU and in f32 on a GPU. Exit status 1 if anything fails.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  vitrum selftest\n  vitrum selftest --filter attention --json")]
pub struct Args {
    /// Only operations whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

/// What one op came to.
#[derive(Serialize)]
struct Row {
    op: &'static str,
    passed: usize,
    failed: usize,
    skipped: usize,
    /// Largest error over its bound: at most 1 passes.
    worst: f64,
    /// Largest relative error of a gradient; `None` where no case has one to check.
    gradient: Option<f64>,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<ExitCode> {
        let device = common.device()?;
        let screen = common.screen();
        let ops = matching(self.filter.as_deref())?;
        screen.line(device.description())?;
        let mut problems = Vec::new();
        let rows: Vec<Row> = ops.iter().map(|op| row(op, &device, &mut problems)).collect();
        let mut table =
            vec![["op", "passed", "failed", "skipped", "error / bound", "gradient error"].map(str::to_owned).to_vec()];
        for row in &rows {
            let gradient = row.gradient.map_or_else(String::new, |error| format!("{error:.1e}"));
            let counts = [row.passed, row.failed, row.skipped].map(|count| count.to_string());
            let [passed, failed, skipped] = counts;
            table.push(vec![row.op.to_owned(), passed, failed, skipped, format!("{:.3}", row.worst), gradient]);
        }
        screen.table(&table)?;
        for problem in &problems {
            super::screen::note(format_args!("FAILED: {problem}"));
        }
        let sum = |count: fn(&Row) -> usize| rows.iter().map(count).sum::<usize>();
        let (passed, failed, skipped) = (sum(|row| row.passed), sum(|row| row.failed), sum(|row| row.skipped));
        screen.line(format_args!("{passed} passed, {failed} failed, {skipped} skipped"))?;
        screen.json(&serde_json::json!({
            "device": device.name(),
            "adapter": device.description(),
            "passed": passed,
            "failed": failed,
            "skipped": skipped,
            "failures": problems,
            "ops": rows,
        }))?;
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

/// The ops whose name contains `filter`.
///
/// # Errors
/// There is none.
pub fn matching(filter: Option<&str>) -> Result<Vec<OpCases>> {
    let mut ops = kernels::registry();
    let names: Vec<&str> = ops.iter().map(|op| op.name).collect();
    if let Some(filter) = filter {
        ops.retain(|op| op.name.contains(filter));
        if ops.is_empty() {
            return Err(Error::new("--filter", "no operation has such a name")
                .with("given", filter)
                .with("operations", names.join(", ")));
        }
    }
    Ok(ops)
}

fn row(op: &OpCases, device: &Device, problems: &mut Vec<String>) -> Row {
    let mut row = Row { op: op.name, passed: 0, failed: 0, skipped: 0, worst: 0.0, gradient: None };
    let stored = op.cases.iter().filter(|_| matches!(device, Device::Cuda(_)) && IN_BF16.contains(&op.name));
    let stored: Vec<Case> = stored.filter_map(in_bf16).collect();
    for case in op.cases.iter().chain(&stored) {
        if !device.computes(case.storage) {
            row.skipped += 1;
            continue;
        }
        match verdict(case, device, &mut row) {
            Ok(()) => row.passed += 1,
            Err(problem) => {
                row.failed += 1;
                problems.push(format!("{}: {}: {problem}", op.name, case.label));
            }
        }
    }
    row
}

/// Values, then gradients where the case has some that differences can check.
fn verdict(case: &Case, device: &Device, row: &mut Row) -> std::result::Result<(), String> {
    let found = check(case, device).map_err(|error| error.to_string())?;
    row.worst = row.worst.max(found.worst);
    if !found.passes() {
        return Err(format!(
            "{}: error {:e}, naive f32 error {:e}, {:.2} times the bound",
            found.at, found.error, found.naive_error, found.worst
        ));
    }
    if !case.differentiable {
        return Ok(());
    }
    let error = gradient_error(case, device).map_err(|error| error.to_string())?;
    row.gradient = Some(row.gradient.map_or(error, |most| most.max(error)));
    // Not `error >= bound`: a NaN must fail.
    if error < gradient_bound(device).1 { Ok(()) } else { Err(format!("gradient: relative error {error:e}")) }
}
