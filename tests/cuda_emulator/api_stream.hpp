// The driver API: streams, events, capture, graphs.
#pragma once
#include "state.hpp"

EMULATOR_API cuStreamCreate(Handle* handle, unsigned) {
  EMULATOR_ENTER();
  auto stream = new Stream;
  state().streams.insert(stream);
  *handle = stream;
  return success;
}
EMULATOR_API cuStreamCreateWithPriority(Handle* handle, unsigned flags, int) { return cuStreamCreate(handle, flags); }

EMULATOR_API cuStreamDestroy_v2(Handle handle) {
  EMULATOR_ENTER();
  auto stream = static_cast<Stream*>(handle);
  if (!state().streams.erase(stream))
    return refuse(invalid_handle, "cuStreamDestroy: this stream does not exist (any more)");
  delete stream;
  return success;
}

namespace emulator {
// Refuses to wait for a stream that is being captured: others may be.
inline Status waiting(Handle handle, const char* what) {
  Stream* stream = stream_of(handle);
  if (!stream) return refuse(invalid_handle, "this stream does not exist (any more)");
  if (stream == &state().legacy) return outside_capture(what, false);
  Capture* capture = capture_of(*stream);
  return capture ? spoil(*capture, what) : success;
}

// The same for an event that was recorded in a capture.
inline Status waiting_for_event(Handle event, const char* what) {
  std::shared_ptr<Capture> capture = static_cast<Event*>(event)->capture.lock();
  return capture && !capture->ended ? spoil(*capture, what) : success;
}
}  // namespace emulator

EMULATOR_API cuStreamSynchronize(Handle stream) {
  EMULATOR_ENTER();
  return waiting(stream, "cuStreamSynchronize");
}

EMULATOR_API cuStreamQuery(Handle stream) {
  EMULATOR_ENTER();
  return waiting(stream, "cuStreamQuery");
}

EMULATOR_API cuStreamGetFlags(Handle, unsigned* flags) {
  *flags = 1;
  return success;
}

// Work is in order anyway; but waiting for an event of a captured stream joins its capture.
EMULATOR_API cuStreamWaitEvent(Handle handle, Handle event, unsigned) {
  EMULATOR_ENTER();
  Stream* stream = stream_of(handle);
  if (!stream) return invalid_handle;
  std::shared_ptr<Capture> capture = static_cast<Event*>(event)->capture.lock();
  if (capture && !capture->ended) stream->capture = capture;
  return success;
}

EMULATOR_API cuLaunchHostFunc(Handle stream, void (*function)(void*), void* data) {
  EMULATOR_ENTER();
  return submit(stream, [=] {
    function(data);
    return success;
  });
}

EMULATOR_API cuEventCreate(Handle* event, unsigned flags) {
  EMULATOR_ENTER();
  auto created = new Event;
  created->timed = !(flags & 2);  // CU_EVENT_DISABLE_TIMING
  *event = created;
  return success;
}

EMULATOR_API cuEventDestroy_v2(Handle event) {
  EMULATOR_ENTER(Entry::driver);
  delete static_cast<Event*>(event);
  return success;
}

EMULATOR_API cuEventRecord(Handle handle, Handle stream_handle) {
  EMULATOR_ENTER();
  auto event = static_cast<Event*>(handle);
  Stream* stream = stream_of(stream_handle);
  if (!stream) return invalid_handle;
  event->capture.reset();
  if (capture_of(*stream)) event->capture = stream->capture;
  return submit(stream_handle, [=] {
    event->time = seconds();
    return success;
  });
}
EMULATOR_API cuEventRecordWithFlags(Handle event, Handle stream, unsigned) { return cuEventRecord(event, stream); }

EMULATOR_API cuEventSynchronize(Handle event) {
  EMULATOR_ENTER();
  return waiting_for_event(event, "cuEventSynchronize");
}

EMULATOR_API cuEventQuery(Handle event) {
  EMULATOR_ENTER();
  return waiting_for_event(event, "cuEventQuery");
}

