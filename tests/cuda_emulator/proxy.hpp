// The asynchronous proxy of sm_90: how bulk copies and wgmma use shared memory.
//
// They are actors of their own beside the warps (block.hpp). What a warp must have seen to start one: the accesses that
// it conflicts with, and behind what threads wrote, a fence.proxy.async. `Warp::seen` holds that in its second half:
// the fence raises a warp's entries there to what it has seen, and barriers hand them on like all others. So the fence
// may stand on the writer's side of a barrier or on the reader's. Lanes of one warp are not told apart here.
#pragma once
#include "async_copy.hpp"

namespace emulator {

// The stamp of what an actor does now, and how a warp, or a barrier, learns of all that it has done before now.
inline Stamp actor_stamp(int actor) { return actor_times[actor] << 12 | static_cast<unsigned>(actor * lanes_per_warp); }
inline void actor_is_seen(int actor, Times& by) {
  uint32_t& seen = by[actor];
  if (seen < actor_times[actor]) seen = actor_times[actor];
}
inline void advance_actor(int actor) {
  if (actor_times[actor] < latest_time - 1) actor_times[actor]++;
}

inline void check_proxy(const Thread& thread, const Cell& cell, unsigned at, const char* what, uintptr_t code) {
  Stamp writer = cell.writer;
  if (!is_warp(writer) || time_of(writer) < first_time) return;
  const Warp& warp = block.warps[thread.warp];
  if (time_of(writer) < warp.seen[most_actors + static_cast<int>(thread_of(writer)) / lanes_per_warp]) return;
  fail(launch_failed,
       format("no fence.proxy.async between the write of %s by %s and the %s by %s", place_in_arena(at).c_str(),
              name_of_actor(writer).c_str(), what, name_of(thread).c_str()),
       {{what, code}, {"write", code_base + cell.writer_code}});
}

// Whether a thread may start something that reads these bytes.
inline void check_async_read(const Thread& thread, unsigned offset, unsigned bytes, const char* what, uintptr_t code) {
  check_place(thread, offset, bytes, Access::read, code);
  if (!is_checked) return;
  const Warp& warp = block.warps[thread.warp];
  each_cell(offset, bytes, [&](Cell& cell, unsigned at) {
    if (time_of(cell.writer) < first_time) fail_of_unwritten(thread, at, Access::read, code);
    if (!ordered(cell.writer, warp, thread)) {
      fail_of_race(thread, at, Access::read, code, cell.writer, "write", cell.writer_code);
    }
    check_proxy(thread, cell, at, what, code);
  });
}

inline void begin_async_read(unsigned offset, unsigned bytes) {
  for (unsigned chunk = offset / 16; chunk < (offset + bytes + 15) / 16; chunk++) being_read[chunk]++;
  reads_in_flight++;
}

// They have been read: by `stamp`, for whoever writes there next.
inline void end_async_read(unsigned offset, unsigned bytes, Stamp stamp, uintptr_t code) {
  for (unsigned chunk = offset / 16; chunk < (offset + bytes + 15) / 16; chunk++) being_read[chunk]--;
  reads_in_flight--;
  if (!is_checked) return;
  uint32_t short_code = static_cast<uint32_t>(code - code_base);
  each_cell(offset, bytes, [&](Cell& cell, unsigned) {
    if (thread_of(cell.reader) != thread_of(stamp)) {
      cell.other = cell.reader;
      cell.other_code = cell.reader_code;
    }
    cell.reader = stamp;
    cell.reader_code = short_code;
  });
}

// A thread starts a copy into these bytes: they are in flight until `end_async_write`.
inline void begin_async_write(const Thread& thread, unsigned offset, unsigned bytes, uintptr_t code) {
  check_place(thread, offset, bytes, Access::write, code);
  if (!is_checked) return;
  check_not_being_read(thread, offset, bytes, Access::write, code);
  const Warp& warp = block.warps[thread.warp];
  uint32_t short_code = static_cast<uint32_t>(code - code_base);
  each_cell(offset, bytes, [&](Cell& cell, unsigned at) {
    auto check = [&](Stamp earlier, const char* name, uint32_t earlier_code) {
      if (!ordered(earlier, warp, thread)) fail_of_race(thread, at, Access::write, code, earlier, name, earlier_code);
    };
    check(cell.writer, "write", cell.writer_code);
    check(cell.reader, "read", cell.reader_code);
    check(cell.other, "read", cell.other_code);
    check_proxy(thread, cell, at, "bulk copy", code);
    cell.writer = in_flight << 12 | static_cast<unsigned>(copy_actor * lanes_per_warp);
    cell.writer_code = short_code;
    cell.reader = cell.other = 0;
  });
  unite(offset, bytes);
}

inline void end_async_write(unsigned offset, unsigned bytes) {
  Stamp stamp = actor_stamp(copy_actor);
  each_cell(offset, bytes, [&](Cell& cell, unsigned) { cell.writer = stamp; });
}

}  // namespace emulator
