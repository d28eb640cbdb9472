// The driver API: initialisation, the one device, contexts, error names.
#pragma once
#include "state.hpp"

using namespace emulator;

namespace emulator {

// The compute capability, 80 unless VITRUM_EMULATOR_ARCH says 90, say.
inline int architecture() {
  const char* text = std::getenv("VITRUM_EMULATOR_ARCH");
  return text ? std::atoi(text) : 80;
}

// Shared memory of one multiprocessor, and the most that one block may ask for.
inline int shared_per_multiprocessor() { return (architecture() >= 90 ? 228 : 164) << 10; }
inline int most_shared_per_block() { return shared_per_multiprocessor() - (1 << 10); }

// By the numbers of CUdevice_attribute.
// Kernels may divide their work by it, as on GPUs of other sizes.
inline int processors() {
  const char* text = std::getenv("VITRUM_EMULATOR_PROCESSORS");
  return text ? std::max(1, std::atoi(text)) : 4;
}

inline int device_attribute(int which) {
  switch (which) {
    case 1: return most_threads;  // MAX_THREADS_PER_BLOCK
    case 2:
    case 3: return 1024;        // MAX_BLOCK_DIM_X, Y
    case 4: return 64;          // MAX_BLOCK_DIM_Z
    case 5: return 0x7fffffff;  // MAX_GRID_DIM_X
    case 6:
    case 7: return 65535;                         // MAX_GRID_DIM_Y, Z
    case 8: return 48 << 10;                      // MAX_SHARED_MEMORY_PER_BLOCK
    case 9: return 64 << 10;                      // TOTAL_CONSTANT_MEMORY
    case 10: return lanes_per_warp;               // WARP_SIZE
    case 12: return 64 << 10;                     // MAX_REGISTERS_PER_BLOCK
    case 13: return 1000000;                      // CLOCK_RATE, kHz
    case 16: return processors();                 // MULTIPROCESSOR_COUNT
    case 36: return 1000000;                      // MEMORY_CLOCK_RATE, kHz
    case 37: return 64;                           // GLOBAL_MEMORY_BUS_WIDTH, bits
    case 38: return 4 << 20;                      // L2_CACHE_SIZE
    case 39: return 2048;                         // MAX_THREADS_PER_MULTIPROCESSOR
    case 41: return 1;                            // UNIFIED_ADDRESSING
    case 75: return architecture() / 10;          // COMPUTE_CAPABILITY_MAJOR
    case 76: return architecture() % 10;          // COMPUTE_CAPABILITY_MINOR
    case 81: return shared_per_multiprocessor();  // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
    case 82: return 64 << 10;                     // MAX_REGISTERS_PER_MULTIPROCESSOR
    case 97: return most_shared_per_block();      // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
    case 106: return 32;                          // MAX_BLOCKS_PER_MULTIPROCESSOR
    case 111: return 1 << 10;                     // RESERVED_SHARED_MEMORY_PER_BLOCK
    case 115: return 1;                           // MEMORY_POOLS_SUPPORTED
    default: return 0;
  }
}

struct ErrorName {
  Status status;
  const char *name, *text;
};
inline const ErrorName error_names[] = {
    {success, "CUDA_SUCCESS", "no error"},
    {invalid_value, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {out_of_memory, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {not_initialized, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {invalid_device, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {invalid_image, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {invalid_context, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {invalid_source, "CUDA_ERROR_INVALID_SOURCE", "device kernel image is invalid"},
    {file_not_found, "CUDA_ERROR_FILE_NOT_FOUND", "file not found"},
    {invalid_handle, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {not_found, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {not_ready, "CUDA_ERROR_NOT_READY", "device not ready"},
    {illegal_address, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {launch_out_of_resources, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {misaligned_address, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {launch_failed, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {not_supported, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {capture_unsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {capture_invalidated, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
    {capture_unmatched, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "capture was not ended in the same stream as it began"},
    {capture_implicit, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
     "operation would make the legacy stream depend on a capturing one"},
};

inline const ErrorName* error_name(int status) {
  for (const ErrorName& error : error_names) {
    if (error.status == status) return &error;
  }
  return nullptr;
}

// The last user has let go of the context: what it still holds is lost, and a fault with it.
inline void end_context() {
  report_leaks("when the context is destroyed");
  while (!device_memory.buffers.empty()) device_memory.release(device_memory.buffers.begin()->first);
  state().fault = success;
  state().captures.clear();
}

}  // namespace emulator

EMULATOR_API cuGetErrorName(int status, const char** name) {
  const ErrorName* error = error_name(status);
  *name = error ? error->name : nullptr;
  return error ? success : invalid_value;
}

EMULATOR_API cuGetErrorString(int status, const char** text) {
  const ErrorName* error = error_name(status);
  *text = error ? error->text : nullptr;
  return error ? success : invalid_value;
}

EMULATOR_API cuInit(unsigned flags) {
  EMULATOR_ENTER(Entry::nothing);
  if (flags) return invalid_value;
  if (state().initialised) return success;
  if (!device_memory.reserve()) return out_of_memory;
  state().initialised = true;
  std::atexit(at_exit);
  return success;
}

EMULATOR_API cuDriverGetVersion(int* version) {
  const char* text = std::getenv("VITRUM_EMULATOR_DRIVER");
  *version = text ? std::atoi(text) : 13000;
  return success;
}

EMULATOR_API cuDeviceGetCount(int* count) {
  EMULATOR_ENTER(Entry::driver);
  *count = 1;
  return success;
}

EMULATOR_API cuDeviceGet(int* device, int ordinal) {
  EMULATOR_ENTER(Entry::driver);
  if (ordinal != 0) return invalid_device;
  *device = 0;
  return success;
}

EMULATOR_API cuDeviceGetName(char* name, int bytes, int) {
  EMULATOR_ENTER(Entry::driver);
  if (bytes > 0) snprintf(name, static_cast<size_t>(bytes), "Vitrum CUDA emulator (sm_%d)", architecture());
  return success;
}

EMULATOR_API cuDeviceGetUuid_v2(char* uuid, int) {
  EMULATOR_ENTER(Entry::driver);
  std::memcpy(uuid, "vitrum-emulator", 16);
  return success;
}
EMULATOR_API cuDeviceGetUuid(char* uuid, int device) { return cuDeviceGetUuid_v2(uuid, device); }

EMULATOR_API cuDeviceTotalMem_v2(size_t* bytes, int) {
  EMULATOR_ENTER(Entry::driver);
  *bytes = device_memory.total;
  return success;
}

EMULATOR_API cuDeviceGetAttribute(int* value, int attribute, int) {
  EMULATOR_ENTER(Entry::driver);
  *value = device_attribute(attribute);
  return success;
}

EMULATOR_API cuDevicePrimaryCtxRetain(Handle* context, int) {
  EMULATOR_ENTER(Entry::driver);
  state().primary.retained++;
  *context = &state().primary;
  return success;
}

EMULATOR_API cuDevicePrimaryCtxRelease_v2(int) {
  EMULATOR_ENTER(Entry::driver);
  if (state().primary.retained == 0)
    return refuse(invalid_context, "the primary context is released more often than retained");
  if (--state().primary.retained == 0) end_context();
  return success;
}

EMULATOR_API cuDevicePrimaryCtxReset_v2(int) {
  EMULATOR_ENTER(Entry::driver);
  end_context();
  return success;
}

EMULATOR_API cuCtxCreate_v2(Handle* context, unsigned, int) {
  EMULATOR_ENTER(Entry::driver);
  state().primary.retained++;
  *context = current_context = &state().primary;
  return success;
}
EMULATOR_API cuCtxCreate_v4(Handle* context, void*, unsigned flags, int device) {
  return cuCtxCreate_v2(context, flags, device);
}
EMULATOR_API cuCtxDestroy_v2(Handle) { return cuDevicePrimaryCtxRelease_v2(0); }

EMULATOR_API cuCtxGetCurrent(Handle* context) {
  EMULATOR_ENTER(Entry::driver);
  *context = current_context;
  return success;
}

EMULATOR_API cuCtxSetCurrent(Handle context) {
  EMULATOR_ENTER(Entry::driver);
  current_context = static_cast<Context*>(context);
  return success;
}

EMULATOR_API cuCtxGetDevice(int* device) {
  EMULATOR_ENTER();
  *device = 0;
  return success;
}

EMULATOR_API cuCtxSynchronize() {
  EMULATOR_ENTER();
  return outside_capture("cuCtxSynchronize", false);
}

EMULATOR_API cuCtxSetFlags(unsigned) { return success; }
EMULATOR_API cuCtxGetLimit(size_t* value, int) {
  EMULATOR_ENTER();
  *value = 0;
  return success;
}
EMULATOR_API cuCtxSetLimit(int, size_t) { return success; }
EMULATOR_API cuCtxSetCacheConfig(int) { return success; }
EMULATOR_API cuCtxGetCacheConfig(int* config) {
  *config = 0;
  return success;
}
EMULATOR_API cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  *least = *greatest = 0;
  return success;
}
