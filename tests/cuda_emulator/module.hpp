// Modules: shared objects of compiled kernels. A "cubin" is a text of two lines: `module_mark`, then the object's path.
//
// The object brings a table of its kernels (device/exports.hpp) and the facts that their code states (EMULATOR_FACT in
// device/device.hpp): a fact belongs to the kernel whose code holds its address, so the static shared memory of a
// kernel is exact.
#pragma once
#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <memory>

#include "launch.hpp"

namespace emulator {

constexpr const char module_mark[] = "vitrum emulator module";
constexpr unsigned long most_static_shared = 48 << 10;

struct Module {
  void* handle = nullptr;
  uintptr_t base = 0;
  std::vector<std::unique_ptr<Kernel>> kernels;
};

inline const EmulatorFact* fact_bound(void* handle, const char* name) {
  auto bound = reinterpret_cast<const EmulatorFact* (*)()>(dlsym(handle, name));
  return bound ? bound() : nullptr;
}

// Makes the object's addresses known to messages and to the check of accesses to its own data.
inline void remember_object(Module& module, const std::string& path) {
  link_map* map = nullptr;
  dlinfo(module.handle, RTLD_DI_LINKMAP, &map);
  module.base = map->l_addr;
  struct Range {
    uintptr_t base, end;
  } range{module.base, module.base};
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        auto* found = static_cast<Range*>(data);
        if (info->dlpi_addr != found->base) return 0;
        for (int i = 0; i < info->dlpi_phnum; i++) {
          const auto& header = info->dlpi_phdr[i];
          uintptr_t end = info->dlpi_addr + header.p_vaddr + header.p_memsz;
          if (header.p_type == PT_LOAD && end > found->end) found->end = end;
        }
        return 1;
      },
      &range);
  objects.push_back(Object{module.base, range.end, module.base, path});
}

inline void add_fact(Kernel& kernel, const EmulatorFact& fact, const char* const* names) {
  if (fact.id == emulator_launch_bound) {
    kernel.most_threads = static_cast<int>(fact.bytes);
  } else if (fact.id == emulator_cluster) {
    auto part = [&](int shift) { return static_cast<unsigned>(fact.bytes >> shift & 255); };
    kernel.cluster = Index{part(0), part(8), part(16)};
  } else if (fact.id == emulator_dynamic_shared) {
    if (fact.align > kernel.dynamic_align) kernel.dynamic_align = fact.align;
  } else {
    for (SharedArray& known : kernel.arrays) {
      if (known.id != fact.id || known.bytes != fact.bytes) continue;
      if (fact.align > known.align) known.align = fact.align;
      return;  // the compiler has copied the code
    }
    kernel.arrays.push_back({fact.id, names[fact.id], fact.bytes, fact.align});
  }
}

// Gives each fact to the kernel whose code holds it. A message, or nothing.
inline std::string read_facts(Module& module, const std::map<uintptr_t, Kernel*>& by_code) {
  auto names = static_cast<const char* const*>(dlsym(module.handle, "emulator_shared_names"));
  const EmulatorFact* end = fact_bound(module.handle, "emulator_facts_end");
  for (const EmulatorFact* fact = fact_bound(module.handle, "emulator_facts_begin"); fact < end; fact++) {
    uintptr_t code =
        reinterpret_cast<uintptr_t>(&fact->code) + static_cast<uintptr_t>(static_cast<intptr_t>(fact->code));
    auto after = by_code.upper_bound(code);
    Dl_info info;
    ElfW(Sym)* symbol = nullptr;
    bool found = after != by_code.begin() &&
                 dladdr1(reinterpret_cast<void*>(std::prev(after)->first), &info, reinterpret_cast<void**>(&symbol),
                         RTLD_DL_SYMENT) &&
                 symbol && code < std::prev(after)->first + symbol->st_size;
    if (!found)
      return "shared memory is declared in a function that is not inlined into a kernel: " + describe(code + 1);
    add_fact(*std::prev(after)->second, *fact, names);
  }
  return "";
}

// ptxas's layout: each array at the next multiple of its alignment.
inline unsigned long packed_bytes(const std::vector<SharedArray>& arrays) {
  unsigned long bytes = 0;
  for (const SharedArray& array : arrays) bytes = (bytes + array.align - 1) / array.align * array.align + array.bytes;
  return bytes;
}

// Loads a module from its "cubin". A message, or nothing.
inline std::string load(Module& module, const char* image, const char* identity) {
  size_t mark = sizeof module_mark - 1;
  if (std::strncmp(image, module_mark, mark) != 0 || image[mark] != '\n')
    return "this image was not made by the emulator's NVRTC";
  std::string path = image + mark + 1;
  path = path.substr(0, path.find('\n'));
  module.handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!module.handle) return dlerror();
  auto made_by = static_cast<const char*>(dlsym(module.handle, "emulator_identity"));
  if (!made_by || std::strcmp(made_by, identity) != 0) return path + " was made by another version of the emulator";
  remember_object(module, path);
  auto checked = static_cast<const int*>(dlsym(module.handle, "emulator_is_checked"));
  auto table = static_cast<const EmulatorKernel*>(dlsym(module.handle, "emulator_kernels"));
  std::map<uintptr_t, Kernel*> by_code;
  for (; table && table->name; table++) {
    auto kernel = std::make_unique<Kernel>();
    kernel->name = table->name;
    kernel->invoke = table->invoke;
    kernel->parameter_bytes.assign(table->parameter_bytes, table->parameter_bytes + table->parameters);
    kernel->module_base = module.base;
    kernel->is_checked = checked && *checked;
    by_code[reinterpret_cast<uintptr_t>(table->code)] = kernel.get();
    module.kernels.push_back(std::move(kernel));
  }
  std::string problem = read_facts(module, by_code);
  for (const auto& kernel : module.kernels) {
    kernel->static_bytes = packed_bytes(kernel->arrays);
    kernel->most_dynamic = static_cast<int>(most_static_shared - std::min(most_static_shared, kernel->static_bytes));
    if (kernel->static_bytes > most_static_shared) {
      problem = format("kernel %s uses too much static shared memory: %lu bytes, the most is %lu", kernel->name.c_str(),
                       kernel->static_bytes, most_static_shared);
    }
  }
  return problem;
}

}  // namespace emulator
