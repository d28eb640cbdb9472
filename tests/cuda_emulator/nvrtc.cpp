// The stand-in for libnvrtc: "compiles" CUDA C++ with the system's g++.
//
// The source is preprocessed behind device/device.hpp, rewritten (rewrite.hpp), followed by a table of its kernels, and
// compiled into a shared object, which is kept in a cache by the hash of that text, the flags and the emulator's own
// version. The "cubin" is a text that names the object; see module.hpp. With VITRUM_EMULATOR_CHECKS=0 the accesses of
// kernels are not checked, for speed.
#include <dlfcn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "rewrite.hpp"

#ifndef EMULATOR_IDENTITY
#define EMULATOR_IDENTITY "unversioned"
#endif

#define NVRTC_API extern "C" __attribute__((visibility("default")))

namespace {

using emulator::Rewriter;

enum Result {
  success = 0,
  invalid_input = 3,
  invalid_program = 4,
  invalid_option = 5,
  compilation = 6,
  not_named = 10
};

struct Program {
  std::string source, name, log, image;
  std::vector<std::pair<std::string, std::string>> headers;  // name, text
  std::vector<std::string> expressions, lowered;
};

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  return file.good();
}

std::string quoted(const std::string& text) {
  std::string result = "'";
  for (char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

// FNV-1a, twice with different starts: 128 bits.
std::string hash(const std::string& text) {
  uint64_t a = 14695981039346656037u, b = 0x9e3779b97f4a7c15u;
  for (unsigned char c : text) {
    a = (a ^ c) * 1099511628211u;
    b = (b ^ c) * 0x100000001b3u + (b >> 29);
  }
  char digits[40];
  snprintf(digits, sizeof digits, "%016llx%016llx", static_cast<unsigned long long>(a),
           static_cast<unsigned long long>(b));
  return digits;
}

// The folder of this library: the headers lie in its `device`, the cache in its `modules`.
std::string home() {
  Dl_info info;
  dladdr(reinterpret_cast<void*>(&home), &info);
  std::string path = info.dli_fname;
  size_t slash = path.rfind('/');
  char* whole = realpath(slash == path.npos ? "." : path.substr(0, slash).c_str(), nullptr);
  std::string folder = whole ? whole : ".";
  std::free(whole);
  return folder;
}

std::string compiler() {
  const char* chosen = std::getenv("VITRUM_EMULATOR_CXX");
  return chosen ? chosen : "g++";
}

// Runs a command; what it prints goes to `log`.
bool run(const std::string& command, std::string& log) {
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (!pipe) {
    log += "can't run " + command + "\n";
    return false;
  }
  char part[4096];
  while (size_t got = fread(part, 1, sizeof part, pipe)) log.append(part, got);
  return pclose(pipe) == 0;
}

struct Flags {
  std::string preprocess;  // -D and -I
  int architecture = 800;
};

bool starts_with(const std::string& text, const char* start) { return text.compare(0, std::strlen(start), start) == 0; }

// The value of an option written `--name=value`, `-name=value` or `--name value`.
bool option_value(const std::vector<std::string>& options, size_t& i, std::initializer_list<const char*> names,
                  std::string& value) {
  for (const char* name : names) {
    if (options[i] == name && i + 1 < options.size()) {
      value = options[++i];
      return true;
    }
    if (starts_with(options[i], name) && options[i].size() > std::strlen(name) &&
        options[i][std::strlen(name)] == '=') {
      value = options[i].substr(std::strlen(name) + 1);
      return true;
    }
  }
  return false;
}

// Options that change nothing here.
bool is_ignored(const std::string& option) {
  static const char* const known[] = {"--std",
                                      "-std",
                                      "--use_fast_math",
                                      "-use_fast_math",
                                      "--fmad",
                                      "-fmad",
                                      "--ftz",
                                      "-ftz",
                                      "--prec-div",
                                      "-prec-div",
                                      "--prec-sqrt",
                                      "-prec-sqrt",
                                      "--ptxas-options",
                                      "-Xptxas",
                                      "--generate-line-info",
                                      "-lineinfo",
                                      "--device-debug",
                                      "-G",
                                      "--maxrregcount",
                                      "-maxrregcount",
                                      "--extra-device-vectorization",
                                      "--default-device",
                                      "-default-device",
                                      "--restrict",
                                      "--dopt",
                                      "-dopt",
                                      "--diag-suppress",
                                      "--disable-warnings",
                                      "-w",
                                      "--no-display-error-number",
                                      "--split-compile",
                                      "--minimal",
                                      "-minimal",
                                      "--device-int128",
                                      "-device-int128",
                                      "--display-error-number",
                                      "--Ofast-compile"};
  for (const char* name : known) {
    size_t length = std::strlen(name);
    if (option.compare(0, length, name) == 0 && (option.size() == length || option[length] == '=')) return true;
  }
  return false;
}

bool read_options(Program& program, const std::vector<std::string>& options, Flags& flags) {
  for (size_t i = 0; i < options.size(); i++) {
    std::string value;
    if (option_value(options, i, {"--gpu-architecture", "-arch"}, value)) {
      size_t digits = value.find_first_of("0123456789");
      flags.architecture = digits == value.npos ? 800 : 10 * std::atoi(value.c_str() + digits);
    } else if (option_value(options, i, {"--include-path"}, value)) {
      flags.preprocess += " -I" + quoted(value);
    } else if (option_value(options, i, {"--define-macro"}, value)) {
      flags.preprocess += " -D" + quoted(value);
    } else if (starts_with(options[i], "-I") || starts_with(options[i], "-D") || starts_with(options[i], "-U")) {
      flags.preprocess +=
          " " + quoted(options[i].size() > 2 || i + 1 == options.size() ? options[i] : options[i] + options[i + 1]);
      i += options[i].size() == 2;
    } else if (options[i] == "-Xptxas") {
      i++;
    } else if (!is_ignored(options[i])) {
      program.log = "nvrtc: error: unrecognized option '" + options[i] + "'\n";
      return false;
    }
  }
  return true;
}

// A folder for one compilation, removed with what is in it.
class Workshop {
 public:
  explicit Workshop(const std::string& cache) {
    static std::atomic<unsigned> count{0};
    path = cache + "/making." + std::to_string(getpid()) + "." + std::to_string(count++);
    mkdir(path.c_str(), 0755);
  }
  ~Workshop() {
    std::string log;
    run("rm -rf " + quoted(path), log);
  }
  std::string path;
};

bool preprocess(Program& program, const Flags& flags, const Workshop& workshop, std::string& text) {
  for (const auto& [name, contents] : program.headers) {
    size_t slash = name.rfind('/');
    std::string log;
    if (slash != name.npos) run("mkdir -p " + quoted(workshop.path + "/" + name.substr(0, slash)), log);
    write_file(workshop.path + "/" + name, contents);
  }
  write_file(workshop.path + "/source", "#line 1 \"" + program.name + "\"\n" + program.source);
  // NVRTC has no system headers: neither has the preprocessor here.
  // It runs in the folder, whose name would otherwise be in its output, and so in the hash.
  std::string command = "cd " + quoted(workshop.path) + " && " + compiler() +
                        " -E -x c++ -std=c++17 -nostdinc -nostdinc++ -D__CUDACC_RTC__ -D__CUDACC__ -D__CUDA_ARCH__=" +
                        std::to_string(flags.architecture) + flags.preprocess + " -I. -include " +
                        quoted(home() + "/device/device.hpp") + " -include " + quoted(home() + "/device/exports.hpp") +
                        " -o text source";
  if (!run(command, program.log)) return false;
  text = read_file(workshop.path + "/text");
  return true;
}

bool is_checked() {
  const char* checks = std::getenv("VITRUM_EMULATOR_CHECKS");
  return !checks || std::strcmp(checks, "0") != 0;
}

// What follows the source: the tables that module.hpp reads.
std::string exports(Program& program, const Rewriter& rewriter) {
  const std::string exported = "extern \"C\" __attribute__((visibility(\"default\"), used)) ";
  std::string text = "\n# 1 \"exports\"\n" + exported + "const char emulator_identity[] = \"" EMULATOR_IDENTITY "\";\n";
  text += exported + "const int emulator_is_checked = " + (is_checked() ? "1" : "0") + ";\n";
  text += exported + "const char* const emulator_shared_names[] = {";
  for (const std::string& name : rewriter.shared_names) text += "\"" + name + "\", ";
  text += "nullptr};\n" + exported + "const EmulatorKernel emulator_kernels[] = {\n";
  auto entry = [&](const std::string& name, const std::string& expression) {
    text += "  emulator::Entry<" + expression + ">::describe(\"" + name + "\"),\n";
  };
  for (const std::string& name : rewriter.plain_kernels) entry(name, "&" + name);
  program.lowered.clear();
  for (const std::string& expression : program.expressions) {
    std::string lowered = "vitrum_" + std::to_string(program.lowered.size()) + "_" + hash(expression).substr(0, 8);
    program.lowered.push_back(lowered);
    size_t begin = expression.find_first_not_of(" &");
    entry(lowered, "&" + expression.substr(begin == expression.npos ? 0 : begin));
  }
  return text + "  {nullptr, nullptr, nullptr, nullptr, 0}};\n";
}

std::string compile_flags() {
  std::string flags =
      " -std=c++17 -O2 -gdwarf-4 -fPIC -fno-plt -fvisibility=hidden -fno-exceptions -fno-rtti -fno-strict-aliasing "
      "-ffp-contract=fast"
      " -fno-math-errno -fno-trapping-math -fno-optimize-sibling-calls -fno-partial-inlining "
      "-fno-reorder-blocks-and-partition"
      " -fno-stack-protector -w";
#ifdef __x86_64__
  // So that fused multiply-add is one instruction; the module's hash holds these flags.
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) flags += " -mavx2 -mfma";
#endif
  if (is_checked()) {
    flags +=
        " -fsanitize=thread --param tsan-instrument-func-entry-exit=0 "
        "-fsanitize=alignment,bounds,shift,integer-divide-by-zero";
  }
  return flags;
}

bool compile(Program& program, const std::string& text, const Workshop& workshop, const std::string& object) {
  write_file(workshop.path + "/kernel.ii", text);
  std::string enter = "cd " + quoted(workshop.path) + " && " + compiler();
  bool done =
      run(enter + compile_flags() + " -fdebug-prefix-map=" + quoted(workshop.path) + "=. -c kernel.ii -o kernel.o",
          program.log) &&
      run(enter + " -shared -Wl,-Bsymbolic kernel.o -o kernel.so -L" + quoted(home()) + " -l:libcuda.so.1 -lm",
          program.log);
  return done && rename((workshop.path + "/kernel.so").c_str(), object.c_str()) == 0;
}

Result build(Program& program, const std::vector<std::string>& options) {
  program.log.clear();
  Flags flags;
  if (!read_options(program, options, flags)) return invalid_option;
  const char* chosen = std::getenv("VITRUM_EMULATOR_CACHE");
  std::string cache = chosen ? chosen : home() + "/modules", text;
  mkdir(cache.c_str(), 0755);
  Workshop workshop(cache);
  if (!preprocess(program, flags, workshop, text)) return compilation;
  Rewriter rewriter(text);
  try {
    text = rewriter.run();
  } catch (const std::runtime_error& problem) {
    program.log = rewriter.place() + ": error: " + problem.what() + "\n";
    return compilation;
  }
  text += exports(program, rewriter);
  std::string object = cache + "/" + hash(text + compile_flags() + compiler() + EMULATOR_IDENTITY) + ".so";
  if (access(object.c_str(), R_OK) != 0 && !compile(program, text, workshop, object)) return compilation;
  program.image = "vitrum emulator module\n" + object + "\n";
  return success;
}

}  // namespace

