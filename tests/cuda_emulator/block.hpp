// One block of threads: who may run, who waits for what, and the turn-taking between them. The blocks of a cluster run
// together, as one of all their threads: what each has for itself is a Cta.
//
// A block runs on one operating-system thread. Threads take turns only where they wait (a barrier, a warp function), so
// a kernel without such calls runs as a plain loop on one stack. VITRUM_EMULATOR_SEED changes the order: 0 is
// ascending, 1 descending, any other number draws the next thread (and the order of blocks) at random.
#pragma once
#include <cstring>

#include "device/calls.hpp"
#include "fiber.hpp"
#include "report.hpp"
#include "tensor_map.hpp"

// Where in the kernel the function that says this was called.
#define EMULATOR_CALLER reinterpret_cast<uintptr_t>(__builtin_return_address(0))

namespace emulator {

constexpr unsigned most_ctas = 16;
constexpr int most_threads = 1024, lanes_per_warp = 32, most_warps = most_threads / lanes_per_warp, most_barriers = 16;

// Who accesses memory: the warps, then what works on its own for them (sm_90): the tensor cores of each warpgroup, and
// the engine of bulk copies.
constexpr int warps_per_group = 4, most_groups = most_warps / warps_per_group, first_group_actor = most_warps,
              copy_actor = most_warps + most_groups, most_actors = copy_actor + 1;

// For each actor, the time before which its accesses are ordered ahead of what one does now; in the second half, only
// as far as a fence.proxy.async lies between (see race.hpp).
using Times = uint32_t[2 * most_actors];

struct Index {
  unsigned x = 0, y = 0, z = 0;
};

// A warp function or barrier in which a thread waits.
struct Call {
  const char* name;
  uintptr_t code;  // the return address: where in the kernel
  unsigned mask;   // lanes that take part; 0 for a barrier of the block
  void* operands;  // this lane's values, on its own stack
};

// One bulk copy of a box to global memory that has not been waited for.
struct BulkStore {
  TensorMap map;
  unsigned from;  // in the arena
  Origin origin;
  int group;
  uintptr_t code;
  bool has_read = false;    // its tile, which may be used again
  std::vector<char> tile;   // what that was
};

// One cp.async that has not landed yet.
struct AsyncCopy {
  char* to;
  const char* from;
  int bytes, source_bytes;
  int group;
  uintptr_t code;
};

// A range of a thread's own memory that stands for registers.
struct Registers {
  uintptr_t begin, end;
};

struct Thread {
  Fiber fiber;
  char* stack = nullptr;  // null before its first turn
  unsigned number = 0, lane = 0, warp = 0, cta = 0;
  Index index;
  Call call{};
  std::vector<AsyncCopy> copies;
  int groups = 0;  // committed so far
  std::vector<BulkStore> stores;
  int store_groups = 0;            // committed so far
  bool uses_products = false;      // has called a function of wgmma
  std::vector<Registers> touched;  // since its last wgmma.fence
  bool at_cluster = false;         // has arrived at the cluster's barrier, and not waited yet
  unsigned cluster_phase = 0;      // of that arrival
};

struct Warp {
  unsigned live, ready, in_call, at_barrier;  // a bit per lane; a live lane is in exactly one of the other three
  Times seen;
};

// bar.sync and bar.arrive of one number.
struct Barrier {
  int arrived = 0, expected = 0;
  unsigned waiting[most_warps] = {};  // lanes in sync, per warp
  Times seen = {};                    // what those who only arrived have published
  uintptr_t code = 0;
  const char* name = "";
  int tally = 0;  // sum of the predicates of __syncthreads_count and its kin
};

// One block of a cluster.
struct Cta {
  Index index;
  unsigned live = 0;
  unsigned first_warp = 0, warp_count = 0;
  unsigned base = 0;  // of its shared memory in the arena
  Barrier barriers[most_barriers];
  int last_tally = 0;
  Times seen = {};                    // by its threads that have exited
  uint32_t remote[most_actors] = {};  // when others last used its shared memory
};

struct Block {
  Thread threads[most_threads];
  Warp warps[most_warps];
  Cta ctas[most_ctas];
  // Threads of all blocks of the cluster, with those between two blocks that don't exist: warpgroups don't straddle.
  unsigned count = 0, live = 0, warp_count = 0;
  unsigned cta_count = 1, cta_threads = 0;
  unsigned warps_ready = 0;
  Index dim, grid;
  void (*body)(void**) = nullptr;
  void** parameters = nullptr;
};

inline Block block;
inline Thread* current = nullptr;
inline Fiber main_fiber;
inline Stacks stacks;
inline Failure failure;
inline void (*errand)() = nullptr;         // what a thread asks the main stack to do for it
inline bool is_checked = true;             // whether the running kernel was compiled with checks of its accesses
inline bool all_have_been_checked = true;  // whether all kernels so far were: else nobody knows what is unwritten
inline unsigned seed = 0;
inline uint64_t random_state = 1;

inline unsigned random_bits() {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return static_cast<unsigned>(random_state >> 33);
}

inline Cta& own_cta() { return block.ctas[current->cta]; }

inline std::string name_of(const Thread& thread) {
  std::string rank = block.cta_count > 1 ? format(" of block %u of its cluster", thread.cta) : "";
  return format("thread (%u,%u,%u) [warp %u, lane %u]", thread.index.x, thread.index.y, thread.index.z,
                thread.warp - block.ctas[thread.cta].first_warp, thread.lane) +
         rank;
}

// Gives up the running kernel: fills `failure` and leaves for the main stack, never to come back.
[[noreturn]] inline void fail(Status status, std::string what, std::vector<Place> places) {
  failure = Failure{status, std::move(what), std::move(places)};
  switch_fiber(current->fiber, main_fiber);
  std::abort();
}

// Runs a function on the main stack, which is larger than a thread's.
inline void on_main_stack(void (*function)()) {
  errand = function;
  switch_fiber(current->fiber, main_fiber);
}

inline void wake(Warp& warp, unsigned lanes) {
  warp.ready |= lanes;
  if (lanes) block.warps_ready |= 1u << (&warp - block.warps);
}

// A set bit of a nonzero mask: the first after `from`, the last, or any, as the seed says.
inline unsigned choose(unsigned mask, unsigned from) {
  if (seed == 1) return 31 - static_cast<unsigned>(__builtin_clz(mask));
  if (seed > 1) from = random_bits() & 31;
  unsigned after = mask >> from << from;
  return static_cast<unsigned>(__builtin_ctz(after ? after : mask));
}

// The thread whose turn is next, or null where all that live are waiting.
inline Thread* next_thread() {
  if (!block.warps_ready) return nullptr;
  unsigned warp = current ? current->warp : 0, lane = current ? current->lane : 0;
  // Mostly stay within a warp: its lanes usually wait for each other.
  bool stay = (block.warps_ready >> warp & 1) && (seed < 2 || (random_bits() & 7) != 0);
  if (!stay) {
    warp = choose(block.warps_ready, warp);
    lane = 0;
  }
  return &block.threads[warp * lanes_per_warp + choose(block.warps[warp].ready, lane)];
}

void thread_main();

constexpr size_t poisoned_stack = 4 << 10;  // the part that most kernels use

inline void start(Thread& thread) {
  thread.stack = stacks.take();
  // What a kernel's own arrays hold before they are written: NaN.
  std::memset(thread.stack + Stacks::usable - poisoned_stack, 0xff, poisoned_stack);
  prepare(thread.fiber, thread.stack, thread.stack + Stacks::usable, thread_main);
}

inline void not_ready_any_more(Thread& thread) {
  Warp& warp = block.warps[thread.warp];
  warp.ready &= ~(1u << thread.lane);
  if (!warp.ready) block.warps_ready &= ~(1u << thread.warp);
}

[[noreturn]] void fail_of_deadlock();
// Lands bulk copies that a thread waits for, when nobody can go on otherwise; false if there are none.
bool land_late_copies();

// Like next_thread, with the copies that land when all wait.
inline Thread* next_thread_or_copy() {
  Thread* next = next_thread();
  while (!next && land_late_copies()) next = next_thread();
  return next;
}

// Lets others run until someone wakes the current thread, whose bit is already set in `in_call` or `at_barrier`.
inline void wait() {
  Thread& self = *current;
  not_ready_any_more(self);
  Thread* next = next_thread_or_copy();
  if (!next) fail_of_deadlock();
  if (next == &self) return;
  if (!next->stack) start(*next);
  current = next;
  switch_fiber(self.fiber, next->fiber);
}

}  // namespace emulator
