//! Flags that every subcommand has.

use clap::{Args, ValueEnum};
use engine::device::cuda;
use engine::device::webgpu::Options;
use engine::{Device, Error, Result};

use super::record::Invocation;
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
    /// With --device wgpu: round the operands of matrix products to f16, sums stay in f32; for cards that are faster so
    #[arg(long, global = true, help_heading = "Common options")]
    pub f16: bool,
    /// With --device cuda: store a network's activations in bf16; arithmetic, losses and the weights that are trained stay f32
    #[arg(long, global = true, help_heading = "Common options")]
    pub bf16: bool,
    /// How the program was called.
    #[arg(skip)]
    pub invocation: Invocation,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum DeviceName {
    /// The host's processor
    Cpu,
    /// An NVIDIA GPU, through its driver and NVRTC
    Cuda,
    /// A GPU, through Vulkan, Metal or DX12
    Wgpu,
}

impl Common {
    /// The first GPU that the driver offers; CUDA_VISIBLE_DEVICES chooses others. VITRUM_CUDA_BLOCKING=1 waits for each launch.
    fn cuda_options(&self) -> cuda::Options {
        let blocking = std::env::var_os("VITRUM_CUDA_BLOCKING").is_some_and(|value| value == "1");
        cuda::Options { ordinal: 0, blocking, bf16: self.bf16 }
    }

    /// The device that was asked for.
    pub fn device(&self) -> Result<Device> {
        match self.device {
            DeviceName::Cpu | DeviceName::Cuda if self.adapter.is_some() => {
                Err(Error::new("--adapter", "only wgpu has adapters").help("add --device wgpu"))
            }
            DeviceName::Cpu | DeviceName::Cuda if self.f16 => {
                Err(Error::new("--f16", "only wgpu takes it").help("add --device wgpu, or leave it out"))
            }
            DeviceName::Cpu | DeviceName::Wgpu if self.bf16 => {
                Err(Error::new("--bf16", "only CUDA stores it").help("add --device cuda, or leave it out"))
            }
            DeviceName::Cpu => Device::cpu(self.threads),
            DeviceName::Cuda => Device::cuda(&self.cuda_options()),
            DeviceName::Wgpu => self.adapter_device(),
        }
    }

    fn adapter_device(&self) -> Result<Device> {
        let options = Options { adapter: self.adapter.clone(), f16: self.f16, ..Options::default() };
        let device = Device::wgpu(&options)?;
        match &device {
            Device::Wgpu(gpu) if self.f16 && !gpu.caps().f16 => Err(Error::new("--f16", "the adapter has no f16")
                .with("adapter", &gpu.report().name)
                .help("leave it out; `vitrum devices` tells which adapter has it")),
            _ => Ok(device),
        }
    }

    /// Where results are shown.
    pub fn screen(&self) -> Screen {
        Screen::new(self.json)
    }
}
