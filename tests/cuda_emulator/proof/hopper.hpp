// The proofs about sm_90.
#pragma once
#include "kernels.hpp"

extern "C" int cuTensorMapEncodeTiled(void*, int, unsigned, void*, const unsigned long long*, const unsigned long long*,
                                      const unsigned*, const unsigned*, int, int, int, int);

struct alignas(64) TensorMap {
  unsigned char bytes[128];
};

// A tensor and the boxes it is taken in, from the contiguous dimension on; by the numbers of CUtensorMapDataType (6
// float16, 7 float32, 9 bf16) and CUtensorMapSwizzle (0 none, 1 to 3 for 32, 64, 128 bytes).
struct TensorShape {
  int type, swizzle;
  std::vector<unsigned long long> dims, strides;
  std::vector<unsigned> box;
};
constexpr int float32_elements = 7, bf16_elements = 9;

inline TensorMap map_of(Session& session, DevicePointer start, const TensorShape& shape) {
  TensorMap map{};
  unsigned steps[] = {1, 1, 1, 1, 1};
  session.keep(cuTensorMapEncodeTiled(&map, shape.type, static_cast<unsigned>(shape.dims.size()),
                                      reinterpret_cast<void*>(start), shape.dims.data(), shape.strides.data(),
                                      shape.box.data(), steps, 0, shape.swizzle, 2, 0));
  return map;
}

// A matrix in rows that are `pitch` bytes apart. Boxes of bf16 have the swizzle of 128 bytes.
struct MapShape {
  int type;
  unsigned long long rows, columns, pitch;
  unsigned box_rows, box_columns;
};

inline TensorMap map_of(Session& session, DevicePointer start, const MapShape& shape) {
  int swizzle = shape.type == bf16_elements ? 3 : 0;
  return map_of(session, start,
                TensorShape{shape.type,
                            swizzle,
                            {shape.columns, shape.rows},
                            {shape.pitch},
                            {shape.box_columns, shape.box_rows}});
}

inline std::vector<unsigned short> halves(size_t count, unsigned seed) {
  std::vector<unsigned short> values;
  for (float value : numbers(count, seed)) values.push_back(to_bf16(value));
  return values;
}

// c = a bᵀ at a size that fills no tile, with k = 456.
inline bool run_product(Session& session, const std::string& kernel, size_t m, size_t n,
                        const std::function<void(const TensorMap&, const TensorMap&, const TensorMap&, int)>& launch) {
  constexpr size_t k = 456;
  std::vector<unsigned short> a = halves(m * k, 11), b = halves(n * k, 12);
  std::vector<double> expected(m * n);
  for (size_t i = 0; i < m * n; i++) {
    for (size_t j = 0; j < k; j++) expected[i] += of_bf16(a[i / n * k + j]) * of_bf16(b[i % n * k + j]);
  }
  DevicePointer da = session.put(a), db = session.put(b), dc = session.fresh(m * n * 4);
  TensorMap map_a = map_of(session, da, {bf16_elements, m, k, 2 * k, 64, 64}),
            map_b = map_of(session, db, {bf16_elements, n, k, 2 * k, 64, 64}),
            map_c = map_of(session, dc, {float32_elements, m, n, 4 * n, 64, 32});
  session.keep(cuFuncSetAttribute(session.function(kernel), 8, 100 << 10));
  launch(map_a, map_b, map_c, static_cast<int>((k + 63) / 64));
  return close(session.get<float>(dc, m * n), expected, 1e-3);
}

// In four blocks of one tile.
inline bool run_ring(Session& session, const std::string& kernel) {
  auto launch = [&](const TensorMap& a, const TensorMap& b, const TensorMap& c, int steps) {
    session.launch(kernel, {2, 2}, {256}, 64 << 10, a, b, c, steps);
  };
  return run_product(session, kernel, 100, 72, launch);
}

// In one block, three tiles one after another.
inline bool run_two_consumers(Session& session) {
  auto launch = [&](const TensorMap& a, const TensorMap& b, const TensorMap& c, int steps) {
    session.launch("two_consumers", {}, {384}, (2 * 5 + 2) * 8192, a, b, c, 3, steps);
  };
  return run_product(session, "two_consumers", 301, 188, launch);
}

inline Proof in_ring(const char* mistake, const char* words, bool names_line = true) {
  return {mistake, "hopper.cu", words, names_line, [=](Session& session, bool broken) {
            return run_ring(session, std::string("ring_") + (broken ? mistake : "none"));
          }};
}

