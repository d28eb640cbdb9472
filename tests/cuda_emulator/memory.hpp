// Device memory: one large range of addresses, with a shadow byte for every byte that says whether it belongs to a
// buffer and whether it has been written. Checked kernels ask it at every access, so an overrun of one byte is found,
// on either side.
//
// Every buffer has pages of its own and an untouchable page behind it, for kernels compiled without checks; there, odd
// seeds put a buffer's end, others its beginning, at the edge of its pages. Fresh memory is filled with NaN. Addresses
// are not used again before all have been used once, so that a stale pointer meets nothing.
#pragma once
#include <sys/mman.h>

#include <cstring>
#include <map>
#include <mutex>

#include "report.hpp"

namespace emulator {

enum Shadow : uint8_t { outside = 0, unwritten = 1, written = 2 };

class DeviceMemory {
 public:
  struct Buffer {
    size_t bytes, pages;  // `pages` in bytes, without the untouchable one
    char* first_page;
    unsigned number;  // in order of allocation
  };

  static constexpr size_t page = 4096, alignment = 256, range = size_t{64} << 30;

  char* base = nullptr;
  uint8_t* shadow = nullptr;
  size_t total = size_t{4} << 30, used = 0;

  bool reserve() {
    if (base) return true;
    if (const char* bytes = std::getenv("VITRUM_EMULATOR_MEMORY")) total = std::strtoull(bytes, nullptr, 10);
    void* memory = mmap(nullptr, range, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    void* states = mmap(nullptr, range, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || states == MAP_FAILED) return false;
    base = static_cast<char*>(memory);
    shadow = static_cast<uint8_t*>(states);
    return true;
  }

  // Null where the device's memory or the range of addresses is used up.
  char* allocate(size_t bytes, bool at_end) {
    size_t pages = (bytes + page - 1) / page * page;
    if (pages < bytes || pages > total - used) return nullptr;
    char* first = find(pages + page);
    if (!first || mprotect(first, pages, PROT_READ | PROT_WRITE)) return nullptr;
    char* start = at_end ? first + (pages - bytes) / alignment * alignment : first;
    std::memset(start, 0xff, bytes);
    std::memset(shadow + (start - base), unwritten, bytes);
    buffers[start] = Buffer{bytes, pages, first, ++count};
    used += pages;
    return start;
  }

  bool release(char* start) {
    auto found = buffers.find(start);
    if (found == buffers.end()) return false;
    const Buffer& buffer = found->second;
    std::memset(shadow + (start - base), outside, buffer.bytes);
    madvise(buffer.first_page, buffer.pages, MADV_DONTNEED);
    mprotect(buffer.first_page, buffer.pages, PROT_NONE);
    used -= buffer.pages;
    freed[start] = buffer;
    if (freed.size() > 4096) freed.erase(freed.begin());
    buffers.erase(found);
    return true;
  }

  bool holds(uintptr_t address) const { return address - reinterpret_cast<uintptr_t>(base) < range; }

  // Whether all these bytes belong to buffers.
  bool is_whole(const void* start, size_t bytes) const {
    uintptr_t offset = reinterpret_cast<uintptr_t>(start) - reinterpret_cast<uintptr_t>(base);
    if (offset >= range || bytes > range - offset) return bytes == 0;
    return !std::memchr(shadow + offset, outside, bytes);
  }
  void mark_written(const void* start, size_t bytes) {
    std::memset(shadow + (static_cast<const char*>(start) - base), written, bytes);
  }
  void copy_marks(const void* to, const void* from, size_t bytes) {
    std::memmove(shadow + (static_cast<const char*>(to) - base), shadow + (static_cast<const char*>(from) - base),
                 bytes);
  }

  // What lies at an address, for a message.
  std::string describe(uintptr_t address) const {
    if (address < page) return format("address %#lx: a null pointer", static_cast<unsigned long>(address));
    if (!holds(address)) return "an address of the host, not of the device";
    char* at = reinterpret_cast<char*>(address);
    auto next = buffers.upper_bound(at);
    std::string text;
    if (next != buffers.begin()) {
      auto [start, buffer] = *std::prev(next);
      size_t offset = static_cast<size_t>(at - start);
      if (offset < buffer.bytes)
        return format("byte %zu of buffer %u (%zu bytes)", offset, buffer.number, buffer.bytes);
      text = format("%zu bytes past the last of buffer %u (%zu bytes)", offset - buffer.bytes + 1, buffer.number,
                    buffer.bytes);
    }
    if (next != buffers.end() && next->first - at <= static_cast<ptrdiff_t>(page)) {
      text += format("%s%zu bytes before buffer %u (%zu bytes)", text.empty() ? "" : ", ",
                     static_cast<size_t>(next->first - at), next->second.number, next->second.bytes);
    }
    auto old = freed.upper_bound(at);
    if (old != freed.begin()) {
      auto [start, buffer] = *std::prev(old);
      if (static_cast<size_t>(at - start) < buffer.bytes) {
        return format("byte %zu of buffer %u (%zu bytes), which has been freed", static_cast<size_t>(at - start),
                      buffer.number, buffer.bytes);
      }
    }
    return text.empty() ? "no buffer" : text;
  }

  std::map<char*, Buffer> buffers, freed;

 private:
  unsigned count = 0;
  size_t cursor = page;

  // Addresses for `bytes` bytes, behind all that were ever given out, or in the first gap once those are used up.
  char* find(size_t bytes) {
    if (bytes <= range - cursor) {
      char* found = base + cursor;
      cursor += bytes;
      return found;
    }
    char* gap = base + page;
    for (const auto& [start, buffer] : buffers) {
      if (buffer.first_page - gap >= static_cast<ptrdiff_t>(bytes)) return gap;
      gap = buffer.first_page + buffer.pages + page;
    }
    return base + range - gap >= static_cast<ptrdiff_t>(bytes) ? gap : nullptr;
  }
};

inline DeviceMemory device_memory;

}  // namespace emulator
