// The race detector of shared memory.
//
// Cells remember who wrote a word of the arena last and which two threads read it since, with the line and the time of
// the accessing warp. A word that has been used in parts has a cell for each of its bytes instead, until it is next
// written as a whole.
//
// Time: each warp counts its synchronisations. `Warp::seen[w]` says up to which time of warp w the accesses of w are
// ordered before what this warp does now: a barrier among warps joins their `seen` (element-wise maximum), __syncwarp
// moves a warp's own entry. Two accesses to a byte, one of them a write, by different threads, the earlier not ordered
// before the later: that is a race, in whatever order the fibers happened to run. Lanes that __syncwarp names are not
// told from its warp's other lanes.
//
// Times go on rising from block to block, so a cell with a time before the block's first means "not written by this
// block".
#pragma once
#include "shared.hpp"

namespace emulator {

constexpr unsigned time_bits = 20, latest_time = (1u << time_bits) - 1;

// thread in bits 0 to 10, atomic in bit 11, time above. An actor that is no warp counts as its first lane.
using Stamp = uint32_t;
constexpr Stamp atomic_bit = 1u << 11;
constexpr Stamp in_flight = latest_time;  // the time of a byte that a copy has yet to write
inline unsigned time_of(Stamp stamp) { return stamp >> 12; }
inline unsigned thread_of(Stamp stamp) { return stamp & 2047; }

// A plain write forgets the readers before it: whoever is ordered after it is ordered after them, and who is not is
// caught by it.
struct Cell {
  Stamp writer, reader, other;  // `other` is the latest reader that is not `reader`
  uint32_t writer_code, reader_code, other_code;
};

inline Cell words[arena_bytes / 4];
inline Cell bytes_of_words[arena_bytes];
inline bool is_split[arena_bytes / 4];
inline uintptr_t code_base = 0;            // of the running kernel's module: cells keep 32 bits of an address
inline unsigned first_time = 1;            // of the running block
inline uint32_t actor_times[most_actors];  // of the actors that are no warps

// A block begins: nothing is written yet, and no access of an earlier block counts.
inline void begin_time() {
  unsigned latest = first_time;
  for (const Warp& warp : block.warps) {
    for (uint32_t seen : warp.seen) latest = seen > latest ? seen : latest;
  }
  for (uint32_t time : actor_times) latest = time > latest ? time : latest;
  first_time = latest + 1;
  if (first_time > latest_time / 2) {
    std::memset(static_cast<void*>(words), 0, sizeof words);
    std::memset(static_cast<void*>(bytes_of_words), 0, sizeof bytes_of_words);
    first_time = 1;
  }
  for (Warp& warp : block.warps) {
    for (uint32_t& seen : warp.seen) seen = first_time;
  }
  for (uint32_t& time : actor_times) time = first_time;
  std::memset(arena, 0xff, arena_used);  // reads as NaN where the checks are off
}

inline unsigned now(const Thread& thread) { return block.warps[thread.warp].seen[thread.warp]; }

// A synchronisation of one warp: its later accesses come after its earlier ones.
inline void advance_time(unsigned warp) {
  uint32_t& own = block.warps[warp].seen[warp];
  if (own < latest_time - 1) own++;
}

inline void join(Times& into, const Times& from) {
  for (int i = 0; i < 2 * most_actors; i++) into[i] = into[i] < from[i] ? from[i] : into[i];
}

enum class Access { read, write, atomic };

inline const char* verb(Access access) {
  return access == Access::read ? "read" : access == Access::write ? "write" : "atomic operation";
}

// Whether an access was a thread's own, and not that of what works for it.
inline bool is_warp(Stamp stamp) { return thread_of(stamp) < most_threads; }

inline std::string name_of_actor(Stamp stamp) {
  if (is_warp(stamp)) return name_of(block.threads[thread_of(stamp)]);
  int actor = static_cast<int>(thread_of(stamp)) / lanes_per_warp;
  if (actor == copy_actor) return "the engine of bulk copies";
  int first = (actor - first_group_actor) * warps_per_group;
  return format("a wgmma of warps %d to %d", first, first + warps_per_group - 1);
}

[[noreturn]] inline void fail_of_race(const Thread& thread, unsigned at, Access access, uintptr_t code, Stamp earlier,
                                      const char* earlier_verb, uint32_t earlier_code) {
  std::string other = name_of_actor(earlier);
  uintptr_t before = code_base + earlier_code;
  if (time_of(earlier) == in_flight) {
    const char* copy = is_warp(earlier) ? "cp.async" : "bulk copy";
    fail(launch_failed,
         format("shared memory used before its %s has landed: %s, %s by %s", copy, place_in_arena(at).c_str(),
                verb(access), name_of(thread).c_str()),
         {{verb(access), code}, {copy + (" by " + other), before}});
  }
  fail(launch_failed,
       format("race on shared memory: %s, %s by %s is not ordered after the %s by %s", place_in_arena(at).c_str(),
              verb(access), name_of(thread).c_str(), earlier_verb, other.c_str()),
       {{verb(access), code}, {std::string("earlier ") + earlier_verb, before}});
}

// Whether what `stamp` says happened before what `thread` does now.
inline bool ordered(Stamp stamp, const Warp& warp, const Thread& thread) {
  return time_of(stamp) < warp.seen[thread_of(stamp) / lanes_per_warp] ||
         (thread_of(stamp) == thread.number && time_of(stamp) != in_flight);
}

inline void check_place(const Thread& thread, unsigned offset, unsigned bytes, Access access, uintptr_t code) {
  unsigned last = offset + bytes - 1;
  if (last < arena_bytes && owner[offset] && owner[offset] == owner[last]) return;
  unsigned outside = last < arena_bytes && owner[offset] ? last : offset;
  fail(illegal_address,
       format("out of bounds of shared memory: %s of %u bytes by %s, %s", verb(access), bytes, name_of(thread).c_str(),
              place_in_arena(outside).c_str()),
       {{verb(access), code}});
}

// Calls `visit(cell, offset)` for the cells of these bytes: one per word where it is used as a whole.
template <class Visit>
inline void each_cell(unsigned offset, unsigned bytes, Visit visit) {
  for (unsigned at = offset, end = offset + bytes; at < end;) {
    unsigned word = at / 4;
    if (!is_split[word] && at % 4 == 0 && end - at >= 4) {
      visit(words[word], at);
      at += 4;
      continue;
    }
    if (!is_split[word]) {
      for (unsigned i = 0; i < 4; i++) bytes_of_words[4 * word + i] = words[word];
      is_split[word] = true;
    }
    visit(bytes_of_words[at], at);
    at++;
  }
}

// These bytes have just been written: those that are whole words have one cell again.
inline void unite(unsigned offset, unsigned bytes) {
  for (unsigned word = (offset + 3) / 4; 4 * word + 4 <= offset + bytes; word++) {
    if (is_split[word]) words[word] = bytes_of_words[4 * word];
    is_split[word] = false;
  }
}

[[noreturn]] inline void fail_of_unwritten(const Thread& thread, unsigned at, Access access, uintptr_t code) {
  fail(launch_failed,
       format("uninitialised shared memory: %s, %s by %s, not written by this block before (never, or a barrier is "
              "missing)",
              place_in_arena(at).c_str(), verb(access), name_of(thread).c_str()),
       {{verb(access), code}});
}

inline void shared_read(const Thread& thread, unsigned offset, unsigned bytes, uintptr_t code) {
  check_place(thread, offset, bytes, Access::read, code);
  if (!is_checked) return;
  const Warp& warp = block.warps[thread.warp];
  Stamp stamp = now(thread) << 12 | thread.number;
  uint32_t short_code = static_cast<uint32_t>(code - code_base);
  each_cell(offset, bytes, [&](Cell& cell, unsigned at) {
    if (cell.reader == stamp && !(cell.writer & atomic_bit)) return;  // as before, and nobody has written since
    if (time_of(cell.writer) < first_time) fail_of_unwritten(thread, at, Access::read, code);
    if (!ordered(cell.writer, warp, thread)) {
      fail_of_race(thread, at, Access::read, code, cell.writer, "write", cell.writer_code);
    }
    if (thread_of(cell.reader) != thread.number) {
      cell.other = cell.reader;
      cell.other_code = cell.reader_code;
    }
    cell.reader = stamp;
    cell.reader_code = short_code;
  });
}

// How many operations under way read each 16 bytes: wgmma, and bulk copies to global memory (proxy.hpp).
inline uint16_t being_read[arena_bytes / 16];
inline unsigned reads_in_flight = 0;

[[noreturn]] inline void fail_of_write_below_read(const Thread& thread, unsigned at, Access access, uintptr_t code) {
  fail(launch_failed,
       format("shared memory overwritten while a wgmma or a bulk copy still reads it: %s, %s by %s",
              place_in_arena(at).c_str(), verb(access), name_of(thread).c_str()),
       {{verb(access), code}});
}

inline void check_not_being_read(const Thread& thread, unsigned offset, unsigned bytes, Access access, uintptr_t code) {
  if (!reads_in_flight) return;
  for (unsigned chunk = offset / 16; chunk <= (offset + bytes - 1) / 16; chunk++) {
    if (being_read[chunk]) fail_of_write_below_read(thread, 16 * chunk, access, code);
  }
}

// A write, or an atomic operation; `time` is in_flight for a cp.async that has been issued.
inline void shared_write(const Thread& thread, unsigned offset, unsigned bytes, uintptr_t code, Access access,
                         unsigned time) {
  check_place(thread, offset, bytes, access, code);
  if (!is_checked) return;
  const Warp& warp = block.warps[thread.warp];
  check_not_being_read(thread, offset, bytes, access, code);
  bool is_atomic = access == Access::atomic;
  Stamp stamp = time << 12 | (is_atomic ? atomic_bit : 0) | thread.number;
  uint32_t short_code = static_cast<uint32_t>(code - code_base);
  each_cell(offset, bytes, [&](Cell& cell, unsigned at) {
    if (is_atomic && time_of(cell.writer) < first_time) fail_of_unwritten(thread, at, access, code);
    bool both_atomic = is_atomic && (cell.writer & atomic_bit);
    if (!both_atomic && !ordered(cell.writer, warp, thread)) {
      fail_of_race(thread, at, access, code, cell.writer, "write", cell.writer_code);
    }
    if (!ordered(cell.reader, warp, thread))
      fail_of_race(thread, at, access, code, cell.reader, "read", cell.reader_code);
    if (!ordered(cell.other, warp, thread)) fail_of_race(thread, at, access, code, cell.other, "read", cell.other_code);
    cell.writer = stamp;
    cell.writer_code = short_code;
    if (!is_atomic) cell.reader = cell.other = 0;
  });
  if (!is_atomic) unite(offset, bytes);
}

// The bytes of a cp.async have landed: from now on they are a write of its thread.
inline void land(const Thread& thread, unsigned offset, unsigned bytes) {
  Stamp stamp = now(thread) << 12 | thread.number;
  each_cell(offset, bytes, [&](Cell& cell, unsigned) { cell.writer = stamp; });
}

}  // namespace emulator
