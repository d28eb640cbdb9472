//! On wgpu there is one float type, f32, so nothing can be cast: WGSL has no bf16, and f64 is refused by the device.

use engine::Error;

use super::NAME;

/// What an attempt gets.
pub(super) fn refusal() -> Error {
    Error::new(NAME, "on wgpu every float is stored as f32").help("leave the type out, or take --device cuda for bf16")
}
