// The proofs whose mistake is in the host's calls.
#pragma once
#include "kernels.hpp"

// Whether a graph of one launch, y += x, replayed three times, adds three times.
inline bool run_graph(Session& session, const std::function<void(DevicePointer, DevicePointer)>& meanwhile) {
  int n = 65;
  std::vector<float> x = numbers(65, 8), expected;
  for (float v : x) expected.push_back(((v + v) + v) + v);
  DevicePointer dx = session.put(x), dy = session.put(x);
  session.keep(cuStreamBeginCapture_v2(session.stream, 0));
  session.launch("add_to", {3}, {32}, 0, dx, dy, n);
  meanwhile(dx, dy);
  Handle graph = nullptr, executable = nullptr;
  if (session.keep(cuStreamEndCapture(session.stream, &graph))) return false;
  if (!same(session.get<float>(dy, 65), x)) return false;  // capturing runs nothing
  session.keep(cuGraphInstantiateWithFlags(&executable, graph, 0));
  session.keep(cuGraphDestroy(graph));
  for (int i = 0; i < 3; i++) session.keep(cuGraphLaunch(executable, session.stream));
  session.keep(cuStreamSynchronize(session.stream));
  session.keep(cuGraphExecDestroy(executable));
  return same(session.get<float>(dy, 65), expected);
}

inline Proof in_capture(const char* name, const char* words, std::function<void(Session&, DevicePointer)> mistake) {
  return {name, "accesses.cu", words, false, [=](Session& session, bool broken) {
            return run_graph(session, [&](DevicePointer dx, DevicePointer) {
              if (broken) mistake(session, dx);
            });
          }};
}

inline bool run_mirror(Session& session, unsigned threads, unsigned dynamic_bytes, int most_dynamic) {
  std::vector<float> x = numbers(2 * threads, 9), expected;
  for (size_t i = 0; i < x.size(); i++) expected.push_back(x[i / threads * threads + threads - 1 - i % threads]);
  DevicePointer dx = session.put(x), dy = session.put(x);
  if (most_dynamic) session.keep(cuFuncSetAttribute(session.function("mirror"), 8, most_dynamic));
  session.launch("mirror", {2}, {threads}, dynamic_bytes, dx, dy);
  return same(session.get<float>(dy, x.size()), expected);
}

inline std::vector<Proof> host_proofs() {
  const char* file = "accesses.cu";
  return {
      in_capture("synchronise_in_capture", "illegal during capture: cuStreamSynchronize",
                 [](Session& session, DevicePointer) { session.keep(cuStreamSynchronize(session.stream)); }),
      in_capture("allocate_in_capture", "illegal during capture: cuMemAlloc",
                 [](Session& session, DevicePointer) { session.fresh(64); }),
      in_capture("copy_in_capture", "illegal during capture: cuMemcpyDtoH",
                 [](Session& session, DevicePointer dx) { session.get<float>(dx, 1); }),
      {"double_free", file, "double free", false,
       [](Session& session, bool broken) {
         DevicePointer buffer = session.fresh(100);
         if (broken) session.keep(cuMemFree_v2(buffer));
         return true;
       }},
      {"leak", file, "leak: 1 buffers of 100 bytes", false,
       [](Session& session, bool broken) {
         session.fresh(100);
         if (broken) session.buffers.clear();
         return true;
       }},
      {"use_after_free", file, "which has been freed", true,
       [](Session& session, bool broken) {
         int n = 32;
         DevicePointer dx = session.put(numbers(32, 1)), dy = session.put(numbers(32, 2));
         if (broken) {
           session.keep(cuMemFree_v2(dx));
           session.buffers.erase(session.buffers.begin());
         }
         session.launch("add_to", {}, {32}, 0, dx, dy, n);
         return session.keep(cuCtxSynchronize()) == 0;
       }},
      {"copy_too_long", file, "leaves its buffer: byte 100 is 1 bytes past the last", false,
       [](Session& session, bool broken) {
         DevicePointer buffer = session.fresh(100);
         std::vector<char> bytes(101);
         return session.keep(cuMemcpyHtoD_v2(buffer, bytes.data(), broken ? 101 : 100)) == 0;
       }},
      {"too_much_shared", file, "too much shared memory: 50000 dynamic bytes", false,
       [](Session& session, bool broken) { return run_mirror(session, 128, 50000, broken ? 0 : 50000); }},
      {"more_shared_than_there_is", file, "too much shared memory: 200000 dynamic bytes", false,
       [](Session& session, bool broken) { return run_mirror(session, 128, 512, broken ? 200000 : 160000); }},
      {"too_many_threads", file, "its __launch_bounds__ say 128", false,
       [](Session& session, bool broken) { return run_mirror(session, broken ? 160 : 128, 640, 0); }},
      {"too_little_shared", file, "bytes past the last of dynamic shared memory (256 bytes)", false,
       [](Session& session, bool broken) { return run_mirror(session, 65, broken ? 256 : 260, 0); }},
  };
}
