// Shared memory: one arena holds a launch's shared arrays, each at exactly the alignment that it declares and no more,
// with bytes between them that belong to none. race.hpp watches who uses them when.
#pragma once
#include <utility>

#include "block.hpp"

namespace emulator {

struct SharedArray {
  int id;  // as the rewritten source numbers it; emulator_dynamic_shared for dynamic shared memory
  std::string name;
  unsigned long bytes, align;
  unsigned offset = 0;  // in the arena
};

constexpr unsigned arena_bytes = 512 << 10, red_zone = 64;

alignas(4096) inline char arena[arena_bytes];
inline uint8_t owner[arena_bytes];  // 0, or 1 + the index of the array in `arrays`
inline std::vector<SharedArray> arrays;
inline unsigned arena_used = 0;
inline unsigned arena_per_cta = arena_bytes;  // where the arrays of the next block of a cluster lie

inline unsigned arena_offset(const void* pointer) {
  return static_cast<unsigned>(reinterpret_cast<uintptr_t>(pointer) - reinterpret_cast<uintptr_t>(arena));
}
inline bool in_arena(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) - reinterpret_cast<uintptr_t>(arena) < arena_bytes;
}

// Places the arrays of a launch. An array lies at an odd multiple of its alignment, so that a wider access than it
// promises is seen. False where they don't fit.
inline bool lay_out(std::vector<SharedArray> wanted, unsigned ctas) {
  std::memset(owner, 0, arena_used);
  arrays = std::move(wanted);
  unsigned long cursor = red_zone;
  for (size_t i = 0; i < arrays.size(); i++) {
    SharedArray& array = arrays[i];
    cursor = (cursor + array.align - 1) / array.align * array.align;
    if (cursor / array.align % 2 == 0) cursor += array.align;
    if (cursor + array.bytes + red_zone > arena_bytes) return false;
    array.offset = static_cast<unsigned>(cursor);
    std::memset(owner + cursor, static_cast<int>(i + 1), array.bytes);
    cursor += array.bytes + red_zone;
  }
  arena_used = static_cast<unsigned>(cursor);
  arena_per_cta = arena_bytes;
  if (ctas == 1) return true;
  // Whole pages, so that all are aligned alike.
  arena_per_cta = (arena_used + 4095) / 4096 * 4096;
  if (ctas * arena_per_cta > arena_bytes) return false;
  for (unsigned i = 1; i < ctas; i++) std::memcpy(owner + i * arena_per_cta, owner, arena_used);
  arena_used += (ctas - 1) * arena_per_cta;
  return true;
}

inline std::string place_in_arena(unsigned offset) {
  if (block.cta_count > 1 && offset / arena_per_cta != current->cta) {
    unsigned rank = offset / arena_per_cta, mine = std::exchange(current->cta, rank);
    std::string place = place_in_arena(offset);
    current->cta = mine;
    return place + format(" of block %u of the cluster", rank);
  }
  offset %= arena_per_cta;
  for (const SharedArray& array : arrays) {
    if (offset >= array.offset && offset < array.offset + array.bytes) {
      return format("%s + %lu bytes (of %lu)", array.name.c_str(), offset - static_cast<unsigned long>(array.offset),
                    array.bytes);
    }
  }
  for (const SharedArray& array : arrays) {
    if (offset < array.offset) return format("%u bytes before %s", array.offset - offset, array.name.c_str());
    unsigned long end = array.offset + array.bytes;
    if (offset < end + red_zone) {
      return format("%lu bytes past the last of %s (%lu bytes)", offset - end + 1, array.name.c_str(), array.bytes);
    }
  }
  return "outside every shared array";
}

}  // namespace emulator