// 13, and a minor number that changes with the emulator, so that a cache of compiled kernels keyed by NVRTC's version
// neither mixes the emulator's with a real NVRTC's, nor those of two emulators.
NVRTC_API int nvrtcVersion(int* major, int* minor) {
  *major = 13;
  *minor = 1000 + static_cast<int>(std::strtoul(hash(EMULATOR_IDENTITY).substr(0, 7).c_str(), nullptr, 16) % 9000);
  return success;
}

NVRTC_API const char* nvrtcGetErrorString(int result) {
  switch (result) {
    case success: return "NVRTC_SUCCESS";
    case invalid_input: return "NVRTC_ERROR_INVALID_INPUT";
    case invalid_program: return "NVRTC_ERROR_INVALID_PROGRAM";
    case invalid_option: return "NVRTC_ERROR_INVALID_OPTION";
    case compilation: return "NVRTC_ERROR_COMPILATION";
    case not_named: return "NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID";
    default: return "NVRTC_ERROR unknown";
  }
}

NVRTC_API int nvrtcGetNumSupportedArchs(int* count) {
  *count = 3;
  return success;
}
NVRTC_API int nvrtcGetSupportedArchs(int* architectures) {
  const int supported[] = {80, 90, 100};
  std::memcpy(architectures, supported, sizeof supported);
  return success;
}

