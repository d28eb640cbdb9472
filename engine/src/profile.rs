//! Measured time per launch, beside the work that it did.

use std::fmt;
use std::time::Duration;

use crate::op::Work;
use crate::plan::Phase;

/// One launch, measured.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Name path of the launch.
    pub path: String,
    /// Forward, backward or update.
    pub phase: Phase,
    /// Measured time.
    pub duration: Duration,
    /// FLOPs and bytes.
    pub work: Work,
}

/// The launches of one replay, measured.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// In order.
    pub timings: Vec<Timing>,
}

impl Profile {
    /// Total measured time.
    pub fn total(&self) -> Duration {
        self.timings.iter().map(|timing| timing.duration).sum()
    }

    /// Time and work summed over launches of the same op and phase, slowest first.
    pub fn by_op(&self) -> Vec<Timing> {
        let mut sums: Vec<Timing> = Vec::new();
        for timing in &self.timings {
            let op = timing.path.rsplit(": ").next().unwrap_or(&timing.path);
            match sums.iter_mut().find(|sum| sum.path == op && sum.phase == timing.phase) {
                Some(sum) => {
                    sum.duration += timing.duration;
                    sum.work.flops += timing.work.flops;
                    sum.work.bytes += timing.work.bytes;
                }
                None => sums.push(Timing { path: op.to_owned(), ..timing.clone() }),
            }
        }
        sums.sort_by_key(|sum| std::cmp::Reverse(sum.duration));
        sums
    }

    /// The launches as a Chrome trace (`chrome://tracing`, Perfetto): one complete event each, microseconds.
    pub fn chrome_trace(&self) -> String {
        let mut start = Duration::ZERO;
        let mut events = Vec::with_capacity(self.timings.len());
        for timing in &self.timings {
            events.push(format!(
                r#"{{"name":{:?},"cat":"{:?}","ph":"X","ts":{},"dur":{},"pid":0,"tid":0}}"#,
                timing.path,
                timing.phase,
                start.as_secs_f64() * 1e6,
                timing.duration.as_secs_f64() * 1e6
            ));
            start += timing.duration;
        }
        format!("[{}]", events.join(",\n"))
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total().as_secs_f64();
        writeln!(f, "{:28} {:9} {:>10} {:>7} {:>10} {:>9}", "op", "phase", "ms", "share", "GFLOP/s", "GB/s")?;
        for sum in self.by_op() {
            let seconds = sum.duration.as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "for reading")]
            let rate = |count: u64| count as f64 / seconds.max(1e-12) / 1e9;
            writeln!(
                f,
                "{:28} {:9} {:>10.3} {:>6.1}% {:>10.1} {:>9.1}",
                sum.path,
                format!("{:?}", sum.phase),
                seconds * 1e3,
                100.0 * seconds / total.max(1e-12),
                rate(sum.work.flops),
                rate(sum.work.bytes),
            )?;
        }
        writeln!(f, "{:28} {:9} {:>10.3}", "total", "", total * 1e3)
    }
}
