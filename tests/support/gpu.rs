//! The adapter of this machine, for suites that run on it; they skip loudly where there is none.

use std::sync::OnceLock;

use engine::Device;
use engine::device::webgpu::{AdapterKind, Options};

/// An adapter, or the word that what needs it is skipped.
pub fn open(options: &Options) -> Option<Device> {
    match Device::wgpu(options) {
        Ok(device) => Some(device),
        Err(error) => {
            vitrum_tests::skipped(format_args!("what needs a wgpu adapter: {error}").to_string().replace('\n', ";"));
            None
        }
    }
}

/// The adapter as it is, opened once.
pub fn device() -> Option<&'static Device> {
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    DEVICE.get_or_init(|| open(&Options::default())).as_ref()
}

/// The adapter as if it were a graphics card without subgroups: kernels then take their other variants.
pub fn card() -> Option<&'static Device> {
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    let options = Options { kind: Some(AdapterKind::Discrete), no_subgroups: true, ..Options::default() };
    DEVICE.get_or_init(|| open(&options)).as_ref()
}
