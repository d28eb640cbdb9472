// Barriers of a block: __syncthreads(), its counting kin, and the named ones (bar.sync, bar.arrive).
#pragma once
#include "race.hpp"

namespace emulator {

inline bool is_source_equal = false;
inline uintptr_t compared[2];

// Whether two return addresses are the same call in the source. Looking that up runs a program, so it is the main
// stack's job.
inline bool same_call(uintptr_t a, uintptr_t b) {
  if (a == b) return true;
  compared[0] = a;
  compared[1] = b;
  on_main_stack([] { is_source_equal = same_source(compared[0], compared[1]); });
  return is_source_equal;
}

// All have arrived: orders what the warps did before it ahead of what they do after it, and lets them go on.
inline void release(Barrier& barrier) {
  for (unsigned w = 0; w < block.warp_count; w++) {
    if (!barrier.waiting[w]) continue;
    advance_time(w);
    join(barrier.seen, block.warps[w].seen);
  }
  for (unsigned w = 0; w < block.warp_count; w++) {
    Warp& warp = block.warps[w];
    if (!barrier.waiting[w]) continue;
    std::memcpy(warp.seen, barrier.seen, sizeof warp.seen);
    warp.at_barrier &= ~barrier.waiting[w];
    wake(warp, barrier.waiting[w]);
  }
  own_cta().last_tally = barrier.tally;
  barrier = Barrier{};
}

inline void check_barrier(const Barrier& barrier, const Thread& self, const char* name, int id, int threads,
                          uintptr_t code) {
  if (id < 0 || id >= most_barriers) {
    fail(launch_failed, format("%s: barrier %d does not exist, they are 0 to 15", name, id), {{name, code}});
  }
  if (threads % lanes_per_warp || threads < 0 || threads > static_cast<int>(own_cta().warp_count) * lanes_per_warp) {
    fail(launch_failed, format("%s: %d threads, not a multiple of 32 within the block", name, threads), {{name, code}});
  }
  if (!barrier.arrived) return;
  if (barrier.expected != threads) {
    fail(launch_failed,
         format("divergent barrier %d: %s expects %d threads, those before it %d", id, name_of(self).c_str(), threads,
                barrier.expected),
         {{name, code}, {"those before it", barrier.code}});
  }
  // Named barriers may be met at different lines (a producer and its consumers); __syncthreads() may not.
  if (threads == 0 && !same_call(barrier.code, code)) {
    fail(launch_failed,
         format("divergent barrier: %s came to another __syncthreads() than the %d threads that wait",
                name_of(self).c_str(), barrier.arrived),
         {{"this thread", code}, {"the others", barrier.code}});
  }
}

inline int needed(const Barrier& barrier) {
  return barrier.expected ? barrier.expected : static_cast<int>(own_cta().live);
}

inline void arrive(Barrier& barrier, const char* name, int threads, uintptr_t code) {
  barrier.arrived++;
  barrier.expected = threads;
  barrier.code = code;
  barrier.name = name;
}

inline void sync(const char* name, int id, int threads, uintptr_t code) {
  Thread& self = *current;
  Barrier& barrier = own_cta().barriers[id & (most_barriers - 1)];
  check_barrier(barrier, self, name, id, threads, code);
  arrive(barrier, name, threads, code);
  unsigned bit = 1u << self.lane;
  self.call = Call{name, code, 0, nullptr};
  barrier.waiting[self.warp] |= bit;
  block.warps[self.warp].at_barrier |= bit;
  if (barrier.arrived == needed(barrier)) {
    release(barrier);
  } else {
    wait();
  }
}

// A thread has exited: those that wait for all live threads may be complete now.
inline void one_less() {
  Barrier& barrier = own_cta().barriers[0];
  if (barrier.arrived && !barrier.expected && barrier.arrived == static_cast<int>(own_cta().live)) release(barrier);
}

void barrier_sync(int id, int threads) {
  bool all = id == 0 && threads == 0;
  sync(all ? "__syncthreads()" : "bar.sync", id, threads, EMULATOR_CALLER);
}

void barrier_arrive(int id, int threads) {
  uintptr_t code = EMULATOR_CALLER;
  Barrier& barrier = own_cta().barriers[id & (most_barriers - 1)];
  check_barrier(barrier, *current, "bar.arrive", id, threads, code);
  arrive(barrier, "bar.arrive", threads, code);
  advance_time(current->warp);
  join(barrier.seen, block.warps[current->warp].seen);
  if (barrier.arrived == needed(barrier)) release(barrier);
}

int barrier_tally(Tally kind, int predicate) {
  own_cta().barriers[0].tally += predicate != 0;
  int all = static_cast<int>(own_cta().live);
  sync("__syncthreads_count() or its kin", 0, 0, EMULATOR_CALLER);
  if (kind == Tally::count) return own_cta().last_tally;
  return kind == Tally::all ? own_cta().last_tally == all : own_cta().last_tally > 0;
}

}  // namespace emulator
