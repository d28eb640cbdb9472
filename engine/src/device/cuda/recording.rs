//! A plan's launches: one graph per replay, and one of each part that is timed alone.

use std::ops::Range;
use std::time::Duration;

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaGraph, result};

use super::exec::{CudaExec, Pending};
use super::{Cuda, between, failed};
use crate::error::{Error, Result};

/// What a plan replays.
pub(crate) struct Recording {
    cuda: Cuda,
    launches: Vec<Pending>,
    ends: Vec<usize>,
    notes: Vec<(usize, String)>,
    /// Launches of the plan that are started at once: all of them first.
    graphs: Vec<(Range<usize>, Graph)>,
}

struct Graph(CudaGraph);

// SAFETY: a graph may be used from any thread, one at a time; the plan keeps its recording behind a lock.
unsafe impl Send for Graph {}

impl CudaExec {
    /// Captures all that was launched.
    pub(crate) fn finish(self) -> Result<Recording> {
        let Self { cuda, pending, ends, notes, .. } = self;
        let mut recording = Recording { cuda, launches: pending, ends, notes, graphs: Vec::new() };
        recording.capture(0..recording.ends.len())?;
        Ok(recording)
    }
}

impl Recording {
    /// Makes a graph of the plan's launches `launches`, where there is none yet.
    fn capture(&mut self, launches: Range<usize>) -> Result<()> {
        let kernels = self.kernels(&launches);
        if kernels.is_empty() || self.graphs.iter().any(|(other, _)| *other == launches) {
            return Ok(());
        }
        let stream = &self.cuda.inner.stream;
        // Work of other threads on other streams is no part of it.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        stream.begin_capture(mode).map_err(|error| failed("capturing a plan", error))?;
        let launched = self.launch_all(kernels);
        // The capture is ended whatever happened in it: the stream must be usable again.
        let graph = stream.end_capture(CUgraphInstantiate_flags(0));
        launched?;
        let graph = graph.map_err(|error| failed("making a graph of a plan", error))?;
        let graph = graph.ok_or_else(|| Error::new("cuda", "the driver captured no graph"))?;
        graph.upload().map_err(|error| failed("uploading a graph", error))?;
        self.graphs.push((launches, Graph(graph)));
        Ok(())
    }

    fn launch_all(&self, launches: &[Pending]) -> Result<()> {
        launches.iter().try_for_each(|launch| self.launch(launch))
    }

    fn launch(&self, launch: &Pending) -> Result<()> {
        let mut params = launch.params.pointers();
        // SAFETY: the driver reads as many bytes of each parameter as the kernel declares, which the emulator compares with
        // its source; addresses lie in slabs that outlive the recording's use (see plan/run.rs).
        unsafe {
            result::launch_kernel(
                launch.function.cu_function(),
                launch.grid,
                (launch.threads, 1, 1),
                launch.shared,
                self.cuda.inner.stream.cu_stream(),
                &mut params,
            )
        }
        .map_err(|error| failed("launching a kernel", error).with("kernel", &launch.name))
    }

    /// What ops said about launches, by the launch's number.
    pub fn notes(&self) -> &[(usize, String)] {
        &self.notes
    }

    /// Kernels of the plan's launches `launches`.
    fn kernels(&self, launches: &Range<usize>) -> &[Pending] {
        let end = |launch: usize| match launch.checked_sub(1) {
            Some(last) => self.ends.get(last).copied().unwrap_or(self.launches.len()),
            None => 0,
        };
        self.launches.get(end(launches.start)..end(launches.end)).unwrap_or_default()
    }

    /// Launches the plan's launches `launches`, without waiting for them: at once where there is a graph of them.
    pub fn submit(&self, launches: Range<usize>) -> Result<()> {
        if let Some((_, graph)) = self.graphs.iter().find(|(other, _)| *other == launches) {
            return graph.0.launch().map_err(|error| failed("the device failed", error));
        }
        self.cuda.bind()?;
        self.launch_all(self.kernels(&launches))
    }

    /// Waits for all that was launched.
    pub fn wait(&self) -> Result<()> {
        self.cuda.finish()
    }

    /// Replays once; the time of `launches` as one graph, right before which `before` runs.
    pub fn time(&mut self, launches: Range<usize>, before: &mut dyn FnMut() -> Result<()>) -> Result<Duration> {
        self.capture(launches.clone())?;
        self.submit(0..launches.start)?;
        before()?;
        let time = self.cuda.time(|| self.submit(launches.clone()))?;
        self.submit(launches.end..self.ends.len())?;
        Ok(time)
    }

    /// Runs all launches and measures each on the device.
    pub fn profile(&self) -> Result<Vec<Duration>> {
        self.wait()?;
        let mut events = vec![self.cuda.event()?];
        for launch in 0..self.ends.len() {
            self.launch_all(self.kernels(&(launch..launch + 1)))?;
            events.push(self.cuda.event()?);
        }
        self.wait()?;
        events.iter().zip(events.iter().skip(1)).map(|(start, end)| between(start, end)).collect()
    }
}
