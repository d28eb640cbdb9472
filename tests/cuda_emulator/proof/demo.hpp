// Healthy kernels with checked results.
#pragma once
#include <cmath>

#include "kernels.hpp"

inline bool run_vector_add(Session& session) {
  int n = 1003;
  std::vector<float> x = numbers(1003, 1), y = numbers(1003, 2), expected;
  for (size_t i = 0; i < x.size(); i++) expected.push_back(x[i] + y[i]);
  DevicePointer dx = session.put(x), dy = session.put(y), dz = session.fresh(4 * 1003);
  session.launch("vector_add", {8}, {128}, 0, dx, dy, dz, n);
  return same(session.get<float>(dz, x.size()), expected);
}

inline bool run_row_sum(Session& session) {
  int n = 777;
  std::vector<float> x = numbers(5 * 777, 3);
  std::vector<double> expected(5);
  for (size_t i = 0; i < x.size(); i++) expected[i / 777] += x[i];
  DevicePointer dx = session.put(x), dy = session.fresh(20);
  session.launch("row_sum", {5}, {256}, 0, dx, dy, n);
  int shared = 0;
  session.keep(cuFuncGetAttribute(&shared, 1, session.function("row_sum")));
  return shared == 32 && close(session.get<float>(dy, 5), expected, 1e-4);
}

inline bool run_matmul(Session& session) {
  int m = 37, n = 29, k = 53;
  std::vector<float> a = numbers(37 * 53, 4), b = numbers(53 * 29, 5);
  std::vector<double> expected(37 * 29);
  for (size_t i = 0; i < expected.size(); i++) {
    for (size_t j = 0; j < 53; j++) expected[i] += static_cast<double>(a[i / 29 * 53 + j]) * b[j * 29 + i % 29];
  }
  DevicePointer da = session.put(a), db = session.put(b), dc = session.fresh(4 * expected.size());
  session.launch(session.lowered[0], {2, 3}, {16, 16}, 0, da, db, dc, m, n, k);
  return close(session.get<float>(dc, expected.size()), expected, 1e-4);
}

inline bool run_gemm(Session& session) {
  int m = 100, n = 72, k = 88;
  std::vector<unsigned short> a, b;
  for (float v : numbers(100 * 88, 6)) a.push_back(to_bf16(v));
  for (float v : numbers(72 * 88, 7)) b.push_back(to_bf16(v));
  std::vector<double> expected(100 * 72);
  for (size_t i = 0; i < expected.size(); i++) {
    for (size_t j = 0; j < 88; j++) expected[i] += of_bf16(a[i / 72 * 88 + j]) * of_bf16(b[i % 72 * 88 + j]);
  }
  DevicePointer da = session.put(a), db = session.put(b), dc = session.fresh(4 * expected.size());
  session.launch("gemm_bf16", {2, 2}, {128}, 4 * 64 * 32 * 2, da, db, dc, m, n, k);
  return close(session.get<float>(dc, expected.size()), expected, 1e-4);
}

// Three replays of a graph of two steps; the step's number is on the device, so each step adds another one.
inline bool run_replay(Session& session) {
  int n = 50;
  DevicePointer x = session.put(std::vector<float>(50, 0.5f)), step = session.fresh(4);
  session.keep(cuMemsetD8Async(step, 0, 4, session.stream));
  session.keep(cuStreamBeginCapture_v2(session.stream, 1));
  session.launch("counted_step", {}, {32}, 0, x, step, n);
  session.launch("counted_step", {}, {32}, 0, x, step, n);
  Handle graph = nullptr, executable = nullptr;
  session.keep(cuStreamEndCapture(session.stream, &graph));
  session.keep(cuGraphInstantiateWithFlags(&executable, graph, 0));
  for (int i = 0; i < 3; i++) session.keep(cuGraphLaunch(executable, session.stream));
  session.keep(cuStreamSynchronize(session.stream));
  session.keep(cuGraphExecDestroy(executable));
  session.keep(cuGraphDestroy(graph));
  return session.get<int>(step, 1)[0] == 6 && same(session.get<float>(x, 50), std::vector<float>(50, 15.5f));
}

