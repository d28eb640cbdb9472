// Findings: what the emulator says when a kernel or a call is wrong, and how an address becomes a source line.
#pragma once
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

namespace emulator {

// The driver API's numbers of the errors that the emulator gives.
enum Status {
  success = 0,
  invalid_value = 1,
  out_of_memory = 2,
  not_initialized = 3,
  invalid_device = 101,
  invalid_image = 200,
  invalid_context = 201,
  invalid_source = 300,
  file_not_found = 301,
  invalid_handle = 400,
  not_found = 500,
  not_ready = 600,
  illegal_address = 700,
  launch_out_of_resources = 701,
  misaligned_address = 716,
  launch_failed = 719,
  not_supported = 801,
  capture_unsupported = 900,
  capture_invalidated = 901,
  capture_unmatched = 903,
  capture_implicit = 906
};

// A place in a kernel, with what happened there.
struct Place {
  std::string what;
  uintptr_t code;
};

// Why the running kernel is given up. Filled on a thread's stack, printed on the main one.
struct Failure {
  Status status = success;
  std::string what;
  std::vector<Place> places;
};

inline std::string format(const char* pattern, ...) __attribute__((format(printf, 1, 2)));
inline std::string format(const char* pattern, ...) {
  char text[2048];
  va_list values;
  va_start(values, pattern);
  vsnprintf(text, sizeof text, pattern, values);
  va_end(values);
  return text;
}

// Findings so far in this process; at_exit in state.hpp turns them into the exit status.
inline int findings = 0;

// Says something that a correct program may meet too: a cached kernel that has become stale.
inline void note(const std::string& text) {
  std::fflush(stdout);
  std::fprintf(stderr, "cuda emulator: %s\n", text.c_str());
  std::fflush(stderr);
}

inline void say(const std::string& text) {
  findings++;
  note(text);
}

// The shared objects of kernels, to find which one holds an address.
struct Object {
  uintptr_t begin, end;  // all of it
  uintptr_t base;        // what its file calls address 0
  std::string path;
};
inline std::vector<Object> objects;

inline const Object* object_of(uintptr_t address) {
  for (const Object& object : objects) {
    if (address >= object.begin && address < object.end) return &object;
  }
  return nullptr;
}

// The source lines of a return address, innermost first: the call, then what it was inlined into. The emulator's own
// headers are left out. binutils' addr2line, which the compiler needs anyway, reads them from the debug information.
inline const std::vector<std::string>& source_lines(uintptr_t code) {
  static std::map<uintptr_t, std::vector<std::string>> known;
  auto [entry, fresh] = known.try_emplace(code);
  const Object* object = object_of(code);
  if (!fresh || !object) return entry->second;
  std::string command = format("addr2line -i -e '%s' 0x%lx 2>/dev/null", object->path.c_str(),
                               static_cast<unsigned long>(code - 1 - object->base));
  FILE* lines = popen(command.c_str(), "r");
  char line[1024];
  while (lines && fgets(line, sizeof line, lines)) {
    std::string text = line;
    text.resize(text.find_first_of("\n("));
    while (!text.empty() && text.back() == ' ') text.pop_back();
    if (text.compare(0, 2, "./") == 0) text.erase(0, 2);
    bool own = text.find("/device.hpp:") != text.npos || text.find("/device_math.hpp:") != text.npos;
    if (!own && text.find('?') == text.npos) entry->second.push_back(text);
  }
  if (lines) pclose(lines);
  return entry->second;
}

inline std::string describe(uintptr_t code) {
  const std::vector<std::string>& lines = source_lines(code);
  if (lines.empty()) return "an unknown line";
  std::string text = lines[0];
  for (size_t i = 1; i < lines.size(); i++) text += (i == 1 ? " (in " : ", in ") + lines[i];
  return lines.size() > 1 ? text + ")" : text;
}

// Whether two calls are one in the source: the compiler may have copied it.
inline bool same_source(uintptr_t a, uintptr_t b) { return a == b || source_lines(a) == source_lines(b); }

}  // namespace emulator
