// The driver API: allocation, copies, filling.
#pragma once
#include "state.hpp"

namespace emulator {

inline char* device_address(DevicePointer pointer) { return reinterpret_cast<char*>(pointer); }

// Checks that a copy or fill lies within buffers.
inline Status check_range(const char* what, const void* start, size_t bytes) {
  if (device_memory.is_whole(start, bytes)) return success;
  uintptr_t address = reinterpret_cast<uintptr_t>(start), bad = address;
  while (device_memory.is_whole(reinterpret_cast<void*>(bad), 1)) bad++;
  return refuse(invalid_value, format("%s of %zu bytes leaves its buffer: byte %zu is %s", what, bytes,
                                      static_cast<size_t>(bad - address), device_memory.describe(bad).c_str()));
}

inline Status allocate(DevicePointer* pointer, size_t bytes) {
  *pointer = 0;
  if (bytes == 0) return invalid_value;
  const char* seed_text = std::getenv("VITRUM_EMULATOR_SEED");
  char* start = device_memory.allocate(bytes, seed_text && std::atoi(seed_text) % 2);
  if (!start) return out_of_memory;
  *pointer = reinterpret_cast<DevicePointer>(start);
  return success;
}

inline Status release(DevicePointer pointer) {
  if (!pointer || device_memory.release(device_address(pointer))) return success;
  const char* kind =
      device_memory.freed.count(device_address(pointer)) ? "double free" : "free of what was not allocated";
  return refuse(invalid_value, format("%s: %s", kind, device_memory.describe(pointer).c_str()));
}

inline Status upload(char* to, const void* from, size_t bytes) {
  if (Status status = check_range("a copy to the device", to, bytes)) return status;
  std::memcpy(to, from, bytes);
  device_memory.mark_written(to, bytes);
  return success;
}

inline Status download(void* to, const char* from, size_t bytes) {
  if (Status status = check_range("a copy from the device", from, bytes)) return status;
  std::memcpy(to, from, bytes);
  return success;
}

inline Status copy_on_device(char* to, const char* from, size_t bytes) {
  if (Status status = check_range("a copy on the device", from, bytes)) return status;
  if (Status status = check_range("a copy on the device", to, bytes)) return status;
  std::memmove(to, from, bytes);
  device_memory.copy_marks(to, from, bytes);
  return success;
}

template <class Value>
inline Status fill(char* to, Value value, size_t count) {
  if (Status status = check_range("a fill", to, count * sizeof(Value))) return status;
  for (size_t i = 0; i < count; i++) std::memcpy(to + i * sizeof(Value), &value, sizeof(Value));
  device_memory.mark_written(to, count * sizeof(Value));
  return success;
}

}  // namespace emulator

EMULATOR_API cuMemGetInfo_v2(size_t* free, size_t* total) {
  EMULATOR_ENTER();
  *total = device_memory.total;
  *free = device_memory.total - device_memory.used;
  return success;
}

EMULATOR_API cuMemAlloc_v2(DevicePointer* pointer, size_t bytes) {
  EMULATOR_ENTER();
  if (Status status = outside_capture("cuMemAlloc", true)) return status;
  return allocate(pointer, bytes);
}

EMULATOR_API cuMemAllocAsync(DevicePointer* pointer, size_t bytes, Handle handle) {
  EMULATOR_ENTER();
  Stream* stream = stream_of(handle);
  if (!stream) return invalid_handle;
  if (capture_of(*stream)) return outside_capture("cuMemAllocAsync", false);
  return bytes ? allocate(pointer, bytes) : (*pointer = 0, success);
}

EMULATOR_API cuMemFree_v2(DevicePointer pointer) {
  EMULATOR_ENTER();
  if (Status status = outside_capture("cuMemFree", true)) return status;
  return release(pointer);
}

EMULATOR_API cuMemFreeAsync(DevicePointer pointer, Handle handle) {
  EMULATOR_ENTER();
  Stream* stream = stream_of(handle);
  if (!stream) return invalid_handle;
  if (capture_of(*stream)) return outside_capture("cuMemFreeAsync", false);
  return release(pointer);
}

