//! Progress: a bar with rate and remaining time on a terminal, plain lines now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::screen;

/// Time between two plain lines.
const QUIET: Duration = Duration::from_secs(10);

/// Progress of a command through its stages.
pub struct Progress {
    bar: Option<ProgressBar>,
    unit: &'static str,
    stage: String,
    since: Instant,
    said: Instant,
}

impl Progress {
    /// Progress counted in `unit`, on standard error.
    pub fn new(unit: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            let template = format!("{{msg:36}} [{{bar:32}}] {{pos}}/{{len}} {unit}, {{per_sec}}, {{eta}} left");
            match ProgressStyle::with_template(&template) {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        let now = Instant::now();
        Self { bar, unit, stage: String::new(), since: now, said: now }
    }

    /// Shows that `done` of `of` units of `stage` are done, and a remark that changes.
    pub fn show(&mut self, stage: &str, done: usize, of: usize, remark: &str) {
        let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let now = Instant::now();
        let fresh = self.stage != stage;
        if fresh {
            stage.clone_into(&mut self.stage);
            self.since = now;
        }
        match &self.bar {
            Some(bar) => {
                if fresh {
                    bar.reset();
                }
                bar.set_message(format!("{stage} {remark}"));
                bar.set_length(wide(of));
                bar.set_position(wide(done));
            }
            None if fresh || done == of || now.duration_since(self.said) > QUIET => {
                self.said = now;
                #[expect(clippy::cast_precision_loss, reason = "for reading")]
                let rate = done as f64 / now.duration_since(self.since).as_secs_f64().max(1e-9);
                let rate = if fresh { String::new() } else { format!(", {rate:.1} {}/s", self.unit) };
                screen::note(format_args!("{stage}: {done}/{of}{rate} {remark}"));
            }
            None => {}
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
