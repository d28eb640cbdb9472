//! A plan's launches with their bind groups: one submission per replay.

use std::ops::Range;
use std::time::{Duration, Instant};

use wgpu::{BufferDescriptor, BufferUsages};

use super::exec::{Pending, WgpuExec, Window};
use super::{ALIGNMENT, Gpu, memory};
use crate::error::{Error, Result};

struct Step {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    groups: [u32; 3],
}

/// What a plan replays.
pub(crate) struct Recording {
    gpu: Gpu,
    steps: Vec<Step>,
    ends: Vec<usize>,
}

impl WgpuExec {
    /// Makes the bind groups of all that was launched.
    pub(crate) fn finish(self) -> Result<Recording> {
        let Self { gpu, pending, params, ends } = self;
        let usage = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
        let size = memory::bytes(params.len().max(ALIGNMENT));
        let descriptor = BufferDescriptor { label: Some("parameters"), size, usage, mapped_at_creation: false };
        let uniform = gpu.guarded("the parameters of kernels", || gpu.inner.device.create_buffer(&descriptor))?;
        gpu.inner.queue.write_buffer(&uniform, 0, &params);
        let steps = pending.into_iter().map(|launch| step(&gpu, &uniform, launch)).collect::<Result<_>>()?;
        Ok(Recording { gpu, steps, ends })
    }
}

fn step(gpu: &Gpu, uniform: &wgpu::Buffer, launch: Pending) -> Result<Step> {
    let Pending { pipeline, name, windows, params, groups } = launch;
    let buffers = windows.iter().map(|window| buffer_of(gpu, window)).collect::<Result<Vec<_>>>()?;
    let size = |bytes: u64| wgpu::BufferSize::new(bytes);
    let bind = |buffer, offset, bytes| {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size: size(bytes) })
    };
    let mut entries =
        vec![wgpu::BindGroupEntry { binding: 0, resource: bind(uniform, params.start, params.end - params.start) }];
    for (binding, (buffer, window)) in (1_u32..).zip(buffers.iter().zip(&windows)) {
        // An absent buffer has its own place for each binding: two writable bindings must not overlap.
        let offset = if window.slab.is_some() { window.offset } else { u64::from(binding - 1) * 256 };
        // Whole vectors of four: every buffer has room behind it up to the alignment.
        let bytes = window.bytes.next_multiple_of(16).max(16);
        entries.push(wgpu::BindGroupEntry { binding, resource: bind(buffer, offset, bytes) });
    }
    let descriptor = wgpu::BindGroupDescriptor { label: Some(&name), layout: &pipeline.layout, entries: &entries };
    let bind_group = gpu.guarded(&name, || gpu.inner.device.create_bind_group(&descriptor))?;
    Ok(Step { pipeline: pipeline.pipeline.clone(), bind_group, groups })
}

fn buffer_of(gpu: &Gpu, window: &Window) -> Result<wgpu::Buffer> {
    window.slab.map_or_else(|| Ok(gpu.inner.nothing.clone()), |id| gpu.slab(id))
}

impl Recording {
    /// Dispatches of the plan's launches `launches`.
    fn steps(&self, launches: Range<usize>) -> &[Step] {
        let end = |launch: usize| match launch.checked_sub(1) {
            Some(last) => self.ends.get(last).copied().unwrap_or(self.steps.len()),
            None => 0,
        };
        self.steps.get(end(launches.start)..end(launches.end)).unwrap_or_default()
    }

    /// Submits the plan's launches `launches` at once, without waiting for them.
    pub fn submit(&self, launches: Range<usize>) -> Result<()> {
        let mut encoder = self.gpu.inner.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            encode(&mut pass, self.steps(launches));
        }
        self.gpu.submit(encoder.finish())
    }

    /// Waits for all that was submitted.
    pub fn wait(&self) -> Result<()> {
        self.gpu.finish()
    }

    /// Runs all launches and measures each: on the device where it offers timestamps, else by waiting for each.
    pub fn profile(&self) -> Result<Vec<Duration>> {
        if !self.gpu.inner.report.timestamps {
            return (0..self.ends.len())
                .map(|launch| {
                    let start = Instant::now();
                    self.submit(launch..launch + 1)?;
                    self.wait()?;
                    Ok(start.elapsed())
                })
                .collect();
        }
        let mut times = Vec::with_capacity(self.ends.len());
        let most = usize::try_from(wgpu::QUERY_SET_MAX_QUERIES / 2).unwrap_or(1);
        while times.len() < self.ends.len() {
            let launches = times.len()..(times.len() + most).min(self.ends.len());
            times.extend(self.timed(launches)?);
        }
        Ok(times)
    }

    /// Times of some launches, each in a pass of its own between two timestamps.
    fn timed(&self, launches: Range<usize>) -> Result<Vec<Duration>> {
        let device = &self.gpu.inner.device;
        let too_many = || Error::new("wgpu", "too many launches to time");
        let count = u32::try_from(2 * launches.len()).map_err(|_| too_many())?;
        let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("times"),
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        let size = u64::from(count) * 8;
        let usage = BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC;
        let resolved =
            device.create_buffer(&BufferDescriptor { label: Some("times"), size, usage, mapped_at_creation: false });
        let mut encoder = device.create_command_encoder(&Default::default());
        for (query, launch) in (0_u32..).step_by(2).zip(launches.clone()) {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: None,
                timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                    query_set: &queries,
                    beginning_of_pass_write_index: Some(query),
                    end_of_pass_write_index: Some(query + 1),
                }),
            });
            encode(&mut pass, self.steps(launch..launch + 1));
        }
        encoder.resolve_query_set(&queries, 0..count, &resolved, 0);
        self.gpu.submit(encoder.finish())?;
        let mut ticks = vec![0_u64; 2 * launches.len()];
        self.gpu.read_buffer(&resolved, 0, bytemuck::cast_slice_mut(&mut ticks))?;
        let period = f64::from(self.gpu.inner.queue.get_timestamp_period());
        let duration = |pair: &[u64]| {
            #[expect(clippy::cast_precision_loss, reason = "durations are far below 2^53 ticks")]
            let ticks = pair.last().zip(pair.first()).map_or(0, |(end, start)| end.saturating_sub(*start)) as f64;
            Duration::from_secs_f64(ticks * period * 1e-9)
        };
        Ok(ticks.chunks(2).map(duration).collect())
    }
}

fn encode(pass: &mut wgpu::ComputePass, steps: &[Step]) {
    let mut present: Option<&wgpu::ComputePipeline> = None;
    for step in steps {
        if present != Some(&step.pipeline) {
            pass.set_pipeline(&step.pipeline);
            present = Some(&step.pipeline);
        }
        pass.set_bind_group(0, &step.bind_group, &[]);
        let [x, y, z] = step.groups;
        pass.dispatch_workgroups(x, y, z);
    }
}
