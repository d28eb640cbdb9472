// The few driver and NVRTC functions that the proofs call, and a session with the device: context, stream, module,
// buffers.
#pragma once
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

using Handle = void*;
using DevicePointer = unsigned long long;

extern "C" {
int cuInit(unsigned);
int cuDevicePrimaryCtxRetain(Handle*, int);
int cuDevicePrimaryCtxRelease_v2(int);
int cuCtxSetCurrent(Handle);
int cuCtxSynchronize();
int cuGetErrorName(int, const char**);
int cuModuleLoadData(Handle*, const void*);
int cuModuleUnload(Handle);
int cuModuleGetFunction(Handle*, Handle, const char*);
int cuFuncSetAttribute(Handle, int, int);
int cuFuncGetAttribute(int*, int, Handle);
int cuLaunchKernel(Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Handle, void**,
                   void**);
int cuMemAlloc_v2(DevicePointer*, size_t);
int cuMemFree_v2(DevicePointer);
int cuMemcpyHtoD_v2(DevicePointer, const void*, size_t);
int cuMemcpyDtoH_v2(void*, DevicePointer, size_t);
int cuMemcpyHtoDAsync_v2(DevicePointer, const void*, size_t, Handle);
int cuMemsetD8Async(DevicePointer, unsigned char, size_t, Handle);
int cuStreamCreate(Handle*, unsigned);
int cuStreamDestroy_v2(Handle);
int cuStreamSynchronize(Handle);
int cuStreamBeginCapture_v2(Handle, int);
int cuStreamEndCapture(Handle, Handle*);
int cuGraphInstantiateWithFlags(Handle*, Handle, unsigned long long);
int cuGraphLaunch(Handle, Handle);
int cuGraphExecDestroy(Handle);
int cuGraphDestroy(Handle);
int cuEventCreate(Handle*, unsigned);
int cuEventRecord(Handle, Handle);
int cuEventSynchronize(Handle);
int cuEventElapsedTime_v2(float*, Handle, Handle);
int cuEventDestroy_v2(Handle);

int nvrtcCreateProgram(Handle*, const char*, const char*, int, const char* const*, const char* const*);
int nvrtcAddNameExpression(Handle, const char*);
int nvrtcCompileProgram(Handle, int, const char* const*);
int nvrtcGetLoweredName(Handle, const char*, const char**);
int nvrtcGetProgramLogSize(Handle, size_t*);
int nvrtcGetProgramLog(Handle, char*);
int nvrtcGetCUBINSize(Handle, size_t*);
int nvrtcGetCUBIN(Handle, char*);
int nvrtcDestroyProgram(Handle*);
}

inline std::string read_text(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

struct Compiled {
  std::string image, log;
  std::vector<std::string> lowered;  // of the expressions asked for
};

inline Compiled compile(const std::string& source, const std::string& name, const std::vector<std::string>& options,
                        const std::vector<std::string>& expressions) {
  Handle program = nullptr;
  Compiled result;
  std::vector<const char*> list;
  for (const std::string& option : options) list.push_back(option.c_str());
  nvrtcCreateProgram(&program, source.c_str(), name.c_str(), 0, nullptr, nullptr);
  for (const std::string& expression : expressions) nvrtcAddNameExpression(program, expression.c_str());
  int status = nvrtcCompileProgram(program, static_cast<int>(list.size()), list.data());
  size_t bytes = 0;
  nvrtcGetProgramLogSize(program, &bytes);
  result.log.resize(bytes);
  nvrtcGetProgramLog(program, result.log.data());
  if (status == 0) {
    nvrtcGetCUBINSize(program, &bytes);
    result.image.resize(bytes);
    nvrtcGetCUBIN(program, result.image.data());
    for (const std::string& expression : expressions) {
      const char* lowered = nullptr;
      nvrtcGetLoweredName(program, expression.c_str(), &lowered);
      result.lowered.push_back(lowered ? lowered : "");
    }
  }
  nvrtcDestroyProgram(&program);
  return result;
}

struct Grid {
  unsigned x = 1, y = 1, z = 1;
};

// A context that lives as long as the session. What a call gives is kept: `error` is the first that was not success.
class Session {
 public:
  explicit Session(const Compiled& module) : lowered(module.lowered) {
    keep(cuInit(0));
    Handle context = nullptr;
    keep(cuDevicePrimaryCtxRetain(&context, 0));
    keep(cuCtxSetCurrent(context));
    keep(cuStreamCreate(&stream, 1));
    keep(cuModuleLoadData(&loaded, module.image.c_str()));
  }
  ~Session() {
    for (DevicePointer buffer : buffers) cuMemFree_v2(buffer);
    cuModuleUnload(loaded);
    cuStreamDestroy_v2(stream);
    cuDevicePrimaryCtxRelease_v2(0);
  }

  int keep(int status) {
    if (status && !error) error = status;
    return status;
  }

  template <class Value>
  DevicePointer put(const std::vector<Value>& values) {
    DevicePointer buffer = fresh(values.size() * sizeof(Value));
    keep(cuMemcpyHtoD_v2(buffer, values.data(), values.size() * sizeof(Value)));
    return buffer;
  }
  // Not written: reading it before is a mistake.
  DevicePointer fresh(size_t bytes) {
    DevicePointer buffer = 0;
    keep(cuMemAlloc_v2(&buffer, bytes));
    buffers.push_back(buffer);
    return buffer;
  }
  template <class Value>
  std::vector<Value> get(DevicePointer buffer, size_t count) {
    std::vector<Value> values(count);
    keep(cuMemcpyDtoH_v2(values.data(), buffer, count * sizeof(Value)));
    return values;
  }

  Handle function(const std::string& name) {
    Handle found = nullptr;
    keep(cuModuleGetFunction(&found, loaded, name.c_str()));
    return found;
  }
  template <class... Arguments>
  int launch(const std::string& name, Grid grid, Grid block, unsigned dynamic_bytes, const Arguments&... arguments) {
    void* pointers[] = {const_cast<void*>(static_cast<const void*>(&arguments))..., nullptr};
    Handle found = function(name);
    return found ? keep(cuLaunchKernel(found, grid.x, grid.y, grid.z, block.x, block.y, block.z, dynamic_bytes, stream,
                                       pointers, nullptr))
                 : error;
  }

  Handle stream = nullptr;
  std::vector<std::string> lowered;
  std::vector<DevicePointer> buffers;
  int error = 0;

 private:
  Handle loaded = nullptr;
};

// The same numbers every time, in [-1, 1).
inline std::vector<float> numbers(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f;
  return values;
}

// Whether all differences are within `bound`; NaN is not.
inline bool close(const std::vector<float>& got, const std::vector<double>& expected, double bound) {
  if (got.size() != expected.size()) return false;
  for (size_t i = 0; i < got.size(); i++) {
    double difference = static_cast<double>(got[i]) - expected[i];
    if (!(difference <= bound && -difference <= bound)) {
      std::fprintf(stderr, "element %zu is %g, expected %g\n", i, static_cast<double>(got[i]), expected[i]);
      return false;
    }
  }
  return true;
}

inline bool same(const std::vector<float>& got, const std::vector<float>& expected) {
  return close(got, std::vector<double>(expected.begin(), expected.end()), 0.0);
}

// bf16, to nearest even, for finite numbers; and back.
inline unsigned short to_bf16(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, 4);
  return static_cast<unsigned short>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline double of_bf16(unsigned short half) {
  unsigned bits = static_cast<unsigned>(half) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