EMULATOR_API cuEventElapsedTime_v2(float* milliseconds, Handle start, Handle end) {
  EMULATOR_ENTER();
  const Event &from = *static_cast<Event*>(start), &to = *static_cast<Event*>(end);
  if (from.time < 0 || to.time < 0) return refuse(invalid_handle, "cuEventElapsedTime: an event was never recorded");
  if (!from.timed || !to.timed)
    return refuse(invalid_handle, "cuEventElapsedTime: an event was created without timing");
  *milliseconds = static_cast<float>((to.time - from.time) * 1e3);
  return success;
}
EMULATOR_API cuEventElapsedTime(float* milliseconds, Handle start, Handle end) {
  return cuEventElapsedTime_v2(milliseconds, start, end);
}

EMULATOR_API cuStreamBeginCapture_v2(Handle handle, int mode) {
  EMULATOR_ENTER();
  Stream* stream = stream_of(handle);
  if (!stream) return invalid_handle;
  if (stream == &state().legacy) return refuse(capture_unsupported, "the legacy stream can't be captured");
  if (capture_of(*stream)) return refuse(capture_unsupported, "this stream is being captured already");
  stream->capture = std::make_shared<Capture>();
  stream->capture->origin = handle;
  stream->capture->mode = mode;
  state().captures.insert(stream->capture);
  return success;
}

EMULATOR_API cuStreamEndCapture(Handle handle, Handle* graph) {
  EMULATOR_ENTER();
  *graph = nullptr;
  Stream* stream = stream_of(handle);
  if (!stream) return invalid_handle;
  if (!capture_of(*stream)) return refuse(invalid_value, "cuStreamEndCapture: this stream is not being captured");
  if (stream->capture->origin != handle)
    return refuse(capture_unmatched, "a capture ends in the stream in which it began");
  std::shared_ptr<Capture> capture = std::move(stream->capture);
  stream->capture = nullptr;
  capture->ended = true;
  state().captures.erase(capture);
  if (capture->invalid) return capture_invalidated;
  *graph = capture->graph.release();
  state().graphs.insert(static_cast<Graph*>(*graph));
  return success;
}

EMULATOR_API cuStreamIsCapturing(Handle handle, int* status) {
  EMULATOR_ENTER();
  Stream* stream = stream_of(handle);
  if (!stream) return invalid_handle;
  Capture* capture = capture_of(*stream);
  *status = !capture ? 0 : capture->invalid ? 2 : 1;
  return success;
}

// An executable graph is a graph of its own: the one it was made from may be destroyed.
EMULATOR_API cuGraphInstantiateWithFlags(Handle* executable, Handle graph, unsigned long long) {
  EMULATOR_ENTER();
  auto source = static_cast<Graph*>(graph);
  if (!state().graphs.count(source))
    return refuse(invalid_handle, "cuGraphInstantiate: this graph does not exist (any more)");
  auto copy = new Graph(*source);
  state().graphs.insert(copy);
  *executable = copy;
  return success;
}

EMULATOR_API cuGraphLaunch(Handle executable, Handle stream) {
  EMULATOR_ENTER();
  auto graph = static_cast<Graph*>(executable);
  if (!state().graphs.count(graph))
    return refuse(invalid_handle, "cuGraphLaunch: this graph does not exist (any more)");
  for (const Operation& operation : graph->operations) {
    if (Status status = submit(stream, operation)) return fault(status);
    if (state().fault != success) break;
  }
  return success;
}

EMULATOR_API cuGraphUpload(Handle, Handle) {
  EMULATOR_ENTER();
  return success;
}

EMULATOR_API cuGraphDestroy(Handle handle) {
  EMULATOR_ENTER(Entry::driver);
  auto graph = static_cast<Graph*>(handle);
  if (!state().graphs.erase(graph))
    return refuse(invalid_handle, "this graph does not exist (any more): destroyed twice?");
  delete graph;
  return success;
}
EMULATOR_API cuGraphExecDestroy(Handle graph) { return cuGraphDestroy(graph); }

EMULATOR_API cuGraphGetNodes(Handle handle, Handle* nodes, size_t* count) {
  EMULATOR_ENTER();
  const std::vector<Operation>& operations = static_cast<Graph*>(handle)->operations;
  for (size_t i = 0; nodes && i < *count && i < operations.size(); i++)
    nodes[i] = const_cast<Operation*>(&operations[i]);
  *count = operations.size();
  return success;
}
