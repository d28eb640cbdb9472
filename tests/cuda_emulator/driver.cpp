// The stand-in for libcuda.so.1: the driver API over the emulator. README.md says what it does and does not do.
#include "api_device.hpp"
#include "api_launch.hpp"
#include "api_memory.hpp"
#include "api_stream.hpp"
#include "api_tensor.hpp"
