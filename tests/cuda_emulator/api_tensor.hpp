// The driver API: tensor maps for bulk copies.
#pragma once
#include "api_device.hpp"
#include "tensor_map.hpp"

namespace emulator {

// By the numbers of CUtensorMapDataType.
inline unsigned element_bytes_of(int type) {
  static const uint8_t bytes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
  return type >= 0 && type < static_cast<int>(sizeof bytes) ? bytes[type] : 0;
}

struct TensorShape {
  int type, rank;
  char* base;
  const uint64_t *dims, *strides;
  const uint32_t *box, *steps;
  int interleave, swizzle, fill;
};

// What the driver refuses, in words; empty if nothing.
inline std::string problem_of(const TensorShape& shape) {
  unsigned element = element_bytes_of(shape.type);
  if (!element) return format("data type %d does not exist", shape.type);
  if (shape.rank < 1 || shape.rank > most_dimensions) return format("rank %d is not 1 to 5", shape.rank);
  if (reinterpret_cast<uintptr_t>(shape.base) % 16) return "the address is not a multiple of 16";
  for (int i = 0; i < shape.rank; i++) {
    if (!shape.dims[i] || shape.dims[i] > uint64_t{1} << 32) return format("dimension %d is not 1 to 2^32", i);
    if (!shape.box[i] || shape.box[i] > 256) return format("box dimension %d is %u, not 1 to 256", i, shape.box[i]);
    if (!shape.steps[i] || shape.steps[i] > 8) return format("element stride %d is not 1 to 8", i);
    if (i == 0) continue;
    uint64_t stride = shape.strides[i - 1];
    if (stride % 16 || stride >= uint64_t{1} << 40) return format("stride %d is no multiple of 16 below 2^40", i);
    // Dimensions behind the contiguous one may lie in any order.
    if (i == 1 && stride < shape.dims[0] * element) return format("stride 1 is %lu bytes, less than a row", stride);
  }
  if (shape.interleave < 0 || shape.interleave > 2) return "interleave is not 0 to 2";
  if (shape.swizzle < 0 || shape.swizzle > 3) return "swizzle is not 0 to 3";
  unsigned row = shape.box[0] * element, swizzle_bytes = 16u << shape.swizzle;
  if (!shape.interleave && row % 16) return format("a row of the box has %u bytes, no multiple of 16", row);
  if (!shape.interleave && shape.swizzle && row > swizzle_bytes) {
    return format("a row of the box has %u bytes, more than its swizzle of %u", row, swizzle_bytes);
  }
  if (shape.fill < 0 || shape.fill > 1) return "the fill is not 0 or 1";
  if (shape.fill && shape.type < 6) return "only floats can be filled with NaN";
  return "";
}

// What the driver takes and bulk copies here don't.
inline bool is_modelled(const TensorShape& shape) {
  bool is_dense = true;
  for (int i = 0; i < shape.rank; i++) is_dense = is_dense && shape.steps[i] == 1;
  return shape.rank >= 2 && is_dense && !shape.interleave && !shape.fill;
}

}  // namespace emulator

EMULATOR_API cuTensorMapEncodeTiled(void* map, int type, unsigned rank, void* base, const uint64_t* dims,
                                    const uint64_t* strides, const uint32_t* box, const uint32_t* steps, int interleave,
                                    int swizzle, int promotion, int fill) {
  EMULATOR_ENTER();
  TensorShape shape{
      type, static_cast<int>(rank), static_cast<char*>(base), dims, strides, box, steps, interleave, swizzle, fill};
  std::string problem = problem_of(shape);
  if (reinterpret_cast<uintptr_t>(map) % 64) problem = "the map is not aligned to 64 bytes";
  if (promotion < 0 || promotion > 3) problem = "the promotion to L2 is not 0 to 3";
  if (!problem.empty()) return refuse(invalid_value, "cuTensorMapEncodeTiled: " + problem);
  if (!is_modelled(shape)) {
    return refuse(not_supported,
                  "cuTensorMapEncodeTiled: the emulator has ranks 2 to 5, without interleave, steps and NaN");
  }
  TensorMap made{};
  made.magic = map_magic;
  made.base = shape.base;
  for (int i = 0; i < shape.rank; i++) {
    made.dims[i] = dims[i];
    made.box[i] = static_cast<uint16_t>(box[i]);
    if (i) made.strides[i - 1] = strides[i - 1];
  }
  made.rank = static_cast<uint8_t>(rank);
  made.element_bytes = static_cast<uint8_t>(element_bytes_of(type));
  made.swizzle_bytes = static_cast<uint8_t>(swizzle ? 16 << swizzle : 0);
  std::memset(map, 0, 128);
  std::memcpy(map, &made, sizeof made);
  return success;
}
