//! The listing of a plan.

use std::fmt;

use super::{BufferId, GradAt, Kernel, Launch, Phase, Plan};

impl Plan {
    fn gradient(&self, at: usize, GradAt { mode, buffer, times }: GradAt) -> String {
        let times = if times.is_some() { " times a slope" } else { "" };
        format!("d{at} {} {mode:?}{times}", self.buffers[buffer].spec)
    }

    fn row(&self, launch: &Launch) -> (String, String) {
        let list =
            |ids: &[BufferId]| ids.iter().map(|&id| self.buffers[id].spec.to_string()).collect::<Vec<_>>().join(" ");
        match &launch.kernel {
            Kernel::Forward { inputs, output, .. } => (list(inputs), self.buffers[*output].spec.to_string()),
            Kernel::Backward { d_output, d_inputs, .. } => {
                let wanted: Vec<String> = d_inputs
                    .iter()
                    .enumerate()
                    .filter_map(|(at, grad)| grad.map(|grad| self.gradient(at, grad)))
                    .collect();
                (self.buffers[*d_output].spec.to_string(), wanted.join(", "))
            }
            Kernel::Update { state, inputs, .. } => (list(inputs), list(state)),
            Kernel::Builtin { what, target, .. } => (format!("{what:?}"), self.buffers[*target].spec.to_string()),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.launches.iter().map(|launch| launch.path.len()).max().unwrap_or(0).max(6);
        writeln!(f, "{:>4}  {:8}  {:width$}  {:>9}  {:>9}  reads -> writes", "#", "phase", "launch", "GFLOP", "MB")?;
        for (at, launch) in self.launches.iter().enumerate() {
            let phase = match launch.phase {
                Phase::Forward => "forward",
                Phase::Backward => "backward",
                Phase::Update => "update",
            };
            let (reads, writes) = self.row(launch);
            let peak = if at == self.layout.peak_launch { "   <- peak of memory" } else { "" };
            writeln!(
                f,
                "{at:>4}  {phase:8}  {:width$}  {:>9.4}  {:>9.3}  {reads} -> {writes}{peak}",
                launch.path,
                giga(launch.work.flops),
                mega(launch.work.bytes),
            )?;
        }
        let total = self.work();
        writeln!(
            f,
            "\n{} launches, {:.3} GFLOP, {:.1} MB moved at least",
            self.launches.len(),
            giga(total.flops),
            mega(total.bytes)
        )?;
        let memory = self.memory;
        for (name, bytes) in [
            ("parameters", memory.parameters),
            ("gradients (part of the arena)", memory.gradients),
            ("optimizer", memory.optimizer),
            ("inputs and state", memory.data),
            ("activations, gradients, scratch (arena)", memory.arena),
            ("of it live at the peak", memory.live_peak),
            ("total", memory.total()),
        ] {
            writeln!(f, "{name:40} {:>10.2} MB", mega(u64::try_from(bytes).unwrap_or(u64::MAX)))?;
        }
        if let Some(launch) = self.launches.get(self.layout.peak_launch) {
            writeln!(f, "the peak is set by launch {}: {}", self.layout.peak_launch, launch.path)?;
        }
        for note in self.notes() {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "for reading")]
fn giga(count: u64) -> f64 {
    count as f64 / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "for reading")]
fn mega(count: u64) -> f64 {
    count as f64 / 1e6
}
