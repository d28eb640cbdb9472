// A proof is a kernel that exists twice, as NAME_healthy and NAME_broken. Both are one template: what is broken is one
// line, under `if (broken)` or its opposite. The line that the emulator must name carries the comment `CAUGHT: NAME`.
#pragma once

#define TWINS(name, parameters, arguments) \
  extern "C" __global__ void name##_healthy parameters { name<false> arguments; } \
  extern "C" __global__ void name##_broken parameters { name<true> arguments; }
