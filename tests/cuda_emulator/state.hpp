// What the stand-in for libcuda remembers: contexts, streams, captures, and the first fault, which sticks to its
// context.
//
// Everything runs at once, on the calling thread, in the order of the calls; one call at a time holds the lock. As on a
// device, a launch that fails reports success, and every later call that needs the context gives the error.
#pragma once
#include <unistd.h>

#include <ctime>
#include <functional>
#include <set>
#include <thread>

#include "module.hpp"

#ifndef EMULATOR_IDENTITY
#define EMULATOR_IDENTITY "unversioned"
#endif

namespace emulator {

using Handle = void*;
using DevicePointer = unsigned long long;
using Operation = std::function<Status()>;

struct Graph {
  std::vector<Operation> operations;
};

// A capture that is under way, shared by the streams that take part.
struct Capture {
  std::unique_ptr<Graph> graph = std::make_unique<Graph>();
  Handle origin = nullptr;
  int mode = 0;  // 0 global, 1 this thread, 2 relaxed
  std::thread::id thread = std::this_thread::get_id();
  bool invalid = false, ended = false;
};

struct Stream {
  std::shared_ptr<Capture> capture;
};

struct Event {
  double time = -1;  // in seconds; negative before it was recorded
  bool timed = true;
  std::weak_ptr<Capture> capture;
};

struct Context {
  int retained = 0;
};

struct State {
  std::recursive_mutex lock;
  bool initialised = false;
  Status fault = success;
  Context primary;
  Stream legacy;
  std::set<Stream*> streams;
  std::set<std::shared_ptr<Capture>> captures;
  std::set<Graph*> graphs;
  std::map<std::string, unsigned> calls;
};

inline State& state() {
  static State* all = new State;  // never destroyed: exit handlers of the program may still call
  return *all;
}

inline thread_local Context* current_context = nullptr;

inline double seconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

inline bool setting_is(const char* name, const char* value) {
  const char* text = std::getenv(name);
  return text && std::strcmp(text, value) == 0;
}

// Gives an error, and says why: for calls that are a mistake of the program, not of its circumstances.
inline Status refuse(Status status, const std::string& why) {
  say(why);
  return status;
}

// After a fault nothing can be freed any more, so nothing is a leak.
inline void report_leaks(const char* when) {
  if (device_memory.buffers.empty() || state().fault != success) return;
  size_t bytes = 0;
  std::string list;
  int listed = 0;
  for (const auto& [start, buffer] : device_memory.buffers) {
    bytes += buffer.bytes;
    if (listed++ < 8) list += format("\n  buffer %u: %zu bytes", buffer.number, buffer.bytes);
  }
  say(format("leak: %zu buffers of %zu bytes are not freed %s", device_memory.buffers.size(), bytes, when) + list);
}

// Runs when the program ends. Its exit status tells of findings, unless VITRUM_EMULATOR_FINDINGS=report.
inline void at_exit() {
  report_leaks("at exit");
  if (setting_is("VITRUM_EMULATOR_TRACE", "1")) {
    for (const auto& [name, count] : state().calls)
      std::fprintf(stderr, "cuda emulator: %s: %u calls\n", name.c_str(), count);
  }
  if (!findings || setting_is("VITRUM_EMULATOR_FINDINGS", "report")) return;
  std::fprintf(stderr, "cuda emulator: %d findings, so the exit status is 99\n", findings);
  std::fflush(nullptr);
  _exit(99);
}

// Every call of the driver API holds one of these.
class Entry {
 public:
  enum Needs { nothing, driver, context };
  explicit Entry(const char* name, Needs needs = context) : hold(state().lock) {
    State& all = state();
    all.calls[name]++;
    if (needs != nothing && !all.initialised) {
      status = not_initialized;
    } else if (needs == context && !current_context) {
      status = refuse(invalid_context, std::string(name) + ": no context is current on this thread");
    } else if (needs == context && all.fault != success) {
      status = all.fault;
    }
  }
  Status status = success;

 private:
  std::lock_guard<std::recursive_mutex> hold;
};

#define EMULATOR_ENTER(...) \
  emulator::Entry entry(__func__ __VA_OPT__(, ) __VA_ARGS__); \
  if (entry.status != emulator::success) return entry.status

inline Stream* stream_of(Handle handle) {
  // 1 and 2 are CU_STREAM_LEGACY and CU_STREAM_PER_THREAD.
  if (reinterpret_cast<uintptr_t>(handle) <= 2) return &state().legacy;
  auto stream = static_cast<Stream*>(handle);
  return state().streams.count(stream) ? stream : nullptr;
}

inline Capture* capture_of(Stream& stream) {
  if (stream.capture && stream.capture->ended) stream.capture = nullptr;
  return stream.capture.get();
}

// Does an operation now, or keeps it where the stream is being captured.
inline Status submit(Handle handle, Operation operation) {
  Stream* stream = stream_of(handle);
  if (!stream) return refuse(invalid_handle, "this stream does not exist (any more)");
  if (Capture* capture = capture_of(*stream)) {
    if (capture->invalid) return capture_invalidated;
    capture->graph->operations.push_back(std::move(operation));
    return success;
  }
  return operation();
}

inline Status spoil(Capture& capture, const char* what) {
  capture.invalid = true;
  return refuse(capture_unsupported, std::string("illegal during capture: ") + what);
}

// Refuses a call that may not be made while streams are being captured, and spoils the captures, as the driver does.
// `unsafe` calls (allocation, synchronous copies) are allowed in the relaxed mode, and by other threads in that of one
// thread.
inline Status outside_capture(const char* what, bool unsafe) {
  Status status = success;
  for (const std::shared_ptr<Capture>& capture : state().captures) {
    bool elsewhere = capture->mode == 1 && capture->thread != std::this_thread::get_id();
    if (unsafe && (capture->mode == 2 || elsewhere)) continue;
    status = spoil(*capture, what);
  }
  return status;
}

inline Status fault(Status status) {
  if (status != success) state().fault = status;
  return success;  // the call that caused it succeeds; those after it fail
}

}  // namespace emulator

#define EMULATOR_API extern "C" __attribute__((visibility("default"))) int
