// cp.async: copies from global to shared memory that land later.
//
// From its issue to the wait that covers it, a copy's bytes of shared memory belong to it: whoever touches them is
// reported, whatever the policy. VITRUM_EMULATOR_COPIES=late (the default) moves the data at that wait, the latest
// moment the hardware may take; early moves them at once, the earliest. Waiting makes a copy visible to its own thread;
// the others need a barrier too.
#pragma once
#include "access.hpp"

namespace emulator {

inline bool copies_land_early = false;

inline void move(const AsyncCopy& copy) {
  std::memcpy(copy.to, copy.from, static_cast<size_t>(copy.source_bytes));
  std::memset(copy.to + copy.source_bytes, 0, static_cast<size_t>(copy.bytes - copy.source_bytes));
}

void copy_async(void* shared, const void* global, int bytes, int source_bytes) {
  uintptr_t code = EMULATOR_CALLER;
  Thread& self = *current;
  if ((bytes != 4 && bytes != 8 && bytes != 16) || source_bytes < 0 || source_bytes > bytes) {
    fail(launch_failed,
         format("cp.async of %d bytes from %d bytes: 4, 8 or 16, from at most as many", bytes, source_bytes),
         {{"cp.async", code}});
  }
  unsigned size = static_cast<unsigned>(bytes);
  check_alignment(reinterpret_cast<uintptr_t>(global), size, "cp.async source", code);
  check_alignment(reinterpret_cast<uintptr_t>(shared), size, "cp.async destination", code);
  if (!in_arena(shared)) {
    fail(illegal_address, "cp.async to memory that is not shared, by " + name_of(self), {{"cp.async", code}});
  }
  if (source_bytes)
    access_memory(reinterpret_cast<uintptr_t>(global), static_cast<unsigned>(source_bytes), Access::read, code);
  shared_write(self, arena_offset(shared), size, code, Access::write, in_flight);
  AsyncCopy copy{static_cast<char*>(shared), static_cast<const char*>(global), bytes, source_bytes, self.groups, code};
  if (copies_land_early) move(copy);
  self.copies.push_back(copy);
}

void copy_commit() { current->groups++; }

void copy_wait(int groups) {
  Thread& self = *current;
  // cp.async.wait_all covers copies that were not committed; they carry the number of the group that would be next.
  int landed = groups < 0 ? self.groups + 1 : self.groups - groups;
  size_t kept = 0;
  for (const AsyncCopy& copy : self.copies) {
    if (copy.group >= landed) {
      self.copies[kept++] = copy;
      continue;
    }
    if (!copies_land_early) move(copy);
    land(self, arena_offset(copy.to), static_cast<unsigned>(copy.bytes));
  }
  self.copies.resize(kept);
}

// A thread has returned: nothing may be under way.
inline void check_copies_at_exit(const Thread& thread) {
  if (thread.copies.empty()) return;
  fail(launch_failed, format("%zu cp.async of %s never waited for", thread.copies.size(), name_of(thread).c_str()),
       {{"the first", thread.copies.front().code}});
}

}  // namespace emulator
