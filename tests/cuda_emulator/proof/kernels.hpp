// The proofs whose mistake is in a kernel: how each is launched, and what it must compute.
#pragma once
#include <functional>

#include "session.hpp"

struct Proof {
  std::string name, file;
  // Words of the message (or others, behind a `|`, where the order of threads decides what is met first), and whether
  // it names the line marked `CAUGHT: name`. No words: no message, but wrong results.
  std::string words;
  bool names_line = true;
  // Runs it, broken or healthy; false if the results are wrong.
  std::function<bool(Session&, bool broken)> run;
  bool only_healthy = false;
};

// A read that no barrier orders: a race, or a byte not yet written.
inline const char unordered[] = "race on shared memory: tile|uninitialised shared memory: tile";

inline std::string twin(const char* name, bool broken) { return std::string(name) + (broken ? "_broken" : "_healthy"); }

// y[i] = f(x, i) with 64 threads and `inputs` numbers.
inline Proof in_block(const char* name, const char* file, const char* words, size_t inputs,
                      std::function<float(const std::vector<float>&, size_t)> f, unsigned threads = 64) {
  return {name, file, words, true, [=](Session& session, bool broken) {
            std::vector<float> x = numbers(inputs, 1), expected;
            for (size_t i = 0; i < threads; i++) expected.push_back(f(x, i));
            DevicePointer dx = session.put(x), dy = session.fresh(threads * 4);
            session.launch(twin(name, broken), {}, {threads}, 0, dx, dy);
            return same(session.get<float>(dy, threads), expected);
          }};
}

// y[i] = f(x, i) for n = 101 elements in blocks of 32.
inline Proof in_grid(const char* name, const char* words, std::function<float(const std::vector<float>&, size_t)> f) {
  return {name, "accesses.cu", words, true, [=](Session& session, bool broken) {
            int n = 101;
            std::vector<float> x = numbers(101, 2), expected;
            for (size_t i = 0; i < x.size(); i++) expected.push_back(f(x, i));
            DevicePointer dx = session.put(x), dy = session.fresh(x.size() * 4);
            session.launch(twin(name, broken), {4}, {32}, 0, dx, dy, n);
            return same(session.get<float>(dy, x.size()), expected);
          }};
}

inline std::vector<Proof> barrier_proofs() {
  auto mirrored = [](const std::vector<float>& x, size_t i) { return x[63 - i]; };
  auto copied = [](const std::vector<float>& x, size_t i) { return x[i]; };
  auto neighbour = [](const std::vector<float>& x, size_t i) { return x[i ^ 1]; };
  const char* file = "barriers.cu";
  std::vector<Proof> proofs = {
      in_block("missing_syncthreads", file, unordered, 64, mirrored),
      in_block("missing_second_barrier", file, "race on shared memory: tile", 256,
               [](const std::vector<float>& x, size_t i) {
                 float sum = 0.0f;
                 for (size_t k = 0; k < 4; k++) sum += x[64 * k + 63 - i];
                 return sum;
               }),
      in_block("missing_syncwarp", file, unordered, 64, neighbour),
      in_block("write_write_race", file, "race on shared memory: tile", 64, copied),
      in_block("divergent_barrier", file, "divergent barrier", 64, mirrored),
      in_block("skipped_barrier", file, "divergence", 64, neighbour),
      in_block("uninitialised_shared", file, "uninitialised shared memory: tile", 64, copied),
      in_block("past_shared", file, "out of bounds of shared memory: read of 4 bytes", 64, copied),
      in_block("past_row", file, "index 16 is out of an array's bounds", 64, copied),
  };
  proofs.push_back({"plain_increment", file, "race on shared memory: count", true, [](Session& session, bool broken) {
                      std::vector<float> x = numbers(64, 1);
                      int positive = 0;
                      for (float v : x) positive += v > 0.0f;
                      DevicePointer dx = session.put(x), dy = session.fresh(4);
                      session.launch(twin("plain_increment", broken), {}, {64}, 0, dx, dy);
                      return session.get<int>(dy, 1)[0] == positive;
                    }});
  return proofs;
}

