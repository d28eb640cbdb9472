// Runs a grid: block after block, each with its threads as fibers, until all have returned or one has failed.
#pragma once
#include <csignal>
#include <numeric>

#include "atomic.hpp"
#include "device/facts.hpp"
#include "tensor_core.hpp"
#include "warpgroup.hpp"

namespace emulator {

// A kernel of a loaded module.
struct Kernel {
  std::string name;
  void (*invoke)(void**) = nullptr;
  std::vector<unsigned> parameter_bytes;
  std::vector<SharedArray> arrays;
  unsigned long static_bytes = 0, dynamic_align = 16;
  int most_threads = emulator::most_threads;  // __launch_bounds__
  int most_dynamic = 48 << 10;                // cuFuncSetAttribute raises it
  Index cluster{1, 1, 1};                     // __cluster_dims__
  uintptr_t module_base = 0;
  bool is_checked = true;
};

struct Launch {
  const Kernel* kernel = nullptr;
  Index grid, dim;
  unsigned dynamic_bytes = 0;
};

inline unsigned launches = 0;

unsigned coordinate(Coordinate which) {
  switch (which) {
    case thread_x: return current->index.x;
    case thread_y: return current->index.y;
    case thread_z: return current->index.z;
    case block_x: return own_cta().index.x;
    case block_y: return own_cta().index.y;
    case block_z: return own_cta().index.z;
    case block_dim_x: return block.dim.x;
    case block_dim_y: return block.dim.y;
    case block_dim_z: return block.dim.z;
    case grid_dim_x: return block.grid.x;
    case grid_dim_y: return block.grid.y;
    case grid_dim_z: return block.grid.z;
    case cluster_rank: return current->cta;
  }
  return 0;
}

void* shared_at(int id, unsigned long bytes) {
  for (const SharedArray& array : arrays) {
    if (array.id == id && array.bytes == bytes) return arena + own_cta().base + array.offset;
  }
  fail(launch_failed, format("shared array %d of %lu bytes is not in this kernel's table", id, bytes),
       {{"here", EMULATOR_CALLER}});
}

void* dynamic_shared() {
  for (const SharedArray& array : arrays) {
    if (array.id == emulator_dynamic_shared) return arena + own_cta().base + array.offset;
  }
  fail(launch_failed, "dynamic shared memory is not in this kernel's table", {{"here", EMULATOR_CALLER}});
}

unsigned shared_address(const void* pointer) {
  if (in_arena(pointer)) return arena_offset(pointer) - own_cta().base;
  fail(illegal_address, "__cvta_generic_to_shared of memory that is not shared, by " + name_of(*current),
       {{"here", EMULATOR_CALLER}});
}

void trap(const char* why) {
  fail(launch_failed, format("%s, by %s", why, name_of(*current).c_str()), {{"here", EMULATOR_CALLER}});
}

// Says who waits where, one line per call, since none of them can go on.
void fail_of_deadlock() {
  std::vector<Place> places;
  unsigned waiting = 0;
  std::map<uintptr_t, std::pair<unsigned, const Thread*>> groups;
  for (unsigned i = 0; i < block.count; i++) {
    const Thread& thread = block.threads[i];
    const Warp& warp = block.warps[thread.warp];
    if (!((warp.in_call | warp.at_barrier) >> thread.lane & 1)) continue;
    auto& [count, first] = groups[thread.call.code];
    if (!count++) first = &thread;
    waiting++;
  }
  for (const auto& [code, group] : groups) {
    places.push_back({format("%u threads, the first %s, wait in %s", group.first, name_of(*group.second).c_str(),
                             group.second->call.name),
                      code});
  }
  name_waited_mbarriers(places);
  fail(launch_failed,
       format("divergence: %u of %u threads wait for others that will not come (%u have exited)", waiting,
              block.cta_count * block.cta_threads, block.cta_count * block.cta_threads - block.live),
       std::move(places));
}

// A fiber's life: one thread of the block after another, for as long as the next one has not begun elsewhere.
void thread_main() {
  for (;;) {
    block.body(block.parameters);
    Thread& self = *current;
    check_copies_at_exit(self);
    check_hopper_at_exit(self);
    block.warps[self.warp].live &= ~(1u << self.lane);
    not_ready_any_more(self);
    block.live--;
    own_cta().live--;
    one_less();
    leave_cluster(self);
    Thread* next = block.live ? next_thread_or_copy() : nullptr;
    if (block.live && !next) fail_of_deadlock();
    char* stack = self.stack;
    self.stack = nullptr;
    if (next && !next->stack) {
      next->stack = stack;
      current = next;
      continue;
    }
    stacks.give(stack);
    if (!next) switch_fiber(self.fiber, main_fiber);
    current = next;
    switch_fiber(self.fiber, next->fiber);
  }
}

// The block of rank `rank` in the cluster whose first has this index.
inline void set_up_cta(const Index& cluster, Index index, unsigned rank) {
  unsigned padded = block.count / block.cta_count;
  Cta& cta = block.ctas[rank];
  cta = Cta{};
  cta.index = Index{index.x + rank % cluster.x, index.y + rank / cluster.x % cluster.y,
                    index.z + rank / (cluster.x * cluster.y)};
  cta.live = block.cta_threads;
  cta.first_warp = rank * padded / lanes_per_warp;
  cta.warp_count = (block.cta_threads + lanes_per_warp - 1) / lanes_per_warp;
  cta.base = rank * (block.cta_count > 1 ? arena_per_cta : 0);
  for (unsigned w = 0; w < (padded + lanes_per_warp - 1) / lanes_per_warp; w++) {
    unsigned first = w * lanes_per_warp, lanes = block.cta_threads > first ? block.cta_threads - first : 0;
    unsigned mask = lanes >= lanes_per_warp ? ~0u : (1u << lanes) - 1;
    Warp& warp = block.warps[cta.first_warp + w];
    warp.live = mask;
    warp.ready = warp.in_call = warp.at_barrier = 0;
    wake(warp, mask);
  }
}

inline void set_up_block(const Launch& launch, Index index) {
  block.live = block.cta_count * block.cta_threads;
  block.warps_ready = 0;
  for (unsigned rank = 0; rank < block.cta_count; rank++) set_up_cta(launch.kernel->cluster, index, rank);
  for (unsigned i = 0; i < block.count; i++) {
    Thread& thread = block.threads[i];
    unsigned padded = block.count / block.cta_count, at = i % padded;
    thread.stack = nullptr;
    thread.number = i;
    thread.lane = i % lanes_per_warp;
    thread.warp = i / lanes_per_warp;
    thread.cta = i / padded;
    thread.at_cluster = false;
    thread.index = Index{at % launch.dim.x, at / launch.dim.x % launch.dim.y, at / (launch.dim.x * launch.dim.y)};
    thread.copies.clear();
    thread.groups = 0;
    thread.stores.clear();
    thread.store_groups = 0;
    thread.uses_products = false;
    thread.touched.clear();
  }
  begin_time();
  begin_hopper();
  begin_block();
}

inline void run_block() {
  current = nullptr;
  Thread* first = next_thread();
  start(*first);
  current = first;
  switch_fiber(main_fiber, first->fiber);
  while (errand) {
    void (*function)() = errand;
    errand = nullptr;
    function();
    switch_fiber(main_fiber, current->fiber);
  }
}

// Faults that the checks did not foresee: kernels compiled without them, and stacks that overflow.
inline void on_fault(int, siginfo_t* info, void* context) {
  uintptr_t code = 0, address = reinterpret_cast<uintptr_t>(info->si_addr);
#ifdef __x86_64__
  code = static_cast<uintptr_t>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]) + 1;
