// The driver API: modules, functions, launches, occupancy.
#pragma once
#include "api_device.hpp"

namespace emulator {

// The parameters of a launch, kept for as long as a graph may replay it.
class Parameters {
 public:
  Parameters(const Kernel& kernel, void** values) {
    size_t total = 0;
    for (unsigned bytes : kernel.parameter_bytes) total += (bytes + 63) / 64 * 64;
    bytes.resize(total + 64);
    char* at = bytes.data() + (64 - reinterpret_cast<uintptr_t>(bytes.data()) % 64);
    for (size_t i = 0; i < kernel.parameter_bytes.size(); i++) {
      std::memcpy(at, values[i], kernel.parameter_bytes[i]);
      pointers.push_back(at);
      at += (kernel.parameter_bytes[i] + 63) / 64 * 64;
    }
  }
  void** values() { return pointers.data(); }

 private:
  std::vector<char> bytes;
  std::vector<void*> pointers;
};

inline Status check_launch(const Kernel& kernel, const Index& grid, const Index& dim, unsigned dynamic_bytes) {
  const char* name = kernel.name.c_str();
  size_t threads = size_t{dim.x} * dim.y * dim.z;
  if (!threads || !grid.x || !grid.y || !grid.z) {
    return refuse(invalid_value, format("launch of %s: a dimension of the grid (%u,%u,%u) or the block (%u,%u,%u) is 0",
                                        name, grid.x, grid.y, grid.z, dim.x, dim.y, dim.z));
  }
  if (threads > most_threads || dim.x > 1024 || dim.y > 1024 || dim.z > 64) {
    return refuse(invalid_value,
                  format("launch of %s: a block of (%u,%u,%u) threads, the most is 1024", name, dim.x, dim.y, dim.z));
  }
  if (grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535) {
    return refuse(invalid_value, format("launch of %s: a grid of (%u,%u,%u), the most is (2147483647,65535,65535)",
                                        name, grid.x, grid.y, grid.z));
  }
  const Index& cluster = kernel.cluster;
  if (grid.x % cluster.x || grid.y % cluster.y || grid.z % cluster.z) {
    return refuse(invalid_value, format("launch of %s: a grid of (%u,%u,%u), no multiple of its cluster (%u,%u,%u)",
                                        name, grid.x, grid.y, grid.z, cluster.x, cluster.y, cluster.z));
  }
  size_t blocks = size_t{cluster.x} * cluster.y * cluster.z;
  if (blocks > 1 && (blocks > most_ctas || blocks * ((threads + 127) / 128 * 128) > most_threads)) {
    return refuse(not_supported, format("launch of %s: the emulator has clusters of up to 1024 threads", name));
  }
  if (threads > static_cast<size_t>(kernel.most_threads)) {
    return refuse(invalid_value, format("launch of %s: %zu threads, its __launch_bounds__ say %d", name, threads,
                                        kernel.most_threads));
  }
  if (dynamic_bytes > static_cast<unsigned>(kernel.most_dynamic)) {
    return refuse(
        invalid_value,
        format("launch of %s: too much shared memory: %u dynamic bytes beside %lu static ones, cuFuncSetAttribute "
               "allows %d",
               name, dynamic_bytes, kernel.static_bytes, kernel.most_dynamic));
  }
  return success;
}

inline Status launch(Kernel* kernel, Index grid, Index dim, unsigned dynamic_bytes, Handle stream, void** values) {
  if (!kernel) return invalid_handle;
  if (Status status = check_launch(*kernel, grid, dim, dynamic_bytes)) return status;
  auto parameters = std::make_shared<Parameters>(*kernel, values);
  return submit(stream, [=] {
    Launch launch{kernel, grid, dim, dynamic_bytes};
    double before = seconds();
    Status status = run(launch, parameters->values());
    if (setting_is("VITRUM_EMULATOR_TRACE", "1")) {
      std::fprintf(stderr, "cuda emulator: %s<<<(%u,%u,%u), (%u,%u,%u), %u>>> %.3f ms\n", kernel->name.c_str(), grid.x,
                   grid.y, grid.z, dim.x, dim.y, dim.z, dynamic_bytes, (seconds() - before) * 1e3);
    }
    return fault(status);
  });
}

// By the numbers of CUfunction_attribute. Registers are a guess: only ptxas knows.
inline int function_attribute(const Kernel& kernel, int which) {
  switch (which) {
    case 0: return kernel.most_threads;                    // MAX_THREADS_PER_BLOCK
    case 1: return static_cast<int>(kernel.static_bytes);  // SHARED_SIZE_BYTES
    case 4: return 64;                                     // NUM_REGS
    case 5:
    case 6: return architecture();       // PTX_VERSION, BINARY_VERSION
    case 8: return kernel.most_dynamic;  // MAX_DYNAMIC_SHARED_SIZE_BYTES
    default: return 0;
  }
}

// Blocks that one multiprocessor holds at a time: threads, shared memory, 64 registers a thread, at most 32.
inline int occupancy(const Kernel& kernel, int block_size, size_t dynamic_bytes) {
  if (block_size <= 0 || block_size > kernel.most_threads) return 0;
  int threads = (block_size + 31) / 32 * 32;
  size_t shared = kernel.static_bytes + dynamic_bytes + (1 << 10);
  int by_shared = static_cast<int>(static_cast<size_t>(shared_per_multiprocessor()) / shared);
  return std::min({2048 / threads, (64 << 10) / (64 * threads), by_shared, 32});
}

}  // namespace emulator