inline std::vector<Proof> access_proofs() {
  auto copied = [](const std::vector<float>& x, size_t i) { return x[i]; };
  std::vector<Proof> proofs = {
      in_grid("off_by_one_read", "out of bounds of global memory: read of 4 bytes by thread (4,0,0)",
              [](const std::vector<float>& x, size_t i) { return x[i] + x[(i + 1) % x.size()]; }),
      in_grid("read_before", "4 bytes before buffer",
              [](const std::vector<float>& x, size_t i) { return x[i] + x[(i + x.size() - 1) % x.size()]; }),
      in_grid("off_by_one_write", "out of bounds of global memory: write of 4 bytes", copied),
      in_grid("uninitialised_global", "uninitialised global memory", copied),
  };
  proofs.push_back(
      {"unmasked_tail", "accesses.cu", "1 bytes past the last of buffer", true, [](Session& session, bool broken) {
         int n = 101;  // one byte too many is the smallest overrun there is
         std::vector<unsigned char> x(101);
         for (size_t i = 0; i < x.size(); i++) x[i] = static_cast<unsigned char>(7 * i);
         DevicePointer dx = session.put(x), dy = session.fresh(x.size());
         session.launch(twin("unmasked_tail", broken), {broken ? 102u : 128u}, {1}, 0, dx, dy, n);
         return session.get<unsigned char>(dy, x.size()) == x;
       }});
  for (const char* name : {"misaligned_vector", "unaligned_shared"}) {
    proofs.push_back({name, "accesses.cu", "misaligned access", true, [name](Session& session, bool broken) {
                        int n = 256;
                        std::vector<float> x = numbers(256, 3);
                        DevicePointer dx = session.put(x), dy = session.fresh(1024);
                        session.launch(twin(name, broken), {}, {64}, 0, dx, dy, n);
                        return same(session.get<float>(dy, 256), x);
                      }});
  }
  return proofs;
}

// y = x in blocks that hand over: the sums of 16 rows each; and neighbours within a block.
inline std::vector<Proof> sharing_proofs() {
  Proof blocks{"blocks_share", "accesses.cu", "race on global memory", true, [](Session& session, bool broken) {
                 std::vector<float> x = numbers(64 * 32, 11), expected(128);
                 for (size_t i = 0; i < x.size(); i++) expected[i / 512 * 32 + i % 32] += x[i];
                 DevicePointer dx = session.put(x), dy = session.fresh(512);
                 session.launch(twin("blocks_share", broken), {4}, {32}, 0, dx, dy);
                 return same(session.get<float>(dy, 128), expected);
               }};
  Proof threads{"threads_share", "accesses.cu", "race on global memory|uninitialised global memory", true,
                [](Session& session, bool broken) {
                  int n = 64;
                  std::vector<float> x = numbers(64, 12), expected(x.begin() + 1, x.end());
                  expected.push_back(x[0]);
                  DevicePointer dx = session.put(x), dy = session.fresh(256);
                  session.launch(twin("threads_share", broken), {}, {64}, 0, dx, dy, n);
                  return same(session.get<float>(dy, 64), expected);
                }};
  Proof last{"last_block",
             "accesses.cu",
             "",
             false,
             [](Session& session, bool) {
               std::vector<float> x = numbers(160, 13);
               double sum = 0.0;
               for (float v : x) sum += v;
               DevicePointer dx = session.put(x), part = session.fresh(640),
                             done = session.put(std::vector<unsigned>{0}), y = session.fresh(4);
               session.launch("last_block", {5}, {32}, 0, dx, part, done, y);
               return close(session.get<float>(y, 1), {sum}, 1e-4);
             },
             true};
  return {blocks, threads, last};
}

