// Fibers: many stacks on one operating-system thread, changed by hand. Every CUDA thread of a block is one.
//
// A switch saves the registers that a called function must keep, and nothing else. On x86-64 that is seven words and
// takes a few nanoseconds; elsewhere, or with EMULATOR_UCONTEXT defined, the C library's much slower swapcontext does
// it.
#pragma once
#include <sys/mman.h>
#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace emulator {

#if defined(__x86_64__) && !defined(EMULATOR_UCONTEXT)

struct Fiber {
  void* stack_pointer = nullptr;
};

extern "C" void emulator_switch(void** old_stack_pointer, void* new_stack_pointer);
asm(R"(
  .pushsection .text
  .type emulator_switch, @function
emulator_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
  .size emulator_switch, . - emulator_switch
  .popsection
)");

// A fiber that will run `entry`, which never returns, on the stack that ends at `top` (a multiple of 16).
inline void prepare(Fiber& fiber, char*, char* top, void (*entry)()) {
  void** words = reinterpret_cast<void**>(top);
  *--words =
      nullptr;  // where a caller's address would be: ends stack traces, and aligns as the calling convention wants
  *--words = reinterpret_cast<void*>(entry);
  words -= 6;
  fiber.stack_pointer = words;
}

inline void switch_fiber(Fiber& from, Fiber& to) { emulator_switch(&from.stack_pointer, to.stack_pointer); }

#else

struct Fiber {
  ucontext_t context;
};

inline void prepare(Fiber& fiber, char* bottom, char* top, void (*entry)()) {
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = bottom;
  fiber.context.uc_stack.ss_size = static_cast<size_t>(top - bottom);
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, entry, 0);
}

inline void switch_fiber(Fiber& from, Fiber& to) { swapcontext(&from.context, &to.context); }

#endif

// The stacks of one block's threads, in one range so that "is this address on a stack" is one comparison. Below each
// lies a page that can't be touched. The stride is an odd number of pages, so that the tops of neighbours don't share
// cache sets.
class Stacks {
 public:
  static constexpr size_t page = 4096, usable = 32 * page, stride = usable + page, most = 1024 + 1;

  void reserve() {
    if (base) return;
    void* found =
        mmap(nullptr, most * stride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (found == MAP_FAILED) {
      std::fprintf(stderr, "cuda emulator: no address space for the stacks of 1024 threads\n");
      std::abort();
    }
    base = static_cast<char*>(found);
    free.reserve(most);
    for (size_t i = most; i-- > 0;) {
      mprotect(base + i * stride, page, PROT_NONE);
      free.push_back(base + i * stride + page);
    }
  }
  char* take() {
    char* bottom = free.back();
    free.pop_back();
    return bottom;
  }
  void give(char* bottom) { free.push_back(bottom); }
  bool holds(uintptr_t address) const { return address - reinterpret_cast<uintptr_t>(base) < most * stride; }
  // Takes all back at once, after a block that was given up.
  void forget() {
    free.clear();
    for (size_t i = most; i-- > 0;) free.push_back(base + i * stride + page);
  }

 private:
  char* base = nullptr;
  std::vector<char*> free;
};

}  // namespace emulator