inline bool run_events(Session& session) {
  Handle start = nullptr, end = nullptr;
  session.keep(cuEventCreate(&start, 0));
  session.keep(cuEventCreate(&end, 0));
  session.keep(cuEventRecord(start, session.stream));
  bool right = run_vector_add(session);
  session.keep(cuEventRecord(end, session.stream));
  session.keep(cuEventSynchronize(end));
  float milliseconds = -1.0f;
  session.keep(cuEventElapsedTime_v2(&milliseconds, start, end));
  session.keep(cuEventDestroy_v2(start));
  session.keep(cuEventDestroy_v2(end));
  return right && milliseconds > 0.0f && milliseconds < 60000.0f;
}

inline bool run_histogram(Session& session) {
  int n = 1000;
  std::vector<unsigned char> x(1000);
  std::vector<unsigned> expected(16), zeros(16);
  float total = 0.0f;
  for (size_t i = 0; i < x.size(); i++) {
    x[i] = static_cast<unsigned char>(i * i % 23);
    expected[x[i] % 16]++;
    total += x[i];
  }
  DevicePointer dx = session.put(x), bins = session.put(zeros), mass = session.put(std::vector<float>{0.0f});
  session.launch("histogram", {8}, {128}, 0, dx, bins, mass, n);
  return session.get<unsigned>(bins, 16) == expected && session.get<float>(mass, 1)[0] == total;
}

// Each warp function, by the definition in the CUDA manual.
inline bool run_warp_functions(Session& session) {
  DevicePointer out = session.fresh(64 * 16 * 4);
  session.launch("warp_functions", {}, {64}, 0, out);
  std::vector<int> got = session.get<int>(out, 64 * 16);
  auto reversed = [](unsigned v) {
    unsigned r = 0;
    for (int i = 0; i < 32; i++) r = r << 1 | (v >> i & 1);
    return static_cast<int>(r);
  };
  for (int i = 0; i < 64; i++) {
    int lane = i % 32, bits = __builtin_popcount(static_cast<unsigned>(lane));
    int expected[16] = {
        105,
        lane / 8 * 8 + (lane + 3) % 8,
        lane % 16 < 2 ? lane : lane - 2,
        lane % 16 > 12 ? lane : lane + 3,
        lane ^ 9,
        0x49249249,
        i < 32,
        1,
        496,
        31,
        -31,
        16,
        (lane ? __builtin_clz(static_cast<unsigned>(lane)) : 32) + 100 * bits + 10000 * __builtin_ffs(lane),
        lane / 2,
        reversed(static_cast<unsigned>(lane)),
        static_cast<int>(-0x40000000LL * lane >> 32)};
    for (int j = 0; j < 16; j++) {
      if (got[static_cast<size_t>(16 * i + j)] == expected[j]) continue;
      std::fprintf(stderr, "thread %d, function %d: %d, expected %d\n", i, j, got[static_cast<size_t>(16 * i + j)],
                   expected[j]);
      return false;
    }
  }
  return true;
}

// Half precision by arithmetic on the number line, slowly: the nearest of all 65536 patterns, ties to the even one.
inline unsigned nearest_half(float x) {
  unsigned best = 0;
  double distance = INFINITY;
  for (unsigned bits = 0; bits < 0x7c00; bits++) {
    int exponent = static_cast<int>(bits >> 10);
    double value =
        exponent ? std::ldexp(1024.0 + (bits & 1023), exponent - 25) : std::ldexp(static_cast<double>(bits), -24);
    double d = std::fabs(value - std::fabs(static_cast<double>(x)));
    if (d < distance || (d == distance && bits % 2 == 0)) {
      best = bits;
      distance = d;
    }
  }
  return best | (std::signbit(x) ? 0x8000 : 0);
}