// d = aᵀ b with a [64, 64] and b [64, n].
inline bool run_transposed(Session& session, size_t n, const char* kernel) {
  std::vector<unsigned short> a = halves(64 * 64, 13), b = halves(64 * n, 14);
  std::vector<double> expected(64 * n);
  for (size_t i = 0; i < 64 * n; i++) {
    for (size_t k = 0; k < 64; k++) expected[i] += of_bf16(a[64 * k + i / n]) * of_bf16(b[n * k + i % n]);
  }
  DevicePointer da = session.put(a), db = session.put(b), dd = session.fresh(64 * n * 4);
  TensorMap map_a = map_of(session, da, {bf16_elements, 64, 64, 128, 64, 64}),
            map_b = map_of(session, db, {bf16_elements, 64, n, 2 * n, 64, 64});
  session.launch(kernel, {}, {128}, static_cast<unsigned>(8192 + 128 * n), map_a, map_b, dd);
  return close(session.get<float>(dd, 64 * n), expected, 1e-4);
}

// d = a bᵀ, all [64, 64], operands written by threads.
inline bool run_written(Session& session, bool broken) {
  std::vector<unsigned short> a = halves(64 * 64, 15), b = halves(64 * 64, 16);
  std::vector<double> expected(64 * 64);
  for (size_t i = 0; i < 64 * 64; i++) {
    for (size_t k = 0; k < 64; k++) expected[i] += of_bf16(a[64 * (i / 64) + k]) * of_bf16(b[64 * (i % 64) + k]);
  }
  DevicePointer da = session.put(a), db = session.put(b), dd = session.fresh(64 * 64 * 4);
  session.launch(twin("written_operands", broken), {}, {128}, 0, da, db, dd);
  return close(session.get<float>(dd, 64 * 64), expected, 1e-4);
}

inline std::vector<Proof> hopper_proofs() {
  const char* file = "hopper.cu";
  return {
      in_ring("missing_init_fence", "no fence.mbarrier_init", false),
      in_ring("wrong_bytes", "its mbarrier expects 0 more in this phase"),
      in_ring("missing_bytes", "lacks 0 of 1 arrivals and 128 bytes in phase 0"),
      in_ring(
          "wrong_parity",
          "before its bulk copy has landed|uninitialised shared memory|after the write by the engine of bulk copies|"
          "divergence: 129 of 256 threads wait",
          false),
      in_ring("early_release", "while a wgmma or a bulk copy still reads it|race on shared memory", false),
      in_ring("unawaited_slot", "one arrival more than the 1 of this phase|race on shared memory", false),
      in_ring("no_first_product", "", false),
      in_ring("missing_group_fence", "no wgmma.fence between", false),
      in_ring("missing_group_wait", "accumulators of a wgmma used before wgmma.wait_group"),
      in_ring("wrong_stride", "wgmma descriptor a, 0x4000002000010", true),
      in_ring("missing_fence_async", "no fence.proxy.async between the write of dynamic shared memory"),
      in_ring("unfinished_store", "2 bulk copies of thread (0,0,0) [warp 0, lane 0] never waited for", false),
      in_ring("misaligned_tile", "misaligned tile of a bulk copy: 1024 bytes at dynamic shared memory"),
      {"written_operands", file, "no fence.proxy.async between the write of tile_a", true, run_written},
      {"transposed_step", file, "it starts within the 8 rows of a swizzle", true,
       [](Session& session, bool broken) {
         return run_transposed(session, 192, broken ? "transposed_step" : "transposed_192");
       }},
      {"two_consumers", file, "", false, [](Session& session, bool) { return run_two_consumers(session); }, true},
      {"transposed_128", file, "", false,
       [](Session& session, bool) { return run_transposed(session, 128, "transposed_128"); }, true},
      {"transposed_64", file, "", false,
       [](Session& session, bool) { return run_transposed(session, 64, "transposed_64"); }, true},
      {"map_stride", file, "cuTensorMapEncodeTiled: stride 1 is no multiple of 16", false,
       [](Session& session, bool broken) {
         DevicePointer start = session.fresh(64 * 144);
         TensorMap map = map_of(session, start, MapShape{bf16_elements, 64, 65, broken ? 130u : 144u, 64, 64});
         return map.bytes[0] != 0 && session.error == 0;
       }},
      {"map_box", file, "a row of the box has 256 bytes, more than its swizzle of 128", false,
       [](Session& session, bool broken) {
         DevicePointer start = session.fresh(64 * 256);
         TensorMap map = map_of(session, start, MapShape{bf16_elements, 64, 128, 256, 64, broken ? 128u : 64u});
         return map.bytes[0] != 0 && session.error == 0;
       }},
  };
}
