//! WGSL checked as a browser would: parsed, validated, and held against WebGPU's baseline limits. No GPU is needed.

use engine::device::source::{Expanded, expand};
use engine::{Error, Result};
use naga::back::pipeline_constants::process_overrides;
use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};

const MAX_INVOCATIONS: u32 = 256;
const MAX_WORKGROUP_BYTES: u32 = 16 << 10;
const MAX_STORAGE_BUFFERS: usize = 8;

/// Checks one kernel file with its includes and gives the number of its entry points. Files whose name holds `.subgroup.` may
/// use subgroup operations, and those with `.f16.` may use f16: they run only where the adapter reports them.
pub fn check<'t>(path: &str, text: &str, find: &dyn Fn(&str) -> Option<&'t str>) -> Result<usize> {
    let expanded = expand(path, text, find)?;
    if let Some(line) = expanded.text.lines().position(|line| line.contains("bitcast<f32>(0x")) {
        // naga takes it; the compilers of browsers refuse a constant that is infinite or NaN.
        let (file, line) = expanded.origin(line + 1).unwrap_or((path, 0));
        return Err(Error::new(path, "bits of a constant: call of_bits").with("at", format!("{file}:{line}")));
    }
    let module = naga::front::wgsl::parse_str(&expanded.text).map_err(|error| {
        located(path, &expanded, error.location(&expanded.text), error.emit_to_string(&expanded.text))
    })?;
    let mut validator = validator(path.contains(".subgroup."), path.contains(".f16."));
    let info = validator.validate(&module).map_err(|error| {
        located(path, &expanded, error.location(&expanded.text), error.emit_to_string(&expanded.text))
    })?;
    for entry in &module.entry_points {
        let resolved = process_overrides(&module, &info, Some((entry.stage, &entry.name)), &Default::default());
        let (module, info) =
            resolved.map_err(|error| Error::new(path, error.to_string()).with("entry", &entry.name))?;
        limits(&module, &info).map_err(|problem| Error::new(path, problem).with("entry", &entry.name))?;
    }
    Ok(module.entry_points.len())
}

fn validator(subgroups: bool, f16: bool) -> Validator {
    let mut capabilities = Capabilities::empty();
    capabilities.set(Capabilities::SUBGROUP | Capabilities::SUBGROUP_BARRIER, subgroups);
    capabilities.set(Capabilities::SHADER_FLOAT16, f16);
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    if subgroups {
        validator.subgroup_stages(ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::all());
    }
    validator
}

fn located(path: &str, expanded: &Expanded, at: Option<naga::SourceLocation>, message: String) -> Error {
    let line = at.and_then(|at| usize::try_from(at.line_number).ok());
    let origin = line.and_then(|line| expanded.origin(line));
    let (file, line) = origin.unwrap_or((path, 0));
    Error::new(path, message).with("at", format!("{file}:{line}"))
}

/// What exceeds the baseline, for the one entry point of a module whose overrides are resolved.
fn limits(module: &naga::Module, info: &naga::valid::ModuleInfo) -> std::result::Result<(), String> {
    for (at, entry) in module.entry_points.iter().enumerate() {
        let invocations: u32 = entry.workgroup_size.iter().product();
        if invocations > MAX_INVOCATIONS {
            return Err(format!("{invocations} invocations in a workgroup, {MAX_INVOCATIONS} is WebGPU's baseline"));
        }
        let used = info.get_entry_point(at);
        let (mut bytes, mut buffers) = (0, 0);
        for (_, variable) in module.global_variables.iter().filter(|&(handle, _)| !used[handle].is_empty()) {
            match variable.space {
                naga::AddressSpace::WorkGroup => bytes += module.types[variable.ty].inner.size(module.to_ctx()),
                naga::AddressSpace::Storage { .. } => buffers += 1,
                _ => {}
            }
        }
        if bytes > MAX_WORKGROUP_BYTES {
            return Err(format!("{bytes} bytes of workgroup memory, {MAX_WORKGROUP_BYTES} is WebGPU's baseline"));
        }
        if buffers > MAX_STORAGE_BUFFERS {
            return Err(format!("{buffers} storage buffers, {MAX_STORAGE_BUFFERS} is WebGPU's baseline"));
        }
    }
    Ok(())
}
