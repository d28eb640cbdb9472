// The tables that a module and the driver share: facts that a kernel's code states, and the kernels themselves.
#pragma once

// Which shared arrays a kernel declares, how large they are, how many threads it may have: only its compiled code
// knows. The assembler writes each fact into the section emulator_facts beside the address of the code that states it;
// module.hpp reads the section and attributes each fact to the kernel whose code holds the address.
struct EmulatorFact {
  int code;  // the address of the code, relative to this field
  int id;    // a shared array's number, or one of the negative ones below
  unsigned long bytes;
  unsigned long align;
};
enum { emulator_dynamic_shared = -1, emulator_launch_bound = -2, emulator_cluster = -3 };

struct EmulatorKernel {
  const char* name;
  const void* code;
  void (*invoke)(void**);  // calls the kernel with the parameters that these point to
  const unsigned* parameter_bytes;
  int parameters;
};
