//! A list of launches as one CUDA graph: what may run side by side is so in the graph.

use anyhow::Result;
use cudarc::driver::{result, sys};

use super::cuda_device::{CudaDevice, problem};
use super::device::Launch;

impl CudaDevice {
    /// Kernels must have been loaded before.
    pub(super) fn capture(&mut self, list: &[Launch]) -> Result<sys::CUgraphExec> {
        let fails = |e| problem("cannot capture the launches as a CUDA graph", e);
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        let mut events = Vec::new();
        // SAFETY: the stream is ours; capture is ended below whatever happens between.
        unsafe { result::stream::begin_capture(self.stream, mode) }.map_err(fails)?;
        let launched = self.launch_side_by_side(list, &mut events);
        // SAFETY: ends what was begun; then nothing uses the events any more.
        let graph = unsafe {
            let graph = result::stream::end_capture(self.stream);
            for event in events {
                let _ = result::event::destroy(event);
            }
            graph
        };
        launched?;
        let graph = graph.map_err(fails)?;
        // SAFETY: a graph as captured; the executable form does not need it any more.
        unsafe {
            let executable = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0));
            let _ = result::graph::destroy(graph);
            let executable = executable.map_err(fails)?;
            self.graphs.push(executable);
            result::graph::upload(executable, self.stream).map_err(fails)?;
            Ok(executable)
        }
    }

    fn launch_side_by_side(
        &mut self,
        list: &[Launch],
        events: &mut Vec<sys::CUevent>,
    ) -> Result<()> {
        let mut rest = list;
        while let Some((launch, behind)) = rest.split_first() {
            rest = behind;
            let Some(next) = behind.first().filter(|next| next.beside) else {
                self.launch_on(self.stream, launch)?;
                continue;
            };
            rest = &behind[1..];
            self.follow(self.side, self.stream, events)?;
            self.launch_on(self.side, launch)?;
            self.launch_on(self.stream, next)?;
            self.follow(self.stream, self.side, events)?;
        }
        Ok(())
    }

    /// What is asked of `stream` from now on comes after what has been asked of `other`.
    fn follow(
        &self,
        stream: sys::CUstream,
        other: sys::CUstream,
        events: &mut Vec<sys::CUevent>,
    ) -> Result<()> {
        let fails = |e| problem("cannot order two launches in a CUDA graph", e);
        let event = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING);
        let event = event.map_err(fails)?;
        events.push(event);
        // SAFETY: event and streams are of this context and alive.
        unsafe {
            result::event::record(event, other).map_err(fails)?;
            let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
            result::stream::wait_event(stream, event, flags).map_err(fails)?;
        }
        Ok(())
    }
}
