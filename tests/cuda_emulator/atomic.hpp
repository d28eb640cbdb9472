// Atomic operations. Threads take turns only where they wait, so a plain update is atomic; what is checked is the
// access.
#pragma once
#include "access.hpp"

namespace emulator {

template <class To>
inline To as(unsigned long long bits) {
  To value;
  std::memcpy(&value, &bits, sizeof(To));
  return value;
}
template <class From>
inline unsigned long long bits_of(From value) {
  unsigned long long bits = 0;
  std::memcpy(&bits, &value, sizeof(From));
  return bits;
}

inline unsigned long long updated(Atomic kind, unsigned long long old, unsigned long long bits,
                                  unsigned long long compare) {
  switch (kind) {
    case Atomic::add: return old + bits;
    case Atomic::add_float: return bits_of(as<float>(old) + as<float>(bits));
    case Atomic::add_double: return bits_of(as<double>(old) + as<double>(bits));
    case Atomic::exchange: return bits;
    case Atomic::compare_and_swap: return old == compare ? bits : old;
    case Atomic::bit_and: return old & bits;
    case Atomic::bit_or: return old | bits;
    case Atomic::bit_xor: return old ^ bits;
    case Atomic::min_signed: return as<int>(bits) < as<int>(old) ? bits : old;
    case Atomic::max_signed: return as<int>(bits) > as<int>(old) ? bits : old;
    case Atomic::min_unsigned: return bits < old ? bits : old;
    case Atomic::max_unsigned: return bits > old ? bits : old;
  }
  return old;
}

unsigned long long atomic(Atomic kind, void* pointer, int bytes, unsigned long long bits, unsigned long long compare) {
  uintptr_t code = EMULATOR_CALLER, address = reinterpret_cast<uintptr_t>(pointer);
  check_alignment(address, static_cast<unsigned>(bytes), "atomic operation", code);
  access_memory(address, static_cast<unsigned>(bytes), Access::atomic, code);
  unsigned long long old = 0;
  std::memcpy(&old, pointer, static_cast<size_t>(bytes));
  unsigned long long fresh = updated(kind, old, bits, compare);
  std::memcpy(pointer, &fresh, static_cast<size_t>(bytes));
  return old;
}

}  // namespace emulator
