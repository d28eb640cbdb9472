// Tensor cores of Ampere: ldmatrix and mma.sync (and Hopper's stmatrix), with the fragment layouts of the PTX manual
// ("Matrix Fragments for mma.m16n8k16", "... mma.m16n8k8", "ldmatrix"). In all of them lane l = 4 g + t holds rows or columns g (and g + 8) and pairs that
// start at 2 t.
//
// Products are exact and sums are rounded to float32 one after another in the order of k; hardware adds several at once
// and truncates, so the last bits differ.
#pragma once
#include "async_copy.hpp"

namespace emulator {

struct MatrixLane {
  unsigned* out;
  const void* row;
};

void load_matrix(unsigned* out, const void* row, int count, bool transposed) {
  static const char* const names[] = {"", "ldmatrix.x1", "ldmatrix.x2", "", "ldmatrix.x4"};
  uintptr_t code = EMULATOR_CALLER;
  // Lanes 8 m to 8 m + 7 name the rows of matrix m.
  if (current->lane < 8u * static_cast<unsigned>(count)) {
    if (!in_arena(row))
      fail(illegal_address, "ldmatrix of memory that is not shared, by " + name_of(*current), {{"ldmatrix", code}});
    check_alignment(reinterpret_cast<uintptr_t>(row), 16, "ldmatrix row", code);
    shared_read(*current, arena_offset(row), 16, code);
  }
  MatrixLane mine{out, row};
  together(names[count], code, ~0u, mine, [=](MatrixLane** lanes) {
    for (int m = 0; m < count; m++) {
      uint16_t matrix[8][8];
      for (int r = 0; r < 8; r++) std::memcpy(matrix[r], lanes[8 * m + r]->row, 16);
      for (int lane = 0; lane < lanes_per_warp; lane++) {
        int g = lane / 4, t = lane % 4;
        uint16_t low = transposed ? matrix[2 * t][g] : matrix[g][2 * t];
        uint16_t high = transposed ? matrix[2 * t + 1][g] : matrix[g][2 * t + 1];
        lanes[lane]->out[m] = static_cast<unsigned>(high) << 16 | low;
      }
    }
  });
}

struct StoredLane {
  const unsigned* in;
  void* row;
};

void store_matrix(void* row, const unsigned* in, int count, bool transposed) {
  static const char* const names[] = {"", "stmatrix.x1", "stmatrix.x2", "", "stmatrix.x4"};
  uintptr_t code = EMULATOR_CALLER;
  if (current->lane < 8u * static_cast<unsigned>(count)) {
    if (!in_arena(row))
      fail(illegal_address, "stmatrix to memory that is not shared, by " + name_of(*current), {{"stmatrix", code}});
    check_alignment(reinterpret_cast<uintptr_t>(row), 16, "stmatrix row", code);
    shared_write(*current, arena_offset(row), 16, code, Access::write, now(*current));
  }
  StoredLane mine{in, row};
  together(names[count], code, ~0u, mine, [=](StoredLane** lanes) {
    for (int m = 0; m < count; m++) {
      uint16_t matrix[8][8];
      for (int lane = 0; lane < lanes_per_warp; lane++) {
        int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 2; i++) {
          uint16_t half = static_cast<uint16_t>(lanes[lane]->in[m] >> 16 * i);
          (transposed ? matrix[2 * t + i][g] : matrix[g][2 * t + i]) = half;
        }
      }
      for (int r = 0; r < 8; r++) std::memcpy(lanes[8 * m + r]->row, matrix[r], 16);
    }
  });
}

inline float from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

// IEEE half precision to float32, exact.
inline float from_half(uint16_t half) {
  uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16, exponent = half >> 10 & 31, mantissa = half & 0x3ff;
  if (exponent == 31) return from_bits(sign | 0x7f800000 | mantissa << 13);
  if (exponent == 0) {
    float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

inline float from_pair(Product kind, uint32_t pair, int which) {
  uint16_t half = static_cast<uint16_t>(which ? pair >> 16 : pair);
  return kind == Product::f16_m16n8k16 ? from_half(half) : from_bits(static_cast<uint32_t>(half) << 16);
}

struct ProductLane {
  float* d;
  const unsigned *a, *b;
  const float* c;
};

// The operands of one warp as whole matrices.
struct Operands {
  float a[16][16], b[16][8], c[16][8];
};

// m16n8k16 with 16-bit operands: register i of `a` holds row g + 8 (i % 2), columns 2 t + 8 (i / 2) and the next.
inline void gather_16(Product kind, ProductLane** lanes, Operands& out) {
  for (int lane = 0; lane < lanes_per_warp; lane++) {
    int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; i++) {
      for (int j = 0; j < 2; j++)
        out.a[g + 8 * (i % 2)][2 * t + 8 * (i / 2) + j] = from_pair(kind, lanes[lane]->a[i], j);
    }
    for (int i = 0; i < 2; i++) {
      for (int j = 0; j < 2; j++) out.b[2 * t + 8 * i + j][g] = from_pair(kind, lanes[lane]->b[i], j);
    }
  }
}

// m16n8k8 with tf32 operands: register i of `a` holds row g + 8 (i % 2), column t + 4 (i / 2). The low 13 bits are not
// read.
inline void gather_8(ProductLane** lanes, Operands& out) {
  for (int lane = 0; lane < lanes_per_warp; lane++) {
    int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; i++) out.a[g + 8 * (i % 2)][t + 4 * (i / 2)] = from_bits(lanes[lane]->a[i] & ~0x1fffu);
    for (int i = 0; i < 2; i++) out.b[t + 4 * i][g] = from_bits(lanes[lane]->b[i] & ~0x1fffu);
  }
}

void multiply_matrix(Product kind, float* d, const unsigned* a, const unsigned* b, const float* c) {
  ProductLane mine{d, a, b, c};
  together("mma.sync", EMULATOR_CALLER, ~0u, mine, [=](ProductLane** lanes) {
    Operands all;
    int depth = kind == Product::tf32_m16n8k8 ? 8 : 16;
    if (depth == 8) {
      gather_8(lanes, all);
    } else {
      gather_16(kind, lanes, all);
    }
    // Element i of c and d: row g + 8 (i / 2), column 2 t + i % 2.
    for (int lane = 0; lane < lanes_per_warp; lane++) {
      for (int i = 0; i < 4; i++) all.c[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2] = lanes[lane]->c[i];
    }
    for (int row = 0; row < 16; row++) {
      for (int k = 0; k < depth; k++) {
        for (int column = 0; column < 8; column++) all.c[row][column] += all.a[row][k] * all.b[k][column];
      }
    }
    for (int lane = 0; lane < lanes_per_warp; lane++) {
      for (int i = 0; i < 4; i++) lanes[lane]->d[i] = all.c[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2];
    }
  });
}

}  // namespace emulator