EMULATOR_API cuModuleLoadData(Handle* handle, const void* image) {
  EMULATOR_ENTER();
  auto module = std::make_unique<Module>();
  std::string problem = load(*module, static_cast<const char*>(image), EMULATOR_IDENTITY);
  if (!problem.empty()) {
    note("cuModuleLoadData: " + problem);
    return invalid_image;
  }
  *handle = module.release();
  return success;
}

EMULATOR_API cuModuleLoadDataEx(Handle* handle, const void* image, unsigned, int*, void**) {
  return cuModuleLoadData(handle, image);
}

EMULATOR_API cuModuleLoad(Handle* handle, const char* path) {
  FILE* file = std::fopen(path, "rb");
  if (!file) return file_not_found;
  char text[8192] = {};
  size_t got = std::fread(text, 1, sizeof text - 1, file);
  std::fclose(file);
  return got ? cuModuleLoadData(handle, text) : static_cast<int>(invalid_image);
}

// The object stays loaded, so that messages can still name its lines.
EMULATOR_API cuModuleUnload(Handle handle) {
  EMULATOR_ENTER();
  delete static_cast<Module*>(handle);
  return success;
}

EMULATOR_API cuModuleGetFunction(Handle* function, Handle handle, const char* name) {
  EMULATOR_ENTER();
  for (const auto& kernel : static_cast<Module*>(handle)->kernels) {
    if (kernel->name == name) {
      *function = kernel.get();
      return success;
    }
  }
  return not_found;
}

EMULATOR_API cuModuleGetGlobal_v2(DevicePointer* pointer, size_t* bytes, Handle handle, const char* name) {
  EMULATOR_ENTER();
  void* address = dlsym(static_cast<Module*>(handle)->handle, name);
  Dl_info info;
  ElfW(Sym)* symbol = nullptr;
  if (!address || !dladdr1(address, &info, reinterpret_cast<void**>(&symbol), RTLD_DL_SYMENT) || !symbol)
    return not_found;
  if (pointer) *pointer = reinterpret_cast<DevicePointer>(address);
  if (bytes) *bytes = symbol->st_size;
  return success;
}

EMULATOR_API cuFuncSetAttribute(Handle function, int attribute, int value) {
  EMULATOR_ENTER();
  auto kernel = static_cast<Kernel*>(function);
  if (attribute != 8) return success;
  int most = most_shared_per_block() - static_cast<int>(kernel->static_bytes);
  if (value < 0 || value > most) {
    return refuse(invalid_value,
                  format("too much shared memory: %d dynamic bytes for %s, the most beside its %lu static ones is %d",
                         value, kernel->name.c_str(), kernel->static_bytes, most));
  }
  kernel->most_dynamic = value;
  return success;
}

EMULATOR_API cuFuncGetAttribute(int* value, int attribute, Handle function) {
  EMULATOR_ENTER();
  *value = function_attribute(*static_cast<Kernel*>(function), attribute);
  return success;
}

EMULATOR_API cuFuncSetCacheConfig(Handle, int) { return success; }

EMULATOR_API cuLaunchKernel(Handle function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned x, unsigned y,
                            unsigned z, unsigned dynamic_bytes, Handle stream, void** values, void** extra) {
  EMULATOR_ENTER();
  if (extra) return not_supported;
  return launch(static_cast<Kernel*>(function), {grid_x, grid_y, grid_z}, {x, y, z}, dynamic_bytes, stream, values);
}

EMULATOR_API cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Handle function, int block_size,
                                                         size_t dynamic_bytes) {
  EMULATOR_ENTER();
  *blocks = occupancy(*static_cast<Kernel*>(function), block_size, dynamic_bytes);
  return success;
}

EMULATOR_API cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, Handle function, int block_size,
                                                                  size_t dynamic_bytes, unsigned) {
  return cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, block_size, dynamic_bytes);
}

EMULATOR_API cuOccupancyMaxPotentialBlockSize(int* least_grid, int* block_size, Handle function,
                                              size_t (*dynamic_of)(int), size_t dynamic_bytes, int limit) {
  EMULATOR_ENTER();
  const Kernel& kernel = *static_cast<Kernel*>(function);
  int best = 0;
  *block_size = 0;
  for (int size = std::min(kernel.most_threads, limit > 0 ? limit : most_threads) / 32 * 32; size > 0; size -= 32) {
    int threads = size * occupancy(kernel, size, dynamic_of ? dynamic_of(size) : dynamic_bytes);
    if (threads > best) {
      best = threads;
      *block_size = size;
    }
  }
  *least_grid = *block_size ? best / *block_size * device_attribute(16) : 0;
  return success;
}

EMULATOR_API cuOccupancyAvailableDynamicSMemPerBlock(size_t* bytes, Handle function, int blocks, int) {
  EMULATOR_ENTER();
  const Kernel& kernel = *static_cast<Kernel*>(function);
  if (blocks <= 0) return invalid_value;
  long each = shared_per_multiprocessor() / blocks - (1 << 10) - static_cast<long>(kernel.static_bytes);
  *bytes = static_cast<size_t>(std::max(0L, std::min(each, static_cast<long>(kernel.most_dynamic))));
  return success;
}
