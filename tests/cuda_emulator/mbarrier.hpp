// mbarrier: barriers in shared memory that count arrivals and the bytes of bulk copies, phase after phase.
//
// A phase is complete when no arrival and no byte is missing. Whoever waits for it then sees what those who arrived had
// done, and the copies. The state lies here and not in shared memory; there, an mbarrier's 8 bytes count as atomics, so
// that using one whose initialisation is not ordered before is a race, and so is writing over it.
#pragma once
#include <map>

#include "proxy.hpp"

namespace emulator {

constexpr long most_pending_bytes = (1 << 20) - 1;
constexpr unsigned most_arrivals = (1 << 20) - 1;

// One bulk copy from global memory that has not landed.
struct BulkLoad {
  TensorMap map;  // a copy: a parameter lives on the stack of a thread
  unsigned to, bytes;
  Origin origin;
  bool is_remote;  // from another block of the cluster
};

struct MBarrier {
  unsigned count = 0, pending = 0;  // arrivals per phase; still missing in this one
  long bytes = 0;                   // still missing in this phase
  unsigned phase = 0;
  bool copies_see_it = false;  // a fence has followed the initialisation
  unsigned initialiser = 0;
  unsigned waiting[most_warps] = {};
  Times arriving = {}, published = {};  // in this phase; up to the last complete one
  std::vector<BulkLoad> loads;          // under way, in the order of their issue
  uintptr_t code = 0;                   // of its initialisation
};

inline std::map<unsigned, MBarrier> mbarriers;  // by offset in the arena

inline unsigned check_mbarrier_place(const void* barrier, const char* name, uintptr_t code) {
  if (!in_arena(barrier)) {
    fail(illegal_address, format("%s on memory that is not shared, by %s", name, name_of(*current).c_str()),
         {{name, code}});
  }
  check_alignment(reinterpret_cast<uintptr_t>(barrier), 8, "mbarrier", code);
  return arena_offset(barrier);
}

// A block of the cluster, which must still run.
inline Cta& find_cta(unsigned rank, const char* name, uintptr_t code) {
  if (rank < block.cta_count && block.ctas[rank].live) return block.ctas[rank];
  fail(launch_failed,
       format("%s by %s: block %u of its cluster of %u %s", name, name_of(*current).c_str(), rank, block.cta_count,
              rank < block.cta_count ? "has exited" : "does not exist"),
       {{name, code}});
}

// The same place in the shared memory of a block of the cluster, about to be used.
inline char* remote_place(const void* shared, unsigned rank, const char* name, uintptr_t code) {
  Cta& cta = find_cta(rank, name, code);
  if (rank != current->cta) cta.remote[current->warp] = now(*current);
  return arena + (arena_offset(shared) - own_cta().base + cta.base);
}

inline MBarrier& find_mbarrier(const void* barrier, const char* name, uintptr_t code) {
  unsigned offset = check_mbarrier_place(barrier, name, code);
  shared_write(*current, offset, 8, code, Access::atomic, now(*current));
  auto found = mbarriers.find(offset);
  if (found != mbarriers.end()) return found->second;
  fail(launch_failed,
       format("%s by %s: %s is no mbarrier", name, name_of(*current).c_str(), place_in_arena(offset).c_str()),
       {{name, code}});
}

void mbarrier_init(void* barrier, unsigned count) {
  uintptr_t code = EMULATOR_CALLER;
  unsigned offset = check_mbarrier_place(barrier, "mbarrier.init", code);
  if (!count || count > most_arrivals) {
    fail(launch_failed, format("mbarrier.init with %u arrivals: 1 to %u", count, most_arrivals),
         {{"mbarrier.init", code}});
  }
  shared_write(*current, offset, 8, code, Access::write, now(*current));
  auto [entry, fresh] = mbarriers.try_emplace(offset);
  if (!fresh) {
    fail(launch_failed,
         format("mbarrier.init of %s, which is an mbarrier already: mbarrier.inval comes first",
                place_in_arena(offset).c_str()),
         {{"mbarrier.init", code}, {"before", entry->second.code}});
  }
  MBarrier& fresh_barrier = entry->second;
  fresh_barrier.count = fresh_barrier.pending = count;
  fresh_barrier.initialiser = current->number;
  fresh_barrier.code = code;
}

inline bool has_waiters(const MBarrier& barrier) {
  unsigned any = 0;
  for (unsigned lanes : barrier.waiting) any |= lanes;
  return any != 0;
}

void mbarrier_invalidate(void* barrier) {
  uintptr_t code = EMULATOR_CALLER;
  const MBarrier& found = find_mbarrier(barrier, "mbarrier.inval", code);
  if (has_waiters(found) || !found.loads.empty()) {
    fail(launch_failed, format("mbarrier.inval by %s while threads or copies use it", name_of(*current).c_str()),
         {{"mbarrier.inval", code}});
  }
  unsigned offset = arena_offset(barrier);
  mbarriers.erase(offset);
  shared_write(*current, offset, 8, code, Access::write, now(*current));
}

// Ends the phase if nothing is missing.
inline void end_phase(MBarrier& barrier) {
  if (barrier.pending || barrier.bytes) return;
  barrier.phase++;
  barrier.pending = barrier.count;
  join(barrier.published, barrier.arriving);
  for (unsigned w = 0; w < block.warp_count; w++) {
    Warp& warp = block.warps[w];
    warp.at_barrier &= ~barrier.waiting[w];
    wake(warp, barrier.waiting[w]);
    barrier.waiting[w] = 0;
  }
}

inline void arrive_at(MBarrier& barrier, const char* name, uintptr_t code) {
  if (!barrier.pending) {
    fail(launch_failed,
         format("%s by %s: one arrival more than the %u of this phase", name, name_of(*current).c_str(), barrier.count),
         {{name, code}, {"mbarrier.init", barrier.code}});
  }
  advance_time(current->warp);
  join(barrier.arriving, block.warps[current->warp].seen);
  barrier.pending--;
  end_phase(barrier);
}

void mbarrier_arrive(void* barrier) {
  uintptr_t code = EMULATOR_CALLER;
  arrive_at(find_mbarrier(barrier, "mbarrier.arrive", code), "mbarrier.arrive", code);
}

void mbarrier_arrive_remote(void* barrier, unsigned rank) {
  uintptr_t code = EMULATOR_CALLER;
  const char* name = "mbarrier.arrive";
  check_mbarrier_place(barrier, name, code);
  arrive_at(find_mbarrier(remote_place(barrier, rank, name, code), name, code), name, code);
}

void mbarrier_arrive_expect(void* barrier, unsigned bytes) {
  uintptr_t code = EMULATOR_CALLER;
  const char* name = "mbarrier.arrive.expect_tx";
  MBarrier& found = find_mbarrier(barrier, name, code);
  found.bytes += bytes;
  if (found.bytes > most_pending_bytes) {
    fail(launch_failed, format("%s: %ld bytes in one phase, the most is %ld", name, found.bytes, most_pending_bytes),
         {{name, code}});
  }
  arrive_at(found, name, code);
}

void mbarrier_wait(void* barrier, unsigned parity) {
  uintptr_t code = EMULATOR_CALLER;
  const char* name = "mbarrier.try_wait";
  Thread& self = *current;
  MBarrier& found = find_mbarrier(barrier, name, code);
  if (parity > 1) fail(launch_failed, format("%s: parity %u is neither 0 nor 1", name, parity), {{name, code}});
  while ((found.phase & 1) == parity) {
    unsigned bit = 1u << self.lane;
    self.call = Call{name, code, 0, nullptr};
    found.waiting[self.warp] |= bit;
    block.warps[self.warp].at_barrier |= bit;
    wait();
  }
  join(block.warps[self.warp].seen, found.published);
}

inline void show_mbarriers_to_copies() {
  for (auto& [offset, barrier] : mbarriers) {
    if (barrier.initialiser == current->number) barrier.copies_see_it = true;
  }
}

void fence_mbarrier_init() { show_mbarriers_to_copies(); }

void fence_proxy_async() {
  show_mbarriers_to_copies();
  advance_time(current->warp);
  uint32_t* seen = block.warps[current->warp].seen;
  for (int i = 0; i < most_actors; i++) seen[most_actors + i] = seen[i];
}

// For the message of a deadlock: what the waited-for phases lack.
inline void name_waited_mbarriers(std::vector<Place>& places) {
  for (const auto& [offset, barrier] : mbarriers) {
    if (!has_waiters(barrier)) continue;
    places.push_back(
        {format("the mbarrier %s lacks %u of %u arrivals and %ld bytes in phase %u", place_in_arena(offset).c_str(),
                barrier.pending, barrier.count, barrier.bytes, barrier.phase),
         barrier.code});
  }
}

}  // namespace emulator
