// The race detector of global memory, for what crosses blocks or threads within one launch.
//
// Every two bytes of device memory have a mark: which block wrote them last, counted over all launches, and which
// thread at what time (race.hpp). Another block may neither write them nor read them in the same launch, since nothing
// orders blocks; another thread of the same block may after a barrier. A block that has called __threadfence() is
// trusted from then on: it hands over through a counter. Atomic operations make no mark. Reads make none either: that a
// block overwrites what another has read shows under the seed that runs them the other way round. Accesses of single
// bytes are not watched.
#pragma once
#include "memory.hpp"
#include "race.hpp"

namespace emulator {

struct Mark {
  uint32_t block;  // 0: nobody
  Stamp stamp;
};

inline Mark* marks = nullptr;  // one for every two bytes of `device_memory`
inline uint32_t first_block = 1, running_block = 0;
inline bool block_is_trusted = false;

inline void reserve_marks() {
  if (marks) return;
  void* found = mmap(nullptr, DeviceMemory::range / 2 * sizeof(Mark), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (found != MAP_FAILED) marks = static_cast<Mark*>(found);
}

// A launch begins: marks of earlier ones no longer count. Block numbers start anew before they run out.
inline void begin_launch(size_t blocks) {
  reserve_marks();
  first_block = running_block + 1;
  if (blocks < UINT32_MAX - first_block) return;
  if (marks) munmap(marks, DeviceMemory::range / 2 * sizeof(Mark));
  marks = nullptr;
  reserve_marks();
  running_block = 0;
  first_block = 1;
}

inline void begin_block() {
  running_block++;
  block_is_trusted = false;
}

[[noreturn]] inline void fail_of_global_race(uintptr_t address, const Mark& mark, Access access, uintptr_t code) {
  const Thread& self = *current;
  bool same_block = mark.block == running_block;
  std::string other = same_block ? name_of(block.threads[thread_of(mark.stamp)]) + " of the same block"
                                 : format("thread number %u of another block", thread_of(mark.stamp));
  fail(launch_failed,
       format("race on global memory: %s, %s by %s is not ordered after the write by %s in the same launch",
              device_memory.describe(address).c_str(), verb(access), name_of(self).c_str(), other.c_str()),
       {{verb(access), code}});
}

// Refuses what a bulk copy of this thread still writes; see tensor_copy.hpp.
void check_bulk_stores(uintptr_t address, unsigned bytes, Access access, uintptr_t code);

// `offset` is that of an access of at least two bytes within device memory, which has been checked otherwise.
inline void watch_global(uintptr_t offset, unsigned bytes, Access access, uintptr_t code) {
  if (!current->stores.empty())
    check_bulk_stores(reinterpret_cast<uintptr_t>(device_memory.base) + offset, bytes, access, code);
  if (bytes < 2 || !marks || !is_checked) return;
  const Warp& warp = block.warps[current->warp];
  Stamp stamp = now(*current) << 12 | current->number;
  for (uintptr_t at = offset / 2; at < (offset + bytes) / 2; at++) {
    Mark& mark = marks[at];
    if (mark.block >= first_block && !block_is_trusted) {
      bool fine = mark.block == running_block && ordered(mark.stamp, warp, *current);
      if (__builtin_expect(!fine, 0)) {
        fail_of_global_race(reinterpret_cast<uintptr_t>(device_memory.base) + 2 * at, mark, access, code);
      }
    }
    if (access == Access::write) mark = Mark{running_block, stamp};
  }
}

void thread_fence() { block_is_trusted = true; }

}  // namespace emulator
