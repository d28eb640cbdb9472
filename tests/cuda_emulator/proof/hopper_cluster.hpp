// The proofs about clusters.
#pragma once
#include "hopper.hpp"

inline Proof in_cluster(const char* mistake, const char* words, bool names_line = false) {
  return {mistake, "hopper_cluster.cu", words, names_line, [=](Session& session, bool broken) {
            constexpr size_t m = 256, n = 64, k = 456;
            std::vector<unsigned short> a = halves(m * k, 31), b = halves(n * k, 32);
            std::vector<double> expected(m * n);
            for (size_t i = 0; i < m * n; i++) {
              for (size_t j = 0; j < k; j++) expected[i] += of_bf16(a[i / n * k + j]) * of_bf16(b[i % n * k + j]);
            }
            DevicePointer da = session.put(a), db = session.put(b), dc = session.fresh(m * n * 4);
            TensorMap map_a = map_of(session, da, MapShape{bf16_elements, m, k, 2 * k, 64, 64}),
                      map_b = map_of(session, db,
                                     TensorShape{bf16_elements, 3, {k, n, 1}, {2 * k, 2 * k * n}, {64, 32, 1}});
            int steps = static_cast<int>((k + 63) / 64);
            session.launch(std::string("cluster_") + (broken ? mistake : "none"), {m / 64}, {256}, 32 << 10, map_a,
                           map_b, dc, steps);
            return close(session.get<float>(dc, m * n), expected, 1e-3);
          }};
}

inline std::vector<Proof> cluster_proofs() {
  const char* file = "hopper_cluster.cu";
  auto count = [](Session& session, const char* kernel, unsigned blocks) {
    DevicePointer dy = session.put(std::vector<float>(4));
    session.launch(kernel, {blocks}, {100}, 0, dy);
    return same(session.get<float>(dy, 4), {2, 1, 4, 3});
  };
  return {
      in_cluster("missing_first_sync", "race on shared memory|uninitialised shared memory|is no mbarrier"),
      in_cluster("missing_last_sync", "others of its cluster may still use its shared memory|has exited"),
      in_cluster("own_release", "race on shared memory|still reads it|used before its bulk copy has landed|one arrival more"),
      in_cluster("too_few_bytes", "expects|one arrival more|divergence"),
      in_cluster("too_many_bytes", "and 128 bytes in phase 0"),
      in_cluster("one_block_only", "and 4096 bytes in phase 0"),
      in_cluster("absent_block", "block 2 of its cluster of 2 does not exist", true),
      {"late_arrival", file, "block 1 of its cluster of 2 has exited|others of its cluster may still use its shared memory", false,
       [=](Session& session, bool broken) {
         return count(session, broken ? "count_late_arrival" : "count_none", 4);
       }},
      {"odd_grid", file, "a grid of (3,1,1), no multiple of its cluster (2,1,1)", false,
       [=](Session& session, bool broken) { return count(session, "count_none", broken ? 3 : 4); }},
  };
}