#else
  (void)context;
#endif
  std::string where = stacks.holds(address) ? "beyond a thread's stack of 128 KiB" : device_memory.describe(address);
  fail(illegal_address, format("memory fault: %s, by %s", where.c_str(), name_of(*current).c_str()),
       {{"access", code}});
}

// Catches faults for as long as it lives.
class FaultGuard {
 public:
  FaultGuard() {
    static char handler_stack[64 << 10];
    stack_t stack{};
    stack.ss_sp = handler_stack;
    stack.ss_size = sizeof handler_stack;
    sigaltstack(&stack, &old_stack);
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (int i = 0; i < 3; i++) sigaction(signals[i], &action, &old_actions[i]);
  }
  ~FaultGuard() {
    for (int i = 0; i < 3; i++) sigaction(signals[i], &old_actions[i], nullptr);
    if (old_stack.ss_flags & SS_DISABLE) old_stack.ss_size = MINSIGSTKSZ;
    sigaltstack(&old_stack, nullptr);
  }

 private:
  static constexpr int signals[] = {SIGSEGV, SIGBUS, SIGFPE};
  struct sigaction old_actions[3];
  stack_t old_stack{};
};

inline void read_settings() {
  const char* text = std::getenv("VITRUM_EMULATOR_SEED");
  seed = text ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : 0;
  random_state = seed * 2654435761u + launches;
  text = std::getenv("VITRUM_EMULATOR_COPIES");
  copies_land_early = text && std::strcmp(text, "early") == 0;
}

