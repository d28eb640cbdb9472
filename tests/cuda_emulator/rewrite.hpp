// Turns preprocessed CUDA C++ into C++ that the system's compiler takes.
//
// Three things are not C++: `__global__` with its bounds, and `__shared__`. The source is preprocessed first, so
// that there are no macros, comments or includes left, cut into tokens, and only those are replaced. Lines stay where
// they are.
//
//   __global__ void __launch_bounds__(n) k(int x) {       __attribute__((...)) void k(int x) {
//   emulator::launch_bound<n>();                            and __cluster_dims__(x, y, z) likewise
//   __shared__ __align__(16) T a[2][3], b;                auto& a = emulator::shared_array<0, T[2][3], 16>(); auto& b =
//   ... extern __shared__ T a[];                              auto* a = emulator::dynamic_array<T>();
#pragma once
#include <cctype>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

namespace emulator {

class Rewriter {
 public:
  // Splits the text; a rewriter is used once.
  explicit Rewriter(const std::string& text) { split(text); }

  std::string run() {
    for (at = 0; at < tokens.size();) {
      if (is("__global__")) {
        kernel();
      } else if (is("__shared__")) {
        shared(false);
      } else if (is("extern") && next_is("__shared__")) {
        shared(true);
      } else if (is("#")) {
        directive();
      } else {
        out += tokens[at++];
      }
    }
    return out;
  }

  // "file:line" of where the rewriter is, from the preprocessor's line marks.
  std::string place() const {
    size_t mark = out.rfind("\n# ");
    if (mark == std::string::npos) return "source";
    size_t begin = out.find('"', mark), end = out.find('"', begin + 1), next = out.find('\n', mark + 1);
    long line = std::atol(out.c_str() + mark + 3);
    for (size_t i = next + 1; next != std::string::npos && i < out.size(); i++) line += out[i] == '\n';
    return out.substr(begin + 1, end - begin - 1) + ":" + std::to_string(line);
  }

  std::vector<std::string> plain_kernels;  // extern "C", found by their own name
  std::vector<std::string> shared_names;   // by number

 private:
  std::vector<std::string> tokens;  // words, numbers, strings, single signs, and the white space between them
  size_t at = 0;
  std::string out;

  static bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

  void split(const std::string& text) {
    for (size_t i = 0; i < text.size();) {
      size_t begin = i;
      char c = text[i];
      if (c == '"' || c == '\'') {
        for (i++; i < text.size() && text[i] != c && text[i] != '\n'; i++) i += text[i] == '\\';
        i++;
      } else if (is_word(c)) {
        // A quote between digits separates thousands.
        while (i < text.size() &&
               (is_word(text[i]) || (text[i] == '\'' && std::isdigit(static_cast<unsigned char>(c)))))
          i++;
      } else if (std::isspace(static_cast<unsigned char>(c))) {
        while (i < text.size() && std::isspace(static_cast<unsigned char>(text[i]))) i++;
      } else {
        i++;
      }
      tokens.push_back(text.substr(begin, i - begin));
    }
  }

  bool is_space(size_t i) const { return std::isspace(static_cast<unsigned char>(tokens[i][0])); }
  bool is(const char* token) const { return at < tokens.size() && tokens[at] == token; }
  size_t skip(size_t i) const {
    while (i < tokens.size() && is_space(i)) i++;
    return i;
  }
  bool next_is(const char* token) const {
    size_t i = skip(at + 1);
    return i < tokens.size() && tokens[i] == token;
  }

  // The index behind the bracket that closes the one at `i`.
  size_t close(size_t i) const {
    int depth = 0;
    for (; i < tokens.size(); i++) {
      const std::string& token = tokens[i];
      if (token == "(" || token == "[" || token == "{") depth++;
      if ((token == ")" || token == "]" || token == "}") && --depth == 0) return i + 1;
    }
    throw std::runtime_error("a bracket is not closed");
  }
  std::string text(size_t begin, size_t end) const {
    std::string all;
    for (size_t i = begin; i < end; i++) all += tokens[i];
    return all;
  }

