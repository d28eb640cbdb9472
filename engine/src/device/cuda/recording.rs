//! A plan's launches: one graph per replay.

use std::ops::Range;
use std::time::Duration;

use cudarc::driver::sys::{CUevent_flags, CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaGraph, result};

use super::exec::{CudaExec, Pending};
use super::{Cuda, failed};
use crate::error::{Error, Result};

/// What a plan replays.
pub(crate) struct Recording {
    cuda: Cuda,
    launches: Vec<Pending>,
    ends: Vec<usize>,
    notes: Vec<(usize, String)>,
    /// All launches. `None` where there are none.
    graph: Option<Graph>,
}

struct Graph(CudaGraph);

// SAFETY: a graph may be used from any thread, one at a time; the plan keeps its recording behind a lock.
unsafe impl Send for Graph {}

impl CudaExec {
    /// Captures all that was launched.
    pub(crate) fn finish(self) -> Result<Recording> {
        let Self { cuda, pending, ends, notes } = self;
        let mut recording = Recording { cuda, launches: pending, ends, notes, graph: None };
        if !recording.launches.is_empty() {
            recording.graph = Some(recording.capture()?);
        }
        Ok(recording)
    }
}

impl Recording {
    fn capture(&self) -> Result<Graph> {
        let stream = &self.cuda.inner.stream;
        // Work of other threads on other streams is no part of it.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        stream.begin_capture(mode).map_err(|error| failed("capturing a plan", error))?;
        let launched = self.launch_all(&self.launches);
        // The capture is ended whatever happened in it: the stream must be usable again.
        let graph = stream.end_capture(CUgraphInstantiate_flags(0));
        launched?;
        let graph = graph.map_err(|error| failed("making a graph of a plan", error))?;
        let graph = graph.ok_or_else(|| Error::new("cuda", "the driver captured no graph"))?;
        graph.upload().map_err(|error| failed("uploading a graph", error))?;
        Ok(Graph(graph))
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

    /// Launches the plan's launches `launches`, without waiting for them: all at once as a graph.
    pub fn submit(&self, launches: Range<usize>) -> Result<()> {
        if launches == (0..self.ends.len()) {
            let outcome = self.graph.as_ref().map_or(Ok(()), |graph| graph.0.launch());
            return outcome.map_err(|error| failed("the device failed", error));
        }
        self.cuda.bind()?;
        self.launch_all(self.kernels(&launches))
    }

    /// Waits for all that was launched.
    pub fn wait(&self) -> Result<()> {
        self.cuda.finish()
    }

    /// Runs all launches and measures each on the device.
    pub fn profile(&self) -> Result<Vec<Duration>> {
        let fail = |error| failed("timing a launch", error);
        let event = || self.cuda.inner.context.new_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).map_err(fail);
        let stream = &self.cuda.inner.stream;
        let mut events = vec![event()?];
        self.wait()?;
        events[0].record(stream).map_err(fail)?;
        for launch in 0..self.ends.len() {
            self.launch_all(self.kernels(&(launch..launch + 1)))?;
            let end = event()?;
            end.record(stream).map_err(fail)?;
            events.push(end);
        }
        self.wait()?;
        let times = events.iter().zip(events.iter().skip(1)).map(|(start, end)| {
            let milliseconds = start.elapsed_ms(end).map_err(fail)?;
            Ok(Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) * 1e-3))
        });
        times.collect()
    }
}