inline void report_failure(const Launch& launch) {
  const Index &g = launch.grid, &d = launch.dim, &b = own_cta().index;
  std::string text =
      failure.what + format("\n  in kernel %s<<<(%u,%u,%u), (%u,%u,%u), %u>>>, block (%u,%u,%u), launch %u, seed %u",
                            launch.kernel->name.c_str(), g.x, g.y, g.z, d.x, d.y, d.z, launch.dynamic_bytes, b.x, b.y,
                            b.z, launches, seed);
  for (const Place& place : failure.places) text += "\n  " + place.what + ": " + describe(place.code);
  say(text);
}

// The i-th block in the seed's order: an odd walk through all of them.
inline Index block_at(size_t i, size_t count, const Index& grid) {
  if (seed == 1) i = count - 1 - i;
  if (seed > 1) {
    size_t stride = (seed * 2654435761u) % count | 1;
    while (std::gcd(stride, count) != 1) stride += 2;
    i = (i * stride + seed) % count;
  }
  return Index{static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
               static_cast<unsigned>(i / grid.x / grid.y)};
}

inline std::vector<SharedArray> arrays_of(const Launch& launch) {
  std::vector<SharedArray> wanted = launch.kernel->arrays;
  wanted.push_back(
      {emulator_dynamic_shared, "dynamic shared memory", launch.dynamic_bytes, launch.kernel->dynamic_align});
  return wanted;
}

// Runs a launch to its end. The limits have been checked, and one launch runs at a time.
inline Status run(const Launch& launch, void** parameters) {
  launches++;
  read_settings();
  stacks.reserve();
  const Index& cluster = launch.kernel->cluster;
  block.cta_count = cluster.x * cluster.y * cluster.z;
  if (!lay_out(arrays_of(launch), block.cta_count)) return launch_out_of_resources;
  code_base = launch.kernel->module_base;
  is_checked = launch.kernel->is_checked;
  all_have_been_checked = all_have_been_checked && is_checked;
  failure.status = success;
  block.grid = launch.grid;
  block.dim = launch.dim;
  block.cta_threads = launch.dim.x * launch.dim.y * launch.dim.z;
  unsigned groups = (block.cta_threads + threads_per_group - 1) / threads_per_group;
  block.count = block.cta_count > 1 ? block.cta_count * groups * threads_per_group : block.cta_threads;
  block.warp_count = (block.count + lanes_per_warp - 1) / lanes_per_warp;
  block.body = launch.kernel->invoke;
  block.parameters = parameters;
  FaultGuard guard;
  Index clusters{launch.grid.x / cluster.x, launch.grid.y / cluster.y, launch.grid.z / cluster.z};
  size_t blocks = size_t{clusters.x} * clusters.y * clusters.z;
  begin_launch(blocks);
  for (size_t i = 0; i < blocks && failure.status == success; i++) {
    Index first = block_at(i, blocks, clusters);
    set_up_block(launch, Index{first.x * cluster.x, first.y * cluster.y, first.z * cluster.z});
    run_block();
  }
  if (failure.status != success) {
    report_failure(launch);
    stacks.forget();
  }
  current = nullptr;
  return failure.status;
}

}  // namespace emulator
