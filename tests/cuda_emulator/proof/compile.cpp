// Compiles a file with whatever libnvrtc the loader finds: for the proofs under the real one. Prints the log of a
// failure.
//
//   compile FILE.cu ARCHITECTURE [OPTION...]
#include "session.hpp"

int main(int count, char** arguments) {
  if (count < 3) return 2;
  std::string path = arguments[1], name = path.substr(path.rfind('/') + 1);
  std::vector<std::string> options(arguments + 3, arguments + count);
  options.insert(options.begin(), std::string("--gpu-architecture=") + arguments[2]);
  Compiled result = compile(read_text(path), name, options,
                            name == "demo.cu" ? std::vector<std::string>{"matmul<16>"} : std::vector<std::string>{});
  bool done = !result.image.empty();
  std::printf("%-12s %-8s %s\n%s", name.c_str(), arguments[2], done ? "compiles" : "FAILED",
              done ? "" : result.log.c_str());
  return done ? 0 : 1;
}
