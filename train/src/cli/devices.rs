//! `vitrum devices`

use engine::device::cuda;
use engine::device::webgpu::{self, AdapterReport};
use engine::{Device, Result};
use serde::Serialize;

use super::common::Common;

/// List the devices that can compute
///
/// The processor, then NVIDIA's GPUs (or what is missing to use one, and where it was looked for), then every adapter that Vulkan, Metal or DX12 offers, with its limits; an arrow marks the one that
/// --device wgpu takes, and the last column says why.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  vitrum devices\n  vitrum devices --adapter llvmpipe --json")]
pub struct Args {}

#[derive(Serialize)]
struct Processor {
    device: &'static str,
    description: String,
    threads: Option<usize>,
    simd: String,
    /// Bytes; `None` where the system doesn't tell.
    memory: Option<u64>,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let device = Device::cpu(common.threads)?;
        let processor = Processor {
            device: device.name(),
            description: device.description(),
            threads: device.threads(),
            simd: format!("{:?}", kernels::common::simd::level()).to_lowercase(),
            memory: memory(),
        };
        let adapters = webgpu::list(common.adapter.as_deref());
        let screen = common.screen();
        let memory = processor.memory.map_or_else(|| "memory unknown".to_owned(), mebibytes);
        screen.line(format!("{}, {memory}", processor.description))?;
        let cards = cuda::list();
        match &cards {
            Ok(cards) => {
                let mut rows =
                    vec![["CUDA device", "compute capability", "memory", "driver"].map(str::to_owned).to_vec()];
                rows.extend(cards.iter().map(card));
                screen.table(&rows)?;
                if let Err(error) = cuda::compiler() {
                    screen.line(error)?;
                }
            }
            Err(error) => screen.line(error)?,
        }
        if adapters.is_empty() {
            screen.line(webgpu::nothing_found())?;
        } else {
            let heading =
                ["", "wgpu adapter", "kind", "api", "binding", "buffer", "workgroup", "subgroup", "f16", "why"];
            let mut rows = vec![heading.map(str::to_owned).to_vec()];
            rows.extend(adapters.iter().map(row));
            screen.table(&rows)?;
        }
        let adapters: Vec<_> = adapters.iter().map(json).collect();
        let cuda = match cards {
            Ok(cards) => serde_json::json!({ "devices": cards.iter().map(card_json).collect::<Vec<_>>(),
                "nvrtc": cuda::compiler().ok().map(|(major, minor)| format!("{major}.{minor}")) }),
            Err(error) => serde_json::json!({ "devices": [], "problem": error.to_string() }),
        };
        screen.json(&serde_json::json!({ "devices": [processor], "cuda": cuda, "adapters": adapters }))
    }
}

fn card(card: &cuda::Report) -> Vec<String> {
    let (major, minor) = card.driver;
    let memory = u64::try_from(card.memory).map_or_else(|_| String::new(), mebibytes);
    vec![card.name.clone(), card.caps.capability.to_string(), memory, format!("CUDA {major}.{minor}")]
}

fn card_json(card: &cuda::Report) -> serde_json::Value {
    serde_json::json!({
        "name": card.name,
        "compute_capability": card.caps.capability,
        "memory": card.memory,
        "driver": format!("{}.{}", card.driver.0, card.driver.1),
        "multiprocessors": card.caps.processors,
    })
}

fn row(adapter: &AdapterReport) -> Vec<String> {
    vec![
        if adapter.chosen { "->" } else { "" }.to_owned(),
        format!("{} ({})", adapter.name, adapter.driver),
        adapter.kind.to_string(),
        adapter.api.clone(),
        mebibytes(adapter.max_binding),
        mebibytes(adapter.max_buffer),
        format!("{} x {} KiB", adapter.invocations, adapter.workgroup_bytes >> 10),
        adapter.subgroup.map_or_else(|| "none".to_owned(), |size| size.to_string()),
        if adapter.f16 { "yes" } else { "no" }.to_owned(),
        adapter.reason.clone(),
    ]
}

fn json(adapter: &AdapterReport) -> serde_json::Value {
    serde_json::json!({
        "name": adapter.name,
        "kind": adapter.kind.to_string(),
        "api": adapter.api,
        "driver": adapter.driver,
        "max_binding": adapter.max_binding,
        "max_buffer": adapter.max_buffer,
        "workgroup_bytes": adapter.workgroup_bytes,
        "workgroup_invocations": adapter.invocations,
        "subgroup": adapter.subgroup,
        "f16": adapter.f16,
        "timestamps": adapter.timestamps,
        "chosen": adapter.chosen,
        "reason": adapter.reason,
    })
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// The host's memory: what Linux says; other systems have no file for it.
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
