// Bulk copies of boxes of tensors (TMA): cp.async.bulk.tensor between global and shared memory.
//
// A copy to shared memory announces itself at an mbarrier, which must have been told to expect its bytes. It lands when
// nobody can go on without it (VITRUM_EMULATOR_COPIES=late) or at once (early); its bytes of shared memory are its own
// until then, and afterwards a write of the engine's, which only those see who wait at the mbarrier. What lies outside
// the tensor is zero. A copy to global memory belongs to its thread, as a cp.async does, and moves when it is waited
// for or at once; wait_group.read frees its tile alone.
#pragma once
#include "mbarrier.hpp"
#include "tensor_map.hpp"

namespace emulator {

inline const TensorMap& check_map(const void* map, int rank, const char* name, uintptr_t code) {
  if (reinterpret_cast<uintptr_t>(map) % 64 == 0) {
    const TensorMap& found = *static_cast<const TensorMap*>(map);
    if (found.magic == map_magic && found.rank == rank) {
      bool is_narrow = found.swizzle_bytes && found.row_bytes() != found.swizzle_bytes;
      if (!is_narrow) return found;
      fail(launch_failed,
           format("%s: rows of %u bytes under a swizzle of %u are not modelled", name, found.row_bytes(),
                  found.swizzle_bytes),
           {{name, code}});
    }
  }
  fail(launch_failed,
       format("%s by %s: no tensor map of rank %d, aligned to 64 bytes", name, name_of(*current).c_str(), rank),
       {{name, code}});
}

inline unsigned check_tile(const void* tile, const TensorMap& map, const char* name, uintptr_t code) {
  if (!in_arena(tile)) {
    fail(illegal_address, format("%s of memory that is not shared, by %s", name, name_of(*current).c_str()),
         {{name, code}});
  }
  // A swizzle repeats every 8 rows.
  unsigned alignment = map.swizzle_bytes ? 8 * map.swizzle_bytes : 128;
  check_alignment(reinterpret_cast<uintptr_t>(tile), alignment < 128 ? 128 : alignment, "tile of a bulk copy", code);
  return arena_offset(tile);
}

// A row of a box: where its element 0 of the contiguous dimension lies, and whether the other dimensions are inside.
struct BoxRow {
  char* start;
  bool inside;
};

inline BoxRow row_of_box(const TensorMap& map, const Origin& origin, unsigned row) {
  BoxRow found{map.base, true};
  for (int i = 1; i < map.rank; i++) {
    long at = static_cast<long>(origin.at[i]) + row % map.box[i];
    row /= map.box[i];
    found.inside = found.inside && at >= 0 && at < static_cast<long>(map.dims[i]);
    if (found.inside) found.start += at * static_cast<long>(map.strides[i - 1]);
  }
  return found;
}

// Calls `visit(address, offset in the arena, bytes, is inside the tensor)` for the parts of a box.
template <class Visit>
inline void each_part(const TensorMap& map, const Origin& origin, unsigned tile, Visit visit) {
  unsigned element = map.element_bytes, per_chunk = 16 / element;
  long width = static_cast<long>(map.dims[0]);
  for (unsigned row = 0; row < map.box_rows(); row++) {
    BoxRow found = row_of_box(map, origin, row);
    for (unsigned column = 0; column < map.box[0]; column += per_chunk) {
      unsigned to = swizzled(tile + row * map.row_bytes() + column * element, map.swizzle_bytes);
      long x = static_cast<long>(origin.at[0]) + column;
      bool whole = found.inside && x >= 0 && x + per_chunk <= width;
      bool none = !found.inside || x + per_chunk <= 0 || x >= width;
      if (whole || none) {
        visit(found.start + (whole ? x * static_cast<long>(element) : 0), to, 16u, whole);
        continue;
      }
      for (unsigned i = 0; i < per_chunk; i++, x++) {
        bool inside = x >= 0 && x < width;
        visit(found.start + (inside ? x * static_cast<long>(element) : 0), to + i * element, element, inside);
      }
    }
  }
}

// The part of a box that lies in the tensor, as accesses of the calling thread.
inline void access_box(const TensorMap& map, const Origin& origin, Access access, uintptr_t code) {
  long first = std::max(0, origin.at[0]), width = static_cast<long>(map.dims[0]);
  long end = std::min(static_cast<long>(origin.at[0]) + map.box[0], width);
  for (unsigned row = 0; row < map.box_rows() && first < end; row++) {
    BoxRow found = row_of_box(map, origin, row);
    if (!found.inside) continue;
    access_memory(reinterpret_cast<uintptr_t>(found.start + first * map.element_bytes),
                  static_cast<unsigned>((end - first) * map.element_bytes), access, code);
  }
}

inline void land(MBarrier& barrier, const BulkLoad& load) {
  const TensorMap& map = load.map;
  each_part(map, load.origin, load.to, [&](const char* from, unsigned to, unsigned bytes, bool inside) {
    if (inside) std::memcpy(arena + to, from, bytes);
    if (!inside) std::memset(arena + to, 0, bytes);
  });
  end_async_write(load.to, load.bytes);
  if (load.is_remote) block.ctas[load.to / arena_per_cta].remote[copy_actor] = actor_times[copy_actor];
  advance_actor(copy_actor);
  actor_is_seen(copy_actor, barrier.arriving);
  barrier.bytes -= load.bytes;
  end_phase(barrier);
}

bool land_late_copies() {
  for (auto& [offset, barrier] : mbarriers) {
    if (barrier.loads.empty() || !has_waiters(barrier)) continue;
    // They land in any order: under odd seeds the last first.
    size_t which = seed % 2 ? barrier.loads.size() - 1 : 0;
    BulkLoad load = barrier.loads[which];
    barrier.loads.erase(barrier.loads.begin() + static_cast<ptrdiff_t>(which));
    land(barrier, load);
    return true;
  }
  return false;
}

// The mbarrier must be known to the engine, and expect these bytes; that of another block may be told of them later.
inline void check_expected(const MBarrier& barrier, unsigned bytes, bool is_remote, const char* name, uintptr_t code) {
  if (!barrier.copies_see_it) {
    fail(launch_failed,
         format("%s by %s: no fence.mbarrier_init (or fence.proxy.async) after the mbarrier's initialisation", name,
                name_of(*current).c_str()),
         {{name, code}, {"mbarrier.init", barrier.code}});
  }
  if (is_remote) return;
  long left = barrier.bytes;
  for (const BulkLoad& load : barrier.loads) left -= load.bytes;
  if (bytes <= left) return;
  fail(launch_failed,
       format("%s of %u bytes by %s: its mbarrier expects %ld more in this phase", name, bytes,
              name_of(*current).c_str(), left),
       {{name, code}});
}

// Starts a copy to one block of the cluster.
inline void load_to(unsigned rank, const TensorMap& map, void* shared, void* barrier, const Origin& origin,
                    const char* name, uintptr_t code) {
  bool is_remote = rank != current->cta;
  unsigned to = arena_offset(remote_place(shared, rank, name, code)), bytes = map.box_bytes();
  MBarrier& found = find_mbarrier(remote_place(barrier, rank, name, code), name, code);
  check_expected(found, bytes, is_remote, name, code);
  begin_async_write(*current, to, bytes, code);
  BulkLoad load{map, to, bytes, origin, is_remote};
  if (copies_land_early) return land(found, load);
  found.loads.push_back(load);
}

inline void load_to_all(unsigned blocks, void* shared, const void* tensor, void* barrier, const Origin& origin,
                        uintptr_t code) {
  const char* name = "cp.async.bulk.tensor";
  const TensorMap& map = check_map(tensor, origin.rank, name, code);
  check_tile(shared, map, name, code);
  check_mbarrier_place(barrier, name, code);
  access_box(map, origin, Access::read, code);
  for (unsigned rank = 0; blocks >> rank; rank++) {
    if (blocks >> rank & 1) load_to(rank, map, shared, barrier, origin, name, code);
  }
}

void tensor_load(void* shared, const void* tensor, void* barrier, Origin origin) {
  load_to_all(1u << current->cta, shared, tensor, barrier, origin, EMULATOR_CALLER);
}

void tensor_load_multicast(void* shared, const void* tensor, void* barrier, unsigned blocks, Origin origin) {
  load_to_all(blocks, shared, tensor, barrier, origin, EMULATOR_CALLER);
}

inline void store(const BulkStore& copy) {
  each_part(copy.map, copy.origin, copy.from, [&](char* to, unsigned from, unsigned bytes, bool inside) {
    if (inside) std::memcpy(to, copy.has_read ? &copy.tile[from - copy.from] : arena + from, bytes);
  });
}

inline void end_tile_read(BulkStore& copy) {
  if (copy.has_read) return;
  unsigned bytes = copy.map.box_bytes();
  copy.tile.assign(arena + copy.from, arena + copy.from + bytes);
  copy.has_read = true;
  end_async_read(copy.from, bytes, now(*current) << 12 | current->number, copy.code);
}

void check_bulk_stores(uintptr_t address, unsigned bytes, Access access, uintptr_t code) {
  for (const BulkStore& copy : current->stores) {
    long first = std::max(0, copy.origin.at[0]), width = static_cast<long>(copy.map.dims[0]);
    long end = std::min(static_cast<long>(copy.origin.at[0]) + copy.map.box[0], width);
    for (unsigned row = 0; row < copy.map.box_rows() && first < end; row++) {
      BoxRow found = row_of_box(copy.map, copy.origin, row);
      uintptr_t begin = reinterpret_cast<uintptr_t>(found.start + first * copy.map.element_bytes);
      uintptr_t behind = reinterpret_cast<uintptr_t>(found.start + end * copy.map.element_bytes);
      if (!found.inside || address >= behind || address + bytes <= begin) continue;
      fail(launch_failed,
           format("global memory used before its bulk copy was waited for (.read waits for its tile only): %s by %s",
                  verb(access), name_of(*current).c_str()),
           {{verb(access), code}, {"bulk copy", copy.code}});
    }
  }
}

void tensor_store(const void* tensor, const void* shared, Origin origin) {
  uintptr_t code = EMULATOR_CALLER;
  const char* name = "cp.async.bulk.tensor";
  const TensorMap& map = check_map(tensor, origin.rank, name, code);
  unsigned from = check_tile(shared, map, name, code), bytes = map.box_bytes();
  check_async_read(*current, from, bytes, name, code);
  BulkStore copy{map, from, origin, current->store_groups, code, false, {}};
  access_box(map, copy.origin, Access::write, code);
  begin_async_read(from, bytes);
  if (copies_land_early) store(copy);
  current->stores.push_back(copy);
}

void bulk_commit() { current->store_groups++; }

void bulk_wait_read(int groups) {
  for (BulkStore& copy : current->stores) {
    if (copy.group < current->store_groups - groups) end_tile_read(copy);
  }
}

void bulk_wait(int groups) {
  Thread& self = *current;
  bulk_wait_read(groups);
  std::vector<BulkStore> left;
  for (BulkStore& copy : self.stores) {
    if (copy.group >= self.store_groups - groups) {
      left.push_back(std::move(copy));
    } else if (!copies_land_early) {
      store(copy);
    }
  }
  self.stores = std::move(left);
}

// A thread has returned, perhaps the block's last: nothing may be under way that uses its memory.
inline void check_bulk_copies_at_exit(Thread& thread) {
  // Those that have read their tiles write on without their block.
  for (const BulkStore& copy : thread.stores) {
    if (copy.has_read && !copies_land_early) store(copy);
  }
  std::erase_if(thread.stores, [](const BulkStore& copy) { return copy.has_read; });
  if (!thread.stores.empty()) {
    fail(launch_failed, format("%zu bulk copies of %s never waited for", thread.stores.size(), name_of(thread).c_str()),
         {{"the first", thread.stores.front().code}});
  }
  if (own_cta().live > 1) return;
  for (const auto& [offset, barrier] : mbarriers) {
    if (barrier.loads.empty() || (block.cta_count > 1 && offset / arena_per_cta != thread.cta)) continue;
    fail(launch_failed,
         format("%zu bulk copies to shared memory never waited for, announced at the mbarrier %s", barrier.loads.size(),
                place_in_arena(offset).c_str()),
         {{"mbarrier.init", barrier.code}});
  }
}

}  // namespace emulator