  // `# 12 "file" 3` of the preprocessor stays; the system's compiler knows no `#pragma unroll`.
  void directive() {
    size_t end = at;
    while (end < tokens.size() && tokens[end].find('\n') == std::string::npos) end++;
    bool unroll = next_is("pragma") && text(at, end).find("unroll") != std::string::npos;
    if (!unroll) out += text(at, end);
    at = end;
  }

  bool follows_extern_c() const {
    size_t end = out.find_last_not_of(" \t\r\n");
    size_t begin = out.rfind("extern", end);
    if (end == std::string::npos || begin == std::string::npos) return false;
    std::string between = out.substr(begin, end + 1 - begin);
    return between.find(';') == std::string::npos && between.find('}') == std::string::npos &&
           between.compare(0, 6, "extern") == 0 && between.size() >= 3 &&
           between.compare(between.size() - 3, 3, "\"C\"") == 0;
  }

  void kernel() {
    bool plain = follows_extern_c();
    out += "__attribute__((noinline, noclone, visibility(\"default\")))";
    at++;
    std::string bounds, cluster, name;
    for (; at < tokens.size() && !is(";") && !is("{"); at++) {
      if (is("__launch_bounds__") || is("__cluster_dims__")) {
        size_t open = skip(at + 1), end = close(open);
        (is("__launch_bounds__") ? bounds : cluster) = text(open + 1, end - 1);
        at = end - 1;
      } else if (is("(")) {
        size_t end = close(at);
        out += text(at, end);
        at = end - 1;
      } else {
        if (is_word(tokens[at][0])) name = tokens[at];
        out += tokens[at];
      }
    }
    if (!is("{")) return;
    out += tokens[at++];
    if (!bounds.empty()) out += " emulator::launch_bound<emulator::first_of(" + bounds + ")>();";
    if (!cluster.empty()) out += " emulator::cluster_dims<" + cluster + ">();";
    if (plain) plain_kernels.push_back(name);
  }

  // Everything up to the `;` of a declaration with __shared__.
  void shared(bool dynamic) {
    std::string type, align;
    if (dynamic) at = skip(at + 1);
    at++;
    // The type: all words before the first declarator, which ends at `[`, `,` or `;`.
    size_t end = at;
    int angles = 0;
    while (angles || (tokens[end] != "[" && tokens[end] != "," && tokens[end] != ";" && tokens[end] != "=")) {
      angles += tokens[end] == "<" ? 1 : tokens[end] == ">" ? -1 : 0;
      if (tokens[end] == "{") throw std::runtime_error("__shared__: define the type first, then declare the variable");
      end = tokens[end] == "(" ? close(end) : end + 1;
      if (end >= tokens.size()) throw std::runtime_error("a declaration with __shared__ has no end");
    }
    size_t name = end;
    while (is_space(--name)) {}
    for (size_t i = at; i < name; i++) {
      bool attribute = tokens[i] == "__align__" || tokens[i] == "alignas" || tokens[i] == "__attribute__";
      if (!attribute) {
        type += tokens[i] == "volatile" || tokens[i] == "static" ? "" : tokens[i];
        continue;
      }
      size_t open = skip(i + 1), behind = close(open);
      align = text(open, behind);
      if (size_t aligned = align.find("aligned"); aligned != std::string::npos)
        align = align.substr(aligned + 7, align.size() - aligned - 9);
      i = behind - 1;
    }
    declare(dynamic, type, align, name);
  }

  void declare(bool dynamic, const std::string& type, const std::string& align, size_t name) {
    std::string comma_align = align.empty() ? "" : ", " + align;
    for (;;) {
      size_t dims = skip(name + 1), end = dims;
      while (tokens[end] == "[") end = skip(close(end));
      if (tokens[end] != "," && tokens[end] != ";") {
        throw std::runtime_error("__shared__ " + tokens[name] + ": shared memory has no initial value");
      }
      if (dynamic) {
        out += "auto* " + tokens[name] + " = emulator::dynamic_array<" + type + comma_align + ">();";
      } else {
        out += "auto& " + tokens[name] + " = emulator::shared_array<" + std::to_string(shared_names.size()) + ", " +
               type + text(dims, end) + comma_align + ">();";
        shared_names.push_back(tokens[name]);
      }
      at = end + 1;
      if (tokens[end] == ";") return;
      name = skip(end + 1);
    }
  }
};

}  // namespace emulator