EMULATOR_API cuMemHostAlloc(void** pointer, size_t bytes, unsigned) {
  EMULATOR_ENTER();
  if (Status status = outside_capture("cuMemHostAlloc", true)) return status;
  *pointer = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  return *pointer ? success : out_of_memory;
}
EMULATOR_API cuMemAllocHost_v2(void** pointer, size_t bytes) { return cuMemHostAlloc(pointer, bytes, 0); }

EMULATOR_API cuMemFreeHost(void* pointer) {
  EMULATOR_ENTER();
  std::free(pointer);
  return success;
}

EMULATOR_API cuMemcpyHtoD_v2(DevicePointer to, const void* from, size_t bytes) {
  EMULATOR_ENTER();
  if (Status status = outside_capture("cuMemcpyHtoD", true)) return status;
  return upload(device_address(to), from, bytes);
}

EMULATOR_API cuMemcpyDtoH_v2(void* to, DevicePointer from, size_t bytes) {
  EMULATOR_ENTER();
  if (Status status = outside_capture("cuMemcpyDtoH", true)) return status;
  return download(to, device_address(from), bytes);
}

EMULATOR_API cuMemcpyDtoD_v2(DevicePointer to, DevicePointer from, size_t bytes) {
  EMULATOR_ENTER();
  if (Status status = outside_capture("cuMemcpyDtoD", true)) return status;
  return copy_on_device(device_address(to), device_address(from), bytes);
}

EMULATOR_API cuMemcpyHtoDAsync_v2(DevicePointer to, const void* from, size_t bytes, Handle stream) {
  EMULATOR_ENTER();
  return submit(stream, [=] { return upload(device_address(to), from, bytes); });
}

EMULATOR_API cuMemcpyDtoHAsync_v2(void* to, DevicePointer from, size_t bytes, Handle stream) {
  EMULATOR_ENTER();
  return submit(stream, [=] { return download(to, device_address(from), bytes); });
}

EMULATOR_API cuMemcpyDtoDAsync_v2(DevicePointer to, DevicePointer from, size_t bytes, Handle stream) {
  EMULATOR_ENTER();
  return submit(stream, [=] { return copy_on_device(device_address(to), device_address(from), bytes); });
}

EMULATOR_API cuMemsetD8_v2(DevicePointer to, unsigned char value, size_t count) {
  EMULATOR_ENTER();
  if (Status status = outside_capture("cuMemsetD8", true)) return status;
  return fill(device_address(to), value, count);
}

EMULATOR_API cuMemsetD32_v2(DevicePointer to, unsigned value, size_t count) {
  EMULATOR_ENTER();
  if (Status status = outside_capture("cuMemsetD32", true)) return status;
  return fill(device_address(to), value, count);
}

EMULATOR_API cuMemsetD8Async(DevicePointer to, unsigned char value, size_t count, Handle stream) {
  EMULATOR_ENTER();
  return submit(stream, [=] { return fill(device_address(to), value, count); });
}

EMULATOR_API cuMemsetD16Async(DevicePointer to, unsigned short value, size_t count, Handle stream) {
  EMULATOR_ENTER();
  return submit(stream, [=] { return fill(device_address(to), value, count); });
}

EMULATOR_API cuMemsetD32Async(DevicePointer to, unsigned value, size_t count, Handle stream) {
  EMULATOR_ENTER();
  return submit(stream, [=] { return fill(device_address(to), value, count); });
}

// Pools: there is one, and its settings change nothing.
EMULATOR_API cuDeviceGetDefaultMemPool(Handle* pool, int) {
  *pool = &device_memory;
  return success;
}
EMULATOR_API cuDeviceGetMemPool(Handle* pool, int device) { return cuDeviceGetDefaultMemPool(pool, device); }
EMULATOR_API cuMemPoolSetAttribute(Handle, int, void*) { return success; }
EMULATOR_API cuMemPoolGetAttribute(Handle, int, void* value) {
  std::memset(value, 0, 8);
  return success;
}
EMULATOR_API cuMemPoolTrimTo(Handle, size_t) { return success; }
