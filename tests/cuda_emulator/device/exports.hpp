// What nvrtc.cpp puts behind every source: a table of its kernels for the driver (see module.hpp).
#pragma once

namespace emulator {

template <int...>
struct Indices {};

template <auto kernel>
struct Entry;
template <class... Parameters, void (*kernel)(Parameters...)>
struct Entry<kernel> {
  static constexpr unsigned bytes[] = {sizeof(Parameters)..., 0};
  template <int... i>
  __attribute__((no_sanitize("thread", "undefined"))) static void call(void** values, Indices<i...>) {
    (void)values;
    kernel(*static_cast<Parameters*>(values[i])...);
  }
  __attribute__((no_sanitize("thread", "undefined"))) static void invoke(void** values) {
    call(values, Indices<__integer_pack(static_cast<int>(sizeof...(Parameters)))...>());
  }
  static EmulatorKernel describe(const char* name) {
    return {name, reinterpret_cast<const void*>(kernel), invoke, bytes, static_cast<int>(sizeof...(Parameters))};
  }
};

}  // namespace emulator

#define EMULATOR_EXPORT __attribute__((visibility("default"), used))
extern "C" {
extern const EmulatorFact __start_emulator_facts[] __attribute__((weak, visibility("hidden")));
extern const EmulatorFact __stop_emulator_facts[] __attribute__((weak, visibility("hidden")));
EMULATOR_EXPORT const EmulatorFact* emulator_facts_begin() { return __start_emulator_facts; }
EMULATOR_EXPORT const EmulatorFact* emulator_facts_end() { return __stop_emulator_facts; }
}
