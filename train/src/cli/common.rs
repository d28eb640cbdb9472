//! Flags that every subcommand has.

use clap::{Args, ValueEnum};
use engine::device::webgpu::Options;
use engine::{Device, Error, Result};

use super::screen::Screen;

#[derive(Args)]
pub struct Common {
    /// Print one JSON object as the last line of standard output, and no tables
    #[arg(long, global = true, help_heading = "Common options")]
    pub json: bool,
    /// Seed of everything random: equal seeds give equal results
    #[arg(long, global = true, default_value_t = 0, value_name = "N", help_heading = "Common options")]
    pub seed: u64,
    /// Threads to compute with [default: all]
    #[arg(long, global = true, value_name = "N", help_heading = "Common options")]
    pub threads: Option<usize>,
    /// Where to compute
    #[arg(long, global = true, value_enum, default_value_t = DeviceName::Cpu, help_heading = "Common options")]
    pub device: DeviceName,
    /// With --device wgpu: the adapter whose name contains this [default: discrete, else integrated, else software]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Common options")]
    pub adapter: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum DeviceName {
    /// The host's processor
    Cpu,
    /// A GPU, through Vulkan, Metal or DX12
    Wgpu,
}

impl Common {
    /// The device that was asked for.
    pub fn device(&self) -> Result<Device> {
        match self.device {
            DeviceName::Cpu if self.adapter.is_some() => {
                Err(Error::new("--adapter", "the CPU has no adapters").help("add --device wgpu"))
            }
            DeviceName::Cpu => Device::cpu(self.threads),
            DeviceName::Wgpu => Device::wgpu(&Options { adapter: self.adapter.clone(), ..Options::default() }),
        }
    }

    /// Where results are shown.
    pub fn screen(&self) -> Screen {
        Screen::new(self.json)
    }
}
