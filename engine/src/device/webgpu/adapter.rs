//! Which adapters there are, and which one is taken.

use std::fmt;

use wgpu::{Backends, DeviceType, Features};

use crate::error::{Error, Result};

/// What an adapter is. Kernels choose tile shapes by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AdapterKind {
    /// A graphics card.
    Discrete,
    /// A graphics unit that shares the host's memory, also a virtual one.
    Integrated,
    /// The host's processor, by a software driver.
    Software,
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Software => "software",
        })
    }
}

/// What an adapter tells of itself.
#[derive(Clone, Debug)]
pub struct AdapterReport {
    /// Name, as the driver gives it.
    pub name: String,
    /// Vulkan, Metal or DX12.
    pub api: String,
    /// Driver and its version.
    pub driver: String,
    /// What it is.
    pub kind: AdapterKind,
    /// Most bytes of one binding.
    pub max_binding: u64,
    /// Most bytes of one buffer.
    pub max_buffer: u64,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Most invocations of a workgroup.
    pub invocations: u32,
    /// Invocations of a subgroup, where subgroup operations are offered and that number is fixed.
    pub subgroup: Option<u32>,
    /// Whether shaders compute in f16.
    pub f16: bool,
    /// Whether launches can be timed on the device.
    pub timestamps: bool,
    /// Whether it is the one that would be taken.
    pub chosen: bool,
    /// Why it is taken, or not.
    pub reason: String,
}

impl AdapterReport {
    fn of(adapter: &wgpu::Adapter) -> Self {
        let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
        let fixed = info.subgroup_min_size == info.subgroup_max_size;
        Self {
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            api: format!("{:?}", info.backend),
            kind: kind(info.device_type),
            name: info.name,
            max_binding: limits.max_storage_buffer_binding_size,
            max_buffer: limits.max_buffer_size,
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
            invocations: limits.max_compute_invocations_per_workgroup,
            subgroup: (features.contains(Features::SUBGROUP) && fixed).then_some(info.subgroup_min_size),
            f16: features.contains(Features::SHADER_F16),
            timestamps: features.contains(Features::TIMESTAMP_QUERY),
            chosen: false,
            reason: String::new(),
        }
    }
}

fn kind(device: DeviceType) -> AdapterKind {
    match device {
        DeviceType::DiscreteGpu => AdapterKind::Discrete,
        DeviceType::IntegratedGpu | DeviceType::VirtualGpu | DeviceType::Other => AdapterKind::Integrated,
        DeviceType::Cpu => AdapterKind::Software,
    }
}

fn enumerate() -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = Backends::VULKAN | Backends::METAL | Backends::DX12;
    let instance = wgpu::Instance::new(descriptor);
    pollster::block_on(instance.enumerate_adapters(Backends::all()))
}

/// The index of the adapter to take among `kinds_and_names`, and why: the first whose name holds `wanted`; without it the
/// first discrete, else integrated, else software one.
fn select(found: &[AdapterReport], wanted: Option<&str>) -> Option<(usize, String)> {
    match wanted {
        Some(wanted) => {
            let matches = |report: &AdapterReport| report.name.to_lowercase().contains(&wanted.to_lowercase());
            Some((found.iter().position(matches)?, format!("its name contains {wanted:?}")))
        }
        None => {
            let (index, best) = found.iter().enumerate().min_by_key(|(_, report)| report.kind)?;
            Some((index, format!("the first {} adapter; discrete before integrated before software", best.kind)))
        }
    }
}

/// Every adapter, and which one `wanted` would take.
pub fn list(wanted: Option<&str>) -> Vec<AdapterReport> {
    let mut reports: Vec<AdapterReport> = enumerate().iter().map(AdapterReport::of).collect();
    let chosen = select(&reports, wanted);
    for (index, report) in reports.iter_mut().enumerate() {
        match &chosen {
            Some((at, reason)) if *at == index => {
                report.chosen = true;
                report.reason.clone_from(reason);
            }
            _ => "another one is preferred: --adapter NAME takes it".clone_into(&mut report.reason),
        }
    }
    reports
}

/// The adapter that `wanted` names, or the best one.
///
/// # Errors
/// There is none; the message says what was tried and how to get one.
pub(super) fn choose(wanted: Option<&str>) -> Result<(wgpu::Adapter, AdapterReport)> {
    let mut adapters = enumerate();
    let reports: Vec<AdapterReport> = adapters.iter().map(AdapterReport::of).collect();
    let names: Vec<&str> = reports.iter().map(|report| report.name.as_str()).collect();
    match select(&reports, wanted) {
        Some((index, reason)) => {
            let report = AdapterReport { chosen: true, reason, ..reports[index].clone() };
            Ok((adapters.swap_remove(index), report))
        }
        None if reports.is_empty() => Err(nothing_found()),
        None => Err(Error::new("--adapter", "no adapter has such a name")
            .with("given", wanted.unwrap_or_default())
            .with("adapters", names.join(", "))
            .help("a part of one of these names, in upper or lower case")),
    }
}

/// Why `--device wgpu` can't be had: what was tried, and how to get an adapter.
pub fn nothing_found() -> Error {
    let error = Error::new("wgpu", "no GPU adapter was found");
    #[cfg(target_os = "linux")]
    {
        let folders = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];
        let drivers = |folder: &str| {
            let names = std::fs::read_dir(folder).map(|entries| {
                let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
                names.collect::<Vec<_>>().join(", ")
            });
            names.unwrap_or_else(|_| "no such folder".to_owned())
        };
        let error = folders.iter().fold(error.with("tried", "Vulkan (libvulkan.so.1)"), |error, folder| {
            error.with(format!("drivers in {folder}"), drivers(folder))
        });
        let variable = std::env::var("VK_DRIVER_FILES").or_else(|_| std::env::var("VK_ICD_FILENAMES"));
        error
            .with("VK_DRIVER_FILES", variable.unwrap_or_else(|_| "not set".to_owned()))
            .help("install the GPU's Vulkan driver; for a software one: apt-get install mesa-vulkan-drivers libvulkan1")
    }
    #[cfg(not(target_os = "linux"))]
    error.with("tried", "Vulkan, Metal, DX12").help("install or update the GPU's driver")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str, kind: AdapterKind) -> AdapterReport {
        AdapterReport {
            name: name.to_owned(),
            api: String::new(),
            driver: String::new(),
            kind,
            max_binding: 0,
            max_buffer: 0,
            workgroup_bytes: 0,
            invocations: 0,
            subgroup: None,
            f16: false,
            timestamps: false,
            chosen: false,
            reason: String::new(),
        }
    }

    #[test]
    fn discrete_comes_before_integrated_before_software_unless_named() {
        let found = [
            report("llvmpipe", AdapterKind::Software),
            report("Iris Xe", AdapterKind::Integrated),
            report("Radeon RX", AdapterKind::Discrete),
        ];
        assert_eq!(select(&found, None).map(|(index, _)| index), Some(2));
        assert_eq!(select(&found[..2], None).map(|(index, _)| index), Some(1));
        assert_eq!(select(&found, Some("LLVM")).map(|(index, _)| index), Some(0));
        assert_eq!(select(&found, Some("GeForce")).map(|(index, _)| index), None);
        assert_eq!(select(&[], None).map(|(index, _)| index), None);
        assert!(nothing_found().to_string().contains("no GPU adapter was found"));
    }
}