inline std::vector<Proof> warp_proofs() {
  const char* file = "warps.cu";
  auto mirrored_in_pairs = [](const std::vector<float>& x, size_t i) { return x[i / 64 * 64 + 63 - i % 64]; };
  std::vector<Proof> proofs = {
      in_block(
          "divergent_shuffle", file, "divergence: 16 of 32 threads wait|which have exited", 32,
          [](const std::vector<float>& x, size_t i) {
            std::vector<float> sum = x, next(32);
            for (size_t step = 16; step > 0; step /= 2) {
              for (size_t lane = 0; lane < 32; lane++) next[lane] = sum[lane] + sum[lane ^ step];
              sum = next;
            }
            return sum[i];
          },
          32),
      in_block(
          "two_shuffles", file, "divergent warp", 32,
          [](const std::vector<float>& x, size_t i) { return x[i == 31 ? 31 : i + 1]; }, 32),
      in_block(
          "outside_mask", file, "which the mask 0x0000ffff does not name", 32,
          [](const std::vector<float>& x, size_t i) { return x[i < 16 ? i ^ 8 : i]; }, 32),
      in_block("wrong_barrier", file, unordered, 128, mirrored_in_pairs, 128),
  };
  proofs.push_back({"exited_lanes", file, "which have exited|divergence: 13 of 32 threads wait", true,
                    [](Session& session, bool broken) {
                      int n = 13;
                      std::vector<float> x = numbers(13, 4), expected;
                      for (size_t i = 0; i < 13; i++) expected.push_back(x[i] + (i == 12 ? 0.0f : x[i ^ 1]));
                      DevicePointer dx = session.put(x), dy = session.fresh(13 * 4);
                      session.launch(twin("exited_lanes", broken), {}, {32}, 0, dx, dy, n);
                      return same(session.get<float>(dy, 13), expected);
                    }});
  proofs.push_back(
      {"named_barrier_count", file, "wait for others that will not come", true, [](Session& session, bool broken) {
         std::vector<float> x = numbers(32, 5), expected(x.rbegin(), x.rend());
         DevicePointer dx = session.put(x), dy = session.fresh(128);
         session.launch(twin("named_barrier_count", broken), {}, {96}, 0, dx, dy);
         return same(session.get<float>(dy, 32), expected);
       }});
  return proofs;
}

// d = a bᵀ with a [16, 64] and b [8, 64] in bf16.
inline bool run_swizzle(Session& session, bool broken) {
  std::vector<unsigned short> a, b;
  for (float v : numbers(16 * 64, 6)) a.push_back(to_bf16(v));
  for (float v : numbers(8 * 64, 7)) b.push_back(to_bf16(v));
  std::vector<double> expected(128);
  for (size_t i = 0; i < 128; i++) {
    for (size_t k = 0; k < 64; k++) expected[i] += of_bf16(a[64 * (i / 8) + k]) * of_bf16(b[64 * (i % 8) + k]);
  }
  DevicePointer da = session.put(a), db = session.put(b), dd = session.fresh(512);
  session.launch(twin("wrong_swizzle", broken), {}, {32}, 0, da, db, dd);
  return close(session.get<float>(dd, 128), expected, 1e-4);
}

inline bool run_misaligned_matrix(Session& session, bool broken) {
  std::vector<unsigned short> a(16 * 64);
  for (size_t i = 0; i < a.size(); i++) a[i] = static_cast<unsigned short>(i);
  DevicePointer da = session.put(a), out = session.fresh(512);
  session.launch(twin("misaligned_matrix", broken), {}, {32}, 0, da, out);
  std::vector<unsigned> got = session.get<unsigned>(out, 128);
  for (size_t i = 0; i < 128; i++) {
    size_t lane = i / 4, m = i % 4, row = lane / 4 + 8 * (m % 2), column = 2 * (lane % 4) + 8 * (m / 2);
    if (got[i] != (static_cast<unsigned>(a[64 * row + column + 1]) << 16 | a[64 * row + column])) return false;
  }
  return true;
}

inline std::vector<Proof> tensor_proofs() {
  const char* file = "tensors.cu";
  auto mirrored = [](const std::vector<float>& x, size_t i) { return x[255 - i]; };
  return {
      in_block("missing_copy_wait", file, "before its cp.async has landed: tile", 256, mirrored),
      in_block("wrong_wait_count", file, "before its cp.async has landed: tile", 512,
               [](const std::vector<float>& x, size_t i) { return x[256 + 4 * i]; }),
      in_block("wait_without_barrier", file, unordered, 256, mirrored),
      in_block("copy_too_early", file, "race on shared memory: tile", 512,
               [](const std::vector<float>& x, size_t i) { return x[255 - i] + x[511 - i]; }),
      in_block("copy_at_exit", file, "never waited for", 256,
               [](const std::vector<float>& x, size_t i) { return x[i]; }),
      {"wrong_swizzle", file, "", false, run_swizzle},
      {"misaligned_matrix", file, "misaligned ldmatrix row", true, run_misaligned_matrix},
  };
}
