// Every load and store of a checked kernel.
//
// Kernels are compiled with the compiler's instrumentation for race detection (-fsanitize=thread), which puts a call
// before each access to memory that other threads could see, and with -fsanitize=alignment,bounds,..., which calls when
// a check fails. The functions that those calls name are here, in place of the compiler's own libraries: so kernels
// need no annotation, and the return address tells the line.
#pragma once
#include "global_race.hpp"
#include "warp.hpp"

namespace emulator {

[[noreturn]] inline void fail_of_global(uintptr_t address, unsigned bytes, Access access, uintptr_t code) {
  std::string where = device_memory.describe(address);
  const char* problem = "out of bounds of global memory";
  for (unsigned i = 1; i < bytes && device_memory.holds(address); i++) {
    // The first byte may be inside: name the first that is not.
    if (device_memory.is_whole(reinterpret_cast<void*>(address), i) &&
        !device_memory.is_whole(reinterpret_cast<void*>(address), i + 1)) {
      where = device_memory.describe(address + i);
    }
  }
  Status status = illegal_address;
  if (device_memory.is_whole(reinterpret_cast<void*>(address), bytes)) {
    problem = "uninitialised global memory";
    status = launch_failed;
  } else if (stacks.holds(address)) {
    problem = "local memory of another thread";
    where = "on its stack";
  } else if (!device_memory.holds(address)) {
    problem = "not device memory";
  }
  fail(status,
       format("%s: %s of %u bytes by %s, %s", problem, verb(access), bytes, name_of(*current).c_str(), where.c_str()),
       {{verb(access), code}});
}

inline void check_alignment(uintptr_t address, unsigned bytes, const char* what, uintptr_t code) {
  if (address % bytes == 0) return;
  fail(misaligned_address,
       format("misaligned %s: %u bytes at %s by %s", what, bytes,
              in_arena(reinterpret_cast<void*>(address))
                  ? place_in_arena(arena_offset(reinterpret_cast<void*>(address))).c_str()
                  : device_memory.describe(address).c_str(),
              name_of(*current).c_str()),
       {{what, code}});
}

inline bool is_own_data(uintptr_t address) {
  const Object* object = object_of(code_base);
  return object && address >= object->begin && address < object->end;
}

inline bool in_own_stack(uintptr_t address) {
  return address - reinterpret_cast<uintptr_t>(current->stack) < Stacks::usable;
}

// Notes, or refuses, an access to what may be the accumulators of a wgmma; see warpgroup.hpp.
void touch_registers(uintptr_t address, unsigned bytes, Access access, uintptr_t code);

// One access of the current thread, on any memory.
inline void access_memory(uintptr_t address, unsigned bytes, Access access, uintptr_t code) {
  uintptr_t offset = address - reinterpret_cast<uintptr_t>(device_memory.base);
  if (offset < DeviceMemory::range) {
    uint8_t* states = device_memory.shadow + offset;
    uint8_t least = written;
    for (unsigned i = 0; i < bytes; i++) least = states[i] < least ? states[i] : least;
    bool good = least == written || (least == unwritten && (access == Access::write || !all_have_been_checked));
    if (__builtin_expect(!good, 0)) fail_of_global(address, bytes, access, code);
    if (access != Access::read && least != written) std::memset(states, written, bytes);
    return watch_global(offset, bytes, access, code);
  }
  if (in_arena(reinterpret_cast<void*>(address))) {
    unsigned at = arena_offset(reinterpret_cast<void*>(address));
    if (access == Access::read) return shared_read(*current, at, bytes, code);
    return shared_write(*current, at, bytes, code, access, now(*current));
  }
  if (in_own_stack(address)) {
    if (current->uses_products) touch_registers(address, bytes, access, code);
    return;
  }
  if (is_own_data(address)) return;
  fail_of_global(address, bytes, access, code);
}

template <unsigned bytes>
inline void read_fixed(uintptr_t address, uintptr_t code) {
  uintptr_t offset = address - reinterpret_cast<uintptr_t>(device_memory.base);
  if (offset < DeviceMemory::range) {
    uint8_t expected[bytes];
    std::memset(expected, written, bytes);
    if (std::memcmp(device_memory.shadow + offset, expected, bytes) == 0)
      return watch_global(offset, bytes, Access::read, code);
  }
  access_memory(address, bytes, Access::read, code);
}

template <unsigned bytes>
inline void write_fixed(uintptr_t address, uintptr_t code) {
  uintptr_t offset = address - reinterpret_cast<uintptr_t>(device_memory.base);
  if (offset < DeviceMemory::range) {
    uint8_t expected[bytes];
    std::memset(expected, written, bytes);
    if (std::memcmp(device_memory.shadow + offset, expected, bytes) == 0)
      return watch_global(offset, bytes, Access::write, code);
  }
  access_memory(address, bytes, Access::write, code);
}

}  // namespace emulator

