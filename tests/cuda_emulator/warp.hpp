// Warp functions: shuffles, votes, reductions, __syncwarp, and the frame that ldmatrix and mma.sync use too.
//
// Each lane of the mask leaves its operands where the others find them and waits; the last to come does the work for
// all. All lanes that the mask names must come, to the same call in the source, with the same mask; shuffles and votes
// order no memory.
#pragma once
#include "barrier.hpp"

namespace emulator {

inline std::string lanes_of(unsigned mask) { return format("0x%08x", mask); }

inline void check_call(const Thread& self, const Warp& warp, const Call& call) {
  if (!(call.mask >> self.lane & 1)) {
    fail(launch_failed,
         format("%s: the mask %s does not name the calling %s", call.name, lanes_of(call.mask).c_str(),
                name_of(self).c_str()),
         {{call.name, call.code}});
  }
  if (call.mask & ~warp.live) {
    fail(launch_failed,
         format("%s by %s: the mask %s names lanes %s, which have exited or don't exist", call.name,
                name_of(self).c_str(), lanes_of(call.mask).c_str(), lanes_of(call.mask & ~warp.live).c_str()),
         {{call.name, call.code}});
  }
  unsigned before = warp.in_call & call.mask;
  if (!before) return;
  const Thread& other = block.threads[self.warp * lanes_per_warp + static_cast<unsigned>(__builtin_ctz(before))];
  if (other.call.mask == call.mask && std::strcmp(other.call.name, call.name) == 0 &&
      same_call(other.call.code, call.code))
    return;
  fail(launch_failed,
       format("divergent warp: %s is at %s with mask %s, while %s waits at %s with mask %s", name_of(self).c_str(),
              call.name, lanes_of(call.mask).c_str(), name_of(other).c_str(), other.call.name,
              lanes_of(other.call.mask).c_str()),
       {{call.name, call.code}, {other.call.name, other.call.code}});
}

// `work(lanes)` runs once, with the operands of every lane of the mask and null for the others.
template <class Operands, class Work>
inline void together(const char* name, uintptr_t code, unsigned mask, Operands& mine, Work work) {
  Thread& self = *current;
  Warp& warp = block.warps[self.warp];
  self.call = Call{name, code, mask, &mine};
  check_call(self, warp, self.call);
  warp.in_call |= 1u << self.lane;
  if ((warp.in_call & mask) != mask) return wait();
  Operands* lanes[lanes_per_warp] = {};
  for (unsigned lane = 0; lane < lanes_per_warp; lane++) {
    if (mask >> lane & 1)
      lanes[lane] = static_cast<Operands*>(block.threads[self.warp * lanes_per_warp + lane].call.operands);
  }
  work(lanes);
  warp.in_call &= ~mask;
  wake(warp, mask);
}

void warp_sync(unsigned mask) {
  int nothing = 0;
  together("__syncwarp()", EMULATOR_CALLER, mask, nothing, [](int**) { advance_time(current->warp); });
}

struct ShuffleLane {
  unsigned long long in, out;
  int argument, width;
};

// The lane that a shuffle reads, or its own where that lies outside its segment.
inline int shuffle_source(Shuffle kind, int lane, int argument, int width) {
  int first = lane & -width, source = lane;
  switch (kind) {
    case Shuffle::index: return first + (argument & (width - 1));
    case Shuffle::up: source = lane - argument; break;
    case Shuffle::down: source = lane + argument; break;
    case Shuffle::exclusive_or: source = lane ^ argument; return source < first + width ? source : lane;
  }
  return source >= first && source < first + width ? source : lane;
}

unsigned long long shuffle(Shuffle kind, unsigned mask, unsigned long long bits, int argument, int width) {
  static const char* const names[] = {"__shfl_sync()", "__shfl_up_sync()", "__shfl_down_sync()", "__shfl_xor_sync()"};
  const char* name = names[static_cast<int>(kind)];
  uintptr_t code = EMULATOR_CALLER;
  if (width < 1 || width > 32 || (width & (width - 1))) {
    fail(launch_failed, format("%s: width %d is no power of two up to 32", name, width), {{name, code}});
  }
  ShuffleLane mine{bits, bits, argument, width};
  together(name, code, mask, mine, [=](ShuffleLane** lanes) {
    for (int lane = 0; lane < lanes_per_warp; lane++) {
      if (!lanes[lane]) continue;
      int source = shuffle_source(kind, lane, lanes[lane]->argument, lanes[lane]->width) & 31;
      if (!lanes[source]) {
        fail(launch_failed,
             format("%s: lane %d of warp %u reads lane %d, which the mask %s does not name", name, lane, current->warp,
                    source, lanes_of(mask).c_str()),
             {{name, code}});
      }
      lanes[lane]->out = lanes[source]->in;
    }
  });
  return mine.out;
}

struct VoteLane {
  unsigned in, out;
};

unsigned vote(Vote kind, unsigned mask, int predicate) {
  static const char* const names[] = {"__ballot_sync()", "__all_sync()", "__any_sync()"};
  VoteLane mine{predicate != 0, 0};
  together(names[static_cast<int>(kind)], EMULATOR_CALLER, mask, mine, [=](VoteLane** lanes) {
    unsigned votes = 0;
    for (int lane = 0; lane < lanes_per_warp; lane++) votes |= lanes[lane] ? lanes[lane]->in << lane : 0;
    unsigned out = kind == Vote::ballot ? votes : kind == Vote::all ? votes == mask : votes != 0;
    for (int lane = 0; lane < lanes_per_warp; lane++) {
      if (lanes[lane]) lanes[lane]->out = out;
    }
  });
  return mine.out;
}

inline unsigned combine(Reduce kind, unsigned a, unsigned b) {
  int x = static_cast<int>(a), y = static_cast<int>(b);
  switch (kind) {
    case Reduce::add: return a + b;
    case Reduce::min_signed: return x < y ? a : b;
    case Reduce::max_signed: return x < y ? b : a;
    case Reduce::min_unsigned: return a < b ? a : b;
    case Reduce::max_unsigned: return a < b ? b : a;
    case Reduce::bit_and: return a & b;
    case Reduce::bit_or: return a | b;
    case Reduce::bit_xor: return a ^ b;
  }
  return 0;
}

unsigned reduce(Reduce kind, unsigned mask, unsigned value) {
  VoteLane mine{value, 0};
  together("__reduce_*_sync()", EMULATOR_CALLER, mask, mine, [=](VoteLane** lanes) {
    VoteLane* first = lanes[__builtin_ctz(mask)];
    unsigned result = first->in;
    for (int lane = 0; lane < lanes_per_warp; lane++) {
      if (lanes[lane] && lanes[lane] != first) result = combine(kind, result, lanes[lane]->in);
    }
    for (int lane = 0; lane < lanes_per_warp; lane++) {
      if (lanes[lane]) lanes[lane]->out = result;
    }
  });
  return mine.out;
}

}  // namespace emulator
