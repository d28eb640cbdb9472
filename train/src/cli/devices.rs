//! `vitrum devices`

use engine::{Device, Result};
use serde::Serialize;

use super::common::Common;

/// List the devices that can compute
#[derive(clap::Args)]
#[command(after_help = "Example:\n  vitrum devices\n  vitrum devices --json")]
pub struct Args {}

#[derive(Serialize)]
struct Entry {
    device: &'static str,
    description: String,
    threads: usize,
    simd: String,
    /// Bytes; `None` where the system doesn't tell.
    memory: Option<u64>,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let device = Device::cpu(common.threads)?;
        let entries = [Entry {
            device: device.name(),
            description: device.description(),
            threads: device.threads().unwrap_or(1),
            simd: format!("{:?}", kernels::common::simd::level()).to_lowercase(),
            memory: memory(),
        }];
        let screen = common.screen();
        let mut rows = vec![["device", "threads", "simd", "memory", "description"].map(str::to_owned).to_vec()];
        for entry in &entries {
            let memory = entry.memory.map_or_else(|| "unknown".to_owned(), |bytes| format!("{} MiB", bytes >> 20));
            let threads = entry.threads.to_string();
            rows.push(vec![entry.device.to_owned(), threads, entry.simd.clone(), memory, entry.description.clone()]);
        }
        screen.table(&rows)?;
        screen.json(&serde_json::json!({ "devices": entries }))
    }
}

/// The host's memory: what Linux says; other systems have no file for it.
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
