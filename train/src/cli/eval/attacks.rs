//! Attacked images.

use std::sync::Arc;

use engine::Result;
use train::attack::AttackConfig;
use train::data::Dataset;
use train::eval::accuracy::{AttackReport, Evaluator};

use super::super::attack_args::{AttackArgs, AttackName, describe};
use super::super::progress::Progress;
use super::super::screen::Screen;

/// The attacks that were named, as the flags say.
pub fn selected(names: &[AttackName], args: &AttackArgs) -> Result<Vec<AttackConfig>> {
    names.iter().map(|&name| args.config(name)).collect()
}

/// Attacks, and shows what each came to.
pub fn measure(
    evaluator: &mut Evaluator,
    data: &Arc<Dataset>,
    attacks: &[AttackConfig],
    screen: &Screen,
) -> Result<Vec<AttackReport>> {
    let mut reports = Vec::new();
    for config in attacks {
        let mut progress = Progress::new("img");
        let mut done = 0;
        let report = evaluator.attacked(data, config, &mut |attacked| {
            done += attacked.samples.count;
            progress.show(&config.name(), done, data.len(), "");
            Ok(())
        })?;
        progress.finish();
        screen.line(describe(&report))?;
        reports.push(report);
    }
    Ok(reports)
}