// The names that the compiler calls.
#pragma GCC visibility push(default)
extern "C" {

#define EMULATOR_HOOKS(bytes) \
  void __tsan_read##bytes(uintptr_t at) { \
    if (emulator::current) emulator::read_fixed<bytes>(at, EMULATOR_CALLER); \
  } \
  void __tsan_write##bytes(uintptr_t at) { \
    if (emulator::current) emulator::write_fixed<bytes>(at, EMULATOR_CALLER); \
  }
EMULATOR_HOOKS(1)
EMULATOR_HOOKS(2)
EMULATOR_HOOKS(4)
EMULATOR_HOOKS(8)
EMULATOR_HOOKS(16)

// Accesses that the compiler does not know to be aligned: of structs, and through memcpy.
#define EMULATOR_LOOSE_HOOKS(bytes) \
  void __tsan_unaligned_read##bytes(uintptr_t at) { \
    if (emulator::current) emulator::read_fixed<bytes>(at, EMULATOR_CALLER); \
  } \
  void __tsan_unaligned_write##bytes(uintptr_t at) { \
    if (emulator::current) emulator::write_fixed<bytes>(at, EMULATOR_CALLER); \
  }
EMULATOR_LOOSE_HOOKS(2)
EMULATOR_LOOSE_HOOKS(4)
EMULATOR_LOOSE_HOOKS(8)
EMULATOR_LOOSE_HOOKS(16)

void __tsan_read_range(uintptr_t at, unsigned long bytes) {
  uintptr_t code = EMULATOR_CALLER;
  if (emulator::current && bytes)
    emulator::access_memory(at, static_cast<unsigned>(bytes), emulator::Access::read, code);
}
void __tsan_write_range(uintptr_t at, unsigned long bytes) {
  uintptr_t code = EMULATOR_CALLER;
  if (emulator::current && bytes)
    emulator::access_memory(at, static_cast<unsigned>(bytes), emulator::Access::write, code);
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

// What -fsanitize=alignment passes: where, the type, log2 of its alignment, the kind of access.
struct MismatchData {
  const char* file;
  uint32_t line, column;
  const void* type;
  unsigned char log_alignment, kind;
};
void __ubsan_handle_type_mismatch_v1(const MismatchData* data, uintptr_t pointer) {
  if (!emulator::current) return;
  unsigned alignment = 1u << data->log_alignment;
  uintptr_t code = EMULATOR_CALLER;
  if (pointer % alignment) emulator::check_alignment(pointer, alignment, "access", code);
}
void __ubsan_handle_type_mismatch_v1_abort(const MismatchData* data, uintptr_t pointer)
    __attribute__((alias("__ubsan_handle_type_mismatch_v1")));

[[noreturn]] static void fail_of_arithmetic(const char* what, uintptr_t code) {
  emulator::fail(emulator::launch_failed,
                 emulator::format("%s, by %s", what, emulator::name_of(*emulator::current).c_str()), {{"here", code}});
}
void __ubsan_handle_out_of_bounds(const void*, long index) {
  uintptr_t code = EMULATOR_CALLER;
  std::string what = emulator::format("index %ld is out of an array's bounds", index);
  fail_of_arithmetic(what.c_str(), code);
}
void __ubsan_handle_shift_out_of_bounds(const void*, long, long bits) {
  uintptr_t code = EMULATOR_CALLER;
  std::string what = emulator::format("shift by %ld bits", bits);
  fail_of_arithmetic(what.c_str(), code);
}
void __ubsan_handle_divrem_overflow(const void*, long, long) {
  fail_of_arithmetic("integer division by zero", EMULATOR_CALLER);
}
}
#pragma GCC visibility pop