inline bool run_conversions(Session& session) {
  std::vector<float> x = {0.0f,     -0.0f,   1.0f,    1.00390625f, 1.01171875f, 0.1f,    -3.14159f,
                          65504.0f, 6.1e-5f, 5.9e-8f, 2.0e-8f,     3.0e-5f,     1000.3f, -7.7e-6f};
  int n = static_cast<int>(x.size());
  DevicePointer dx = session.put(x), out = session.fresh(x.size() * 32);
  session.launch("conversions", {}, {32}, 0, dx, out, n);
  std::vector<unsigned> got = session.get<unsigned>(out, 8 * x.size());
  for (size_t i = 0; i < x.size(); i++) {
    const unsigned* line = &got[8 * i];
    float values[4];
    std::memcpy(values, line + 4, sizeof values);
    double tf32 = std::fabs(of_bf16(static_cast<unsigned short>(line[2] >> 16)));  // only its size is looked at
    bool right = line[0] == to_bf16(x[i]) && line[1] == nearest_half(x[i]) && (line[2] & 0x1fff) == 0 &&
                 tf32 <= std::fabs(x[i]) * 1.001 && line[3] == (0x3f80u << 16 | to_bf16(x[i])) &&
                 std::fabs(values[0] - x[i]) <= std::fabs(x[i]) * 0x1p-11 + 0x1p-25 &&
                 values[1] == of_bf16(to_bf16(x[i])) &&
                 (std::fabs(x[i]) > 100 || std::fabs(values[2] - std::exp2(x[i])) <= 1e-6 * std::exp2(x[i])) &&
                 (x[i] == 0.0f ? std::isinf(values[3]) : std::fabs(values[3] * x[i] - 1.0f) < 1e-6f);
    if (!right) {
      std::fprintf(stderr, "conversion of %g\n", static_cast<double>(x[i]));
      return false;
    }
  }
  return true;
}

inline bool run_copied_calls(Session& session) {
  std::vector<float> x = numbers(64, 14), expected;
  for (size_t i = 0; i < 64; i++) expected.push_back(i < 20 ? x[19 - i] + (x[i] + x[i ^ 1]) : 6.0f);
  DevicePointer dx = session.put(x), dy = session.fresh(256);
  session.launch("copied_calls", {}, {64}, 0, dx, dy);
  return same(session.get<float>(dy, 64), expected);
}

// 16 x 16 x 8 with small integers in half precision: exact.
inline bool run_multiply_half(Session& session) {
  std::vector<unsigned short> a, b;
  std::vector<double> va, vb, expected(128);
  for (int i = 0; i < 256; i++)
    va.push_back(i * 7 % 11 - 5), a.push_back(static_cast<unsigned short>(nearest_half(static_cast<float>(va.back()))));
  for (int i = 0; i < 128; i++)
    vb.push_back(i * 5 % 13 - 6), b.push_back(static_cast<unsigned short>(nearest_half(static_cast<float>(vb.back()))));
  for (size_t i = 0; i < 128; i++) {
    for (size_t k = 0; k < 16; k++) expected[i] += va[16 * (i / 8) + k] * vb[8 * k + i % 8];
  }
  DevicePointer da = session.put(a), db = session.put(b), dd = session.fresh(512);
  session.launch("multiply_half", {}, {32}, 0, da, db, dd);
  return close(session.get<float>(dd, 128), expected, 0.0);
}

inline bool run_multiply_single(Session& session) {
  std::vector<float> a, b;
  std::vector<double> expected(128);
  for (int i = 0; i < 128; i++) a.push_back(static_cast<float>(i * 7 % 11 - 5));
  for (int i = 0; i < 64; i++) b.push_back(static_cast<float>(i * 5 % 13 - 6) / 8.0f);
  for (size_t i = 0; i < 128; i++) {
    for (size_t k = 0; k < 8; k++) expected[i] += static_cast<double>(a[8 * (i / 8) + k]) * b[8 * k + i % 8];
  }
  DevicePointer da = session.put(a), db = session.put(b), dd = session.fresh(512);
  session.launch("multiply_single", {}, {32}, 0, da, db, dd);
  return close(session.get<float>(dd, 128), expected, 0.0);
}

inline std::vector<Proof> demo_proofs() {
  auto healthy = [](const char* name, const char* file, bool (*run)(Session&)) {
    return Proof{name, file, "", false, [run](Session& session, bool) { return run(session); }, true};
  };
  return {
      healthy("vector_add", "demo.cu", run_vector_add),
      healthy("row_sum", "demo.cu", run_row_sum),
      healthy("matmul", "demo.cu", run_matmul),
      healthy("gemm_bf16", "demo.cu", run_gemm),
      healthy("graph_replay", "demo.cu", run_replay),
      healthy("events", "demo.cu", run_events),
      healthy("histogram", "demo.cu", run_histogram),
      healthy("warp_functions", "warps.cu", run_warp_functions),
      healthy("copied_calls", "barriers.cu", run_copied_calls),
      healthy("conversions", "warps.cu", run_conversions),
      healthy("multiply_half", "tensors.cu", run_multiply_half),
      healthy("multiply_single", "tensors.cu", run_multiply_single),
  };
}