NVRTC_API int nvrtcCreateProgram(Program** program, const char* source, const char* name, int count,
                                 const char* const* headers, const char* const* names) {
  if (!program || !source || count < 0) return invalid_input;
  *program = new Program;
  (*program)->source = source;
  (*program)->name = name ? name : "default_program";
  for (int i = 0; i < count; i++) (*program)->headers.emplace_back(names[i], headers[i]);
  return success;
}

NVRTC_API int nvrtcDestroyProgram(Program** program) {
  if (!program || !*program) return invalid_program;
  delete *program;
  *program = nullptr;
  return success;
}

NVRTC_API int nvrtcAddNameExpression(Program* program, const char* expression) {
  if (!program) return invalid_program;
  program->expressions.push_back(expression);
  return success;
}

NVRTC_API int nvrtcCompileProgram(Program* program, int count, const char* const* options) {
  if (!program) return invalid_program;
  return build(*program, std::vector<std::string>(options, options + count));
}

NVRTC_API int nvrtcGetLoweredName(Program* program, const char* expression, const char** name) {
  if (!program) return invalid_program;
  for (size_t i = 0; i < program->lowered.size(); i++) {
    if (program->expressions[i] == expression) {
      *name = program->lowered[i].c_str();
      return success;
    }
  }
  return not_named;
}

NVRTC_API int nvrtcGetProgramLogSize(Program* program, size_t* bytes) {
  if (!program) return invalid_program;
  *bytes = program->log.size() + 1;
  return success;
}
NVRTC_API int nvrtcGetProgramLog(Program* program, char* log) {
  if (!program) return invalid_program;
  std::memcpy(log, program->log.c_str(), program->log.size() + 1);
  return success;
}

NVRTC_API int nvrtcGetCUBINSize(Program* program, size_t* bytes) {
  if (!program || program->image.empty()) return invalid_program;
  *bytes = program->image.size() + 1;
  return success;
}
NVRTC_API int nvrtcGetCUBIN(Program* program, char* image) {
  if (!program || program->image.empty()) return invalid_program;
  std::memcpy(image, program->image.c_str(), program->image.size() + 1);
  return success;
}
NVRTC_API int nvrtcGetPTXSize(Program* program, size_t* bytes) { return nvrtcGetCUBINSize(program, bytes); }
NVRTC_API int nvrtcGetPTX(Program* program, char* image) { return nvrtcGetCUBIN(program, image); }
