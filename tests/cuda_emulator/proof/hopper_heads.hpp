// The proofs about what attention uses of sm_90.
#pragma once
#include "hopper.hpp"

// Two images of 71 positions, two heads of width 64: o = bf16(q kᵀ) v of the first 64 positions as queries.
inline bool run_heads(Session& session, const std::string& kernel) {
  constexpr size_t images = 2, n = 71, heads = 2, width = 64, row = 3 * heads * width;
  std::vector<unsigned short> qkv = halves(images * n * row, 21);
  for (unsigned short& half : qkv) half = to_bf16(static_cast<float>(of_bf16(half)) * 0.25f);
  auto at = [&](size_t image, size_t position, size_t part, size_t head, size_t i) {
    return of_bf16(qkv[(image * n + position) * row + (part * heads + head) * width + i]);
  };
  std::vector<double> expected(images * n * heads * width);
  for (size_t place = 0; place < images * heads * 64; place++) {
    size_t image = place / 64 / heads, head = place / 64 % heads, query = place % 64;
    for (size_t key = 0; key < n; key++) {
      double score = 0;
      for (size_t i = 0; i < width; i++) score += at(image, query, 0, head, i) * at(image, key, 1, head, i);
      score = of_bf16(to_bf16(static_cast<float>(score)));
      double* out = &expected[((image * n + query) * heads + head) * width];
      for (size_t i = 0; i < width; i++) out[i] += score * at(image, key, 2, head, i);
    }
  }
  DevicePointer in = session.put(qkv), out = session.put(std::vector<unsigned short>(expected.size()));
  TensorMap map_in = map_of(session, in,
                            TensorShape{bf16_elements,
                                        3,
                                        {width, n, 3 * heads, images},
                                        {2 * row, 2 * width, 2 * row * n},
                                        {width, 80, 1, 1}}),
            map_out = map_of(session, out,
                             TensorShape{bf16_elements,
                                         3,
                                         {width, n, heads, images},
                                         {2 * heads * width, 2 * width, 2 * heads * width * n},
                                         {width, 64, 1, 1}});
  session.keep(cuFuncSetAttribute(session.function(kernel), 8, 3 * 80 * 128));
  session.launch(kernel, {heads, images}, {128}, 3 * 80 * 128, map_in, map_out);
  std::vector<float> got;
  for (unsigned short half : session.get<unsigned short>(out, expected.size()))
    got.push_back(static_cast<float>(of_bf16(half)));
  return close(got, expected, 0.03);
}

inline Proof in_heads(const char* mistake, const char* words, bool names_line) {
  return {mistake, "hopper_heads.cu", words, names_line, [=](Session& session, bool broken) {
            return run_heads(session, std::string("heads_") + (broken ? mistake : "none"));
          }};
}

// d [64, n] = a bᵀ under a swizzle of `bytes`.
inline Proof in_swizzle(const char* name, size_t n, unsigned bytes, bool transposed, const char* words) {
  auto run = [=](Session& session, bool broken) {
    size_t across = bytes / 2, depth = transposed ? 16 : across;
    std::vector<unsigned short> a = halves(64 * depth, 22), b = halves(n * depth, 23);
    std::vector<double> expected(64 * n);
    for (size_t i = 0; i < 64 * n; i++) {
      for (size_t k = 0; k < depth; k++) {
        size_t of_a = transposed ? k * 64 + i / n : i / n * depth + k;
        size_t of_b = transposed ? k * n + i % n : i % n * depth + k;
        expected[i] += of_bf16(a[of_a]) * of_bf16(b[of_b]);
      }
    }
    DevicePointer da = session.put(a), db = session.put(b), dd = session.fresh(64 * n * 4);
    int swizzle = bytes == 128 ? 3 : bytes == 64 ? 2 : 1;
    auto map = [&](DevicePointer start, size_t rows) {
      size_t columns = transposed ? rows : depth, lines = transposed ? depth : rows;
      return map_of(session, start,
                    TensorShape{bf16_elements,
                                swizzle,
                                {columns, lines},
                                {2 * columns},
                                {static_cast<unsigned>(across), static_cast<unsigned>(lines)}});
    };
    TensorMap map_a = map(da, 64), map_b = map(db, n);
    session.launch(twin(name, broken), {}, {128}, static_cast<unsigned>((64 + n) * depth * 2), map_a, map_b, dd);
    return close(session.get<float>(dd, 64 * n), expected, 1e-4);
  };
  return {name, "hopper_heads.cu", words, false, run};
}

inline Proof of_registers(const char* mistake, const char* words) {
  return {mistake, "hopper_heads.cu", words, false, [=](Session& session, bool broken) {
            DevicePointer out = session.fresh(384 * 4);
            session.launch(std::string("registers_") + (broken ? mistake : "none"), {}, {384}, 0, out);
            return session.get<int>(out, 384)[383] == 383;
          }};
}

inline bool run_read_back(Session& session, bool broken) {
  std::vector<float> x = numbers(64 * 32, 24), twice;
  double sum = 0;
  for (size_t i = 0; i < x.size(); i++) {
    twice.push_back(2 * x[i]);
    if (i % 32 == 0) sum += static_cast<double>(x[i]);
  }
  DevicePointer dx = session.put(x), dy = session.fresh(8192), dy2 = session.fresh(8192), dz = session.fresh(4);
  auto map = [&](DevicePointer start) {
    return map_of(session, start, MapShape{float32_elements, 64, 32, 128, 64, 32});
  };
  TensorMap map_x = map(dx), map_y = map(dy), map_y2 = map(dy2);
  session.launch(twin("read_back", broken), {}, {128}, 0, map_x, map_y, map_y2, dy, dz);
  return same(session.get<float>(dy, 2048), x) && same(session.get<float>(dy2, 2048), twice) &&
         close(session.get<float>(dz, 1), {sum}, 1e-4);
}

inline std::vector<Proof> head_proofs() {
  const char* swizzled = "wgmma descriptor b";
  return {
      in_heads("unfenced_fragment", "no wgmma.fence between the last use of its operand registers", false),
      in_heads("early_fragment", "no wgmma.fence between the last use of its operand registers", false),
      in_heads("rewritten_fragment", "operand registers of a wgmma used before wgmma.wait_group: write", true),
      in_heads("wrong_rank", "no tensor map of rank 3", true),
      in_heads("not_transposed", "out of bounds of shared memory", false),
      in_heads("misaligned_store", "misaligned stmatrix row", true),
      in_heads("plain_store", "", false),
      in_swizzle("swizzle_128", 208, 128, false, swizzled),
      in_swizzle("swizzle_64", 256, 64, false, swizzled),
      in_swizzle("swizzle_32", 80, 32, false, swizzled),
      in_swizzle("columns_128", 64, 128, true, "out of bounds of shared memory"),
      in_swizzle("columns_64", 96, 64, true, swizzled),
      in_swizzle("columns_32", 48, 32, true, swizzled),
      {"read_back", "hopper_heads.cu", "global memory used before its bulk copy was waited for", true, run_read_back},
      of_registers("greedy_registers", "the block's warpgroups hold 66560 registers, it has 64512"),
      of_registers("unequal_registers", "divergence|its warpgroup lacks some of 128 threads"),
  };
}
