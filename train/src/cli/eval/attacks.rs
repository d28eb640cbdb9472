//! Attacked images.

use std::sync::Arc;

use engine::Result;
use train::attack::AttackConfig;
use train::attack::patch_fool::PatchFoolConfig;
use train::data::Dataset;
use train::eval::accuracy::{AttackReport, Attacked, Evaluator, PatchReport};

use super::super::attack_args::{AttackArgs, AttackName, describe, describe_patch};
use super::super::progress::Progress;
use super::super::screen::Screen;

/// The attacks that were named, as the flags say: those in balls, and those on patches.
pub struct Attacks {
    in_balls: Vec<AttackConfig>,
    on_patches: Vec<PatchFoolConfig>,
}

/// What they came to.
pub struct Reports {
    pub in_balls: Vec<AttackReport>,
    pub on_patches: Vec<PatchReport>,
}

impl Attacks {
    pub fn new(names: &[AttackName], args: &AttackArgs) -> Result<Self> {
        let (patch, ball): (Vec<AttackName>, Vec<_>) = names.iter().partition(|&&name| name == AttackName::PatchFool);
        Ok(Self {
            in_balls: ball.into_iter().map(|name| args.config(name)).collect::<Result<_>>()?,
            on_patches: patch.into_iter().map(|_| args.patch_fool()).collect::<Result<_>>()?,
        })
    }

    /// Attacks, and shows what each came to.
    pub fn measure(&self, evaluator: &mut Evaluator, data: &Arc<Dataset>, screen: &Screen) -> Result<Reports> {
        let mut reports = Reports { in_balls: Vec::new(), on_patches: Vec::new() };
        for config in &self.in_balls {
            let report = watched(&config.name(), data.len(), |each| evaluator.attacked(data, config, each))?;
            screen.line(describe(&report))?;
            reports.in_balls.push(report);
        }
        for config in &self.on_patches {
            let report = watched(&config.name(), data.len(), |each| evaluator.patched(data, config, each))?;
            screen.line(describe_patch(&report))?;
            reports.on_patches.push(report);
        }
        Ok(reports)
    }
}

/// Runs `attack`, which tells of each batch, with a bar of progress.
fn watched<R>(
    name: &str,
    total: usize,
    attack: impl FnOnce(&mut dyn FnMut(&Attacked) -> Result<()>) -> Result<R>,
) -> Result<R> {
    let mut progress = Progress::new("img");
    let mut done = 0;
    let report = attack(&mut |attacked| {
        done += attacked.samples.count;
        progress.show(name, done, total, "");
        Ok(())
    })?;
    progress.finish();
    Ok(report)
}
