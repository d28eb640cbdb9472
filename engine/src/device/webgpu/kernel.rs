//! WGSL sources to pipelines, each compiled once per device.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Gpu, lock};
use crate::device::source::{Expanded, Source};
use crate::error::{Error, Result};

/// An entry point of a source with the values of its `override` constants.
#[derive(Clone, Debug)]
pub struct Kernel {
    source: &'static Source,
    entry: &'static str,
    constants: Vec<(&'static str, f64)>,
}

impl Kernel {
    /// Entry point `entry` of `source`.
    pub fn new(source: &'static Source, entry: &'static str) -> Self {
        Self { source, entry, constants: Vec::new() }
    }

    /// With `override` constant `name` set to `value` (1 is true).
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<f64>) -> Self {
        self.constants.push((name, value.into()));
        self
    }

    /// With `override` constant `name` set to a condition.
    #[must_use]
    pub fn when(self, name: &'static str, condition: bool) -> Self {
        self.with(name, if condition { 1.0 } else { 0.0 })
    }

    pub(super) fn name(&self) -> String {
        format!("{} {}", self.source.file, self.entry)
    }

    pub(super) fn key(&self, buffers: usize) -> Key {
        let constants = self.constants.iter().map(|&(name, value)| (name, value.to_bits())).collect();
        Key { file: self.source.file, entry: self.entry, constants, buffers }
    }
}

/// What tells pipelines apart.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    file: &'static str,
    entry: &'static str,
    constants: Vec<(&'static str, u64)>,
    buffers: usize,
}

/// A compiled kernel.
pub(super) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

/// Parameters at binding 0, and so many buffers behind it.
#[derive(Clone)]
pub(super) struct Layout {
    bindings: wgpu::BindGroupLayout,
    pipeline: wgpu::PipelineLayout,
}

impl Gpu {
    pub(super) fn pipeline(&self, kernel: &Kernel, buffers: usize) -> Result<Arc<Pipeline>> {
        let key = kernel.key(buffers);
        if let Some(found) = lock(&self.inner.pipelines).get(&key) {
            return Ok(Arc::clone(found));
        }
        let made = Arc::new(self.compile(kernel, buffers)?);
        lock(&self.inner.pipelines).insert(key, Arc::clone(&made));
        Ok(made)
    }

    fn compile(&self, kernel: &Kernel, buffers: usize) -> Result<Pipeline> {
        let layout = self.layout(buffers);
        let expanded = kernel.source.expand()?;
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(kernel.source.file),
            source: wgpu::ShaderSource::Wgsl(expanded.text.as_str().into()),
        };
        let checks = wgpu::ShaderRuntimeChecks::unchecked();
        // SAFETY: our kernels index only inside their buffers and end all their loops; the conformance suite runs each with
        // canaries behind every buffer. Checked, array-heavy kernels take up to three times as long.
        let make = || unsafe { self.inner.device.create_shader_module_trusted(descriptor, checks) };
        let (module, outcome) = match self.guarded("compiling", make) {
            Ok(module) => (Some(module), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let Some(module) = module else {
            return outcome.and(Err(Error::new("wgpu", ""))).map_err(|error| located(kernel, &expanded, &error));
        };
        let descriptor = wgpu::ComputePipelineDescriptor {
            label: Some(kernel.entry),
            layout: Some(&layout.pipeline),
            module: &module,
            entry_point: Some(kernel.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &kernel.constants,
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        };
        let pipeline = self.guarded("making a pipeline", || self.inner.device.create_compute_pipeline(&descriptor));
        let pipeline = pipeline.map_err(|error| located(kernel, &expanded, &error))?;
        Ok(Pipeline { pipeline, layout: layout.bindings })
    }

    fn layout(&self, buffers: usize) -> Layout {
        let mut layouts: std::sync::MutexGuard<'_, HashMap<usize, Layout>> = lock(&self.inner.layouts);
        layouts.entry(buffers).or_insert_with(|| make_layout(&self.inner.device, buffers)).clone()
    }
}

fn make_layout(device: &wgpu::Device, buffers: usize) -> Layout {
    let entry = |binding: u32, ty| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    };
    let storage = wgpu::BufferBindingType::Storage { read_only: false };
    let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform)];
    entries.extend((1_u32..).take(buffers).map(|binding| entry(binding, storage)));
    let bindings = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
    let pipeline = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: &[Some(&bindings)],
        immediate_size: 0,
    });
    Layout { bindings, pipeline }
}

/// The compiler's message with the line of the file that it means: it counts lines of the whole, as `LABEL:LINE:COLUMN`.
fn located(kernel: &Kernel, expanded: &Expanded, error: &Error) -> Error {
    let text = error.to_string();
    let label = format!("{}:", kernel.source.file);
    let after = text.split(label.as_str()).nth(1).or_else(|| text.split("wgsl:").nth(1));
    let line = after.and_then(|rest| rest.split(':').next()).and_then(|line| line.trim().parse().ok());
    let error = Error::new(kernel.entry, "the kernel does not compile").with("compiler says", text.trim());
    match line.and_then(|line| expanded.origin(line)) {
        Some((file, line)) => error.with("at", format!("{file}:{line}")),
        None => error.with("file", kernel.source.file),
    }
}
