// Runs every proof on the emulator: its healthy twin must compute the right values without a word, its broken twin must
// be caught, with the message and the line that the proof expects. Both under several orders of threads and both
// policies of copies.
//
//   prove FOLDER_OF_PROOFS FOLDER_OF_PTX.CUH [--verbose] [NAME...]
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <map>

#include "demo.hpp"
#include "hopper.hpp"
#include "hopper_cluster.hpp"
#include "hopper_heads.hpp"
#include "host.hpp"

namespace {

struct Setting {
  const char *seed, *copies;
};
constexpr Setting settings[] = {{"0", "late"}, {"1", "early"}, {"2", "late"}, {"7", "early"}};

// Proofs about sm_90 run on such a device, all others on sm_80.
bool needs_hopper(const std::string& file) { return file.rfind("hopper", 0) == 0; }

struct Outcome {
  int status;        // 0 right, 1 wrong results, 99 the emulator found something, above 128 killed
  std::string said;  // on standard error
};

// In a process of its own: a fault of the device lasts as long as its context, and a leak is known at the end only.
Outcome run_alone(const Proof& proof, const Compiled& module, const Setting& setting, bool broken) {
  int ends[2];
  if (pipe(ends)) return {1, "no pipe"};
  std::fflush(nullptr);
  pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], 2);
    close(ends[0]);
    close(ends[1]);
    setenv("VITRUM_EMULATOR_SEED", setting.seed, 1);
    setenv("VITRUM_EMULATOR_COPIES", setting.copies, 1);
    setenv("VITRUM_EMULATOR_ARCH", needs_hopper(proof.file) ? "90" : "80", 1);
    bool right;
    {
      Session session(module);
      right = proof.run(session, broken) && session.error == 0;
      if (!right) std::fprintf(stderr, "wrong results, or error %d\n", session.error);
    }
    std::exit(right ? 0 : 1);
  }
  close(ends[1]);
  std::string said;
  char part[4096];
  for (ssize_t got; (got = read(ends[0], part, sizeof part)) > 0;) said.append(part, static_cast<size_t>(got));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), said};
}

// "file.cu:12" of the line that ends with the proof's mark, or nothing.
std::string marked_line(const std::string& folder, const Proof& proof) {
  std::istringstream lines(read_text(folder + "/" + proof.file));
  std::string line, mark = "CAUGHT: " + proof.name;
  for (int number = 1; std::getline(lines, line); number++) {
    size_t found = line.find(mark);
    if (found != line.npos && found + mark.size() == line.size()) return proof.file + ":" + std::to_string(number);
  }
  return "";
}

bool says(const std::string& said, const std::string& words) {
  std::istringstream choices(words);
  bool found = words.empty();
  for (std::string choice; std::getline(choices, choice, '|');) found = found || said.find(choice) != said.npos;
  return found;
}

// What is wrong with the outcome, or nothing.
std::string judge_broken(const Proof& proof, const Outcome& outcome, const std::string& line) {
  int expected = proof.words.empty() ? 1 : 99;
  if (outcome.status != expected) return "not caught: exit status " + std::to_string(outcome.status);
  if (!says(outcome.said, proof.words)) return "the message does not say '" + proof.words + "'";
  // The name may be followed by more digits only if it is another line.
  for (size_t at = 0; proof.names_line && (at = outcome.said.find(line, at)) != std::string::npos; at++) {
    if (!std::isdigit(static_cast<unsigned char>(outcome.said[at + line.size()]))) return "";
  }
  return proof.names_line ? "the message does not name " + line : "";
}

std::string indented(const std::string& text) {
  std::string result = "    ";
  for (char c : text) result += c == '\n' ? "\n    " : std::string(1, c);
  return result + "\n";
}

class Prover {
 public:
  Prover(std::string proofs, std::string common, bool verbose)
      : folder(std::move(proofs)), include(std::move(common)), verbose(verbose) {}

  void prove(const Proof& proof) {
    const Compiled& module = compiled(proof.file);
    std::string line = marked_line(folder, proof), problem, said;
    if (module.image.empty()) problem = "does not compile", said = module.log;
    if (!proof.only_healthy && proof.names_line && line.empty()) problem = "no line is marked";
    for (const Setting& setting : settings) {
      for (int broken = 0; broken < (proof.only_healthy ? 1 : 2) && problem.empty(); broken++) {
        Outcome outcome = run_alone(proof, module, setting, broken);
        said = outcome.said;
        if (!broken && (outcome.status || !said.empty()))
          problem = "the healthy kernel is refused: exit status " + std::to_string(outcome.status);
        if (broken) problem = judge_broken(proof, outcome, line);
        if (!problem.empty()) problem += std::string(" (seed ") + setting.seed + ", copies " + setting.copies + ")";
      }
    }
    tell(proof, problem, said, line);
  }

  bool finish() const {
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 && passed > 0;
  }

 private:
  void tell(const Proof& proof, const std::string& problem, const std::string& said, const std::string& line) {
    (problem.empty() ? passed : failed)++;
    std::string good = proof.only_healthy ? "right" : proof.names_line ? "caught at " + line : "caught";
    std::printf("%-28s %s\n", proof.name.c_str(), problem.empty() ? good.c_str() : ("FAILED: " + problem).c_str());
    if (!said.empty() && (verbose || !problem.empty())) std::printf("%s", indented(said).c_str());
    std::fflush(stdout);
  }

  const Compiled& compiled(const std::string& file) {
    auto [entry, fresh] = modules.try_emplace(file);
    if (fresh) {
      std::vector<std::string> expressions;
      if (file == "demo.cu") expressions.push_back("matmul<16>");
      entry->second = compile(read_text(folder + "/" + file), file,
                              {std::string("--gpu-architecture=") + (needs_hopper(file) ? "sm_90a" : "sm_80"),
                               "--std=c++17", "--include-path=" + include, "--include-path=" + folder},
                              expressions);
    }
    return entry->second;
  }

  std::string folder, include;
  bool verbose;
  std::map<std::string, Compiled> modules;
  int passed = 0, failed = 0;
};

bool wanted(const std::string& name, const std::vector<std::string>& parts) {
  bool any = parts.empty();
  for (const std::string& part : parts) any = any || name.find(part) != name.npos;
  return any;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 3) {
    std::fprintf(stderr, "prove FOLDER_OF_PROOFS FOLDER_OF_PTX.CUH [--verbose] [NAME...]\n");
    return 2;
  }
  std::vector<std::string> parts(arguments + 3, arguments + count);
  bool verbose = std::erase(parts, "--verbose") > 0;
  Prover prover(arguments[1], arguments[2], verbose);
  for (const auto& proofs : {demo_proofs(), barrier_proofs(), access_proofs(), sharing_proofs(), warp_proofs(),
                             tensor_proofs(), host_proofs(), hopper_proofs(), head_proofs(), cluster_proofs()}) {
    for (const Proof& proof : proofs) {
      if (wanted(proof.name, parts)) prover.prove(proof);
    }
  }
  return prover.finish() ? 0 : 1;
}
