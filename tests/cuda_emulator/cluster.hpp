// Clusters (sm_90): blocks that run together, meet at a barrier, and use each other's shared memory.
//
// What others do there must be ordered before the block's last thread exits: its shared memory is gone then. Accesses
// reach only blocks that still run; whether they were ordered is told at the exit, whatever the order of threads.
#pragma once
#include "tensor_copy.hpp"

namespace emulator {

struct ClusterBarrier {
  unsigned arrived = 0, phase = 0;
  unsigned waiting[most_warps] = {};
  Times arriving = {}, published = {};
};

inline ClusterBarrier cluster_barrier;

// Lets all go on if everyone who has not exited has arrived.
inline void end_cluster_phase() {
  ClusterBarrier& barrier = cluster_barrier;
  if (!barrier.arrived || barrier.arrived < block.live) return;
  barrier.arrived = 0;
  barrier.phase++;
  join(barrier.published, barrier.arriving);
  for (unsigned w = 0; w < block.warp_count; w++) {
    Warp& warp = block.warps[w];
    warp.at_barrier &= ~barrier.waiting[w];
    wake(warp, barrier.waiting[w]);
    barrier.waiting[w] = 0;
  }
}

void cluster_arrive() {
  uintptr_t code = EMULATOR_CALLER;
  Thread& self = *current;
  if (self.at_cluster) {
    fail(launch_failed, format("barrier.cluster.arrive by %s: it has arrived and not waited", name_of(self).c_str()),
         {{"barrier.cluster.arrive", code}});
  }
  self.at_cluster = true;
  self.cluster_phase = cluster_barrier.phase;
  advance_time(self.warp);
  join(cluster_barrier.arriving, block.warps[self.warp].seen);
  cluster_barrier.arrived++;
  end_cluster_phase();
}

void cluster_wait() {
  uintptr_t code = EMULATOR_CALLER;
  const char* name = "barrier.cluster.wait";
  Thread& self = *current;
  if (!self.at_cluster) {
    fail(launch_failed, format("%s by %s: it has not arrived", name, name_of(self).c_str()), {{name, code}});
  }
  self.at_cluster = false;
  while (cluster_barrier.phase == self.cluster_phase) {
    unsigned bit = 1u << self.lane;
    self.call = Call{name, code, 0, nullptr};
    cluster_barrier.waiting[self.warp] |= bit;
    block.warps[self.warp].at_barrier |= bit;
    wait();
  }
  join(block.warps[self.warp].seen, cluster_barrier.published);
}

inline void check_remote_accesses(const Cta& cta, const Thread& last) {
  for (int actor = 0; actor < most_actors; actor++) {
    if (cta.remote[actor] < first_time || cta.remote[actor] < cta.seen[actor]) continue;
    std::string who = name_of_actor(static_cast<unsigned>(actor * lanes_per_warp));
    fail(launch_failed,
         format("a block exits with %s, while others of its cluster may still use its shared memory: the last access, "
                "by %s, is not ordered before (a barrier of the cluster is missing)",
                name_of(last).c_str(), who.c_str()),
         {});
  }
}

// A thread has returned.
inline void leave_cluster(const Thread& thread) {
  if (block.cta_count == 1) return;
  Cta& cta = block.ctas[thread.cta];
  join(cta.seen, block.warps[thread.warp].seen);
  if (thread.at_cluster && cluster_barrier.phase == thread.cluster_phase) {
    fail(launch_failed,
         format("%s exits between barrier.cluster.arrive and barrier.cluster.wait", name_of(thread).c_str()), {});
  }
  end_cluster_phase();
  if (!cta.live) check_remote_accesses(cta, thread);
}

}  // namespace emulator
