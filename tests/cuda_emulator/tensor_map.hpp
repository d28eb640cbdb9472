// What cuTensorMapEncodeTiled makes here (api_tensor.hpp), and bulk copies read. The device's own 128 bytes are secret;
// kernels pass them on and never look inside.
#pragma once
#include <cstdint>

namespace emulator {

constexpr int most_dimensions = 5;

struct TensorMap {
  uint64_t magic;
  char* base;
  uint64_t dims[most_dimensions];         // in elements, the contiguous one first
  uint64_t strides[most_dimensions - 1];  // in bytes, of the dimensions behind it
  uint16_t box[most_dimensions];
  uint8_t rank, element_bytes, swizzle_bytes;  // 0: no swizzle

  unsigned row_bytes() const { return static_cast<unsigned>(box[0]) * element_bytes; }
  // Rows of the box: of one dimension, and of all.
  unsigned length(int dimension) const { return dimension < rank ? box[dimension] : 1; }
  unsigned box_rows() const { return length(1) * length(2) * length(3) * length(4); }
  unsigned box_bytes() const { return row_bytes() * box_rows(); }
};
static_assert(sizeof(TensorMap) <= 128, "a CUtensorMap has 128 bytes");

constexpr uint64_t map_magic = 0x70616d20726f736eu;

// Swizzles permute the 16-byte chunks of shared memory by the address's own higher bits: over 128 bytes, bits 4 to 6
// are xored with bits 7 to 9.
inline unsigned swizzled(unsigned offset, unsigned swizzle_bytes) {
  return swizzle_bytes ? offset ^ ((offset >> 7 & (swizzle_bytes / 16 - 1)) << 4) : offset;
}

}  // namespace emulator
