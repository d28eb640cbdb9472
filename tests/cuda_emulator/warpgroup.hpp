// Tensor cores of Hopper: wgmma, which four warps execute together and which reads its operands from shared memory
// while they go on.
//
// From the issue of a product to the wait that covers it, its operands may not be overwritten and its accumulators hold
// NaN; who touches those is reported. The operands are read at that wait (VITRUM_EMULATOR_COPIES=late) or at the issue
// (early). Accumulators are an array on each thread's stack; since their address leaves the kernel, the compiler's
// hooks tell of every access, and so of one that no wgmma.fence separates from the next product. So are operands in
// registers.
//
// Layouts are the PTX manual's ("Register Fragments for wgmma.mma_async.m64nNk16", "Strides", "Matrix descriptor").
// Sums are rounded to float32 in the order of k, which hardware does not promise.
#pragma once
#include <memory>

#include "cluster.hpp"

namespace emulator {

constexpr unsigned threads_per_group = warps_per_group * lanes_per_warp;
constexpr unsigned most_registers = 64 << 10;  // of a multiprocessor
constexpr unsigned product_rows = 64, product_depth = 16;

// The accumulators of a warpgroup from the first product on them that is under way to the last.
struct Accumulators {
  float* registers[threads_per_group];
  unsigned columns;
  int products = 0;           // under way
  std::vector<float> values;  // [64, columns]: what the products have made so far
};

struct Operand {
  unsigned start, leading, stride;  // bytes
  unsigned swizzle;                 // bytes of a row of tiles: 128, 64 or 32
  bool is_transposed;               // rows (or columns, of b) are contiguous, not k
  unsigned rows;                    // 0: it lies in registers

  // Where the element of row (of b: column) `row` and depth `k` lies in the arena.
  unsigned at(unsigned row, unsigned k) const {
    unsigned across = swizzle / 2;
    unsigned offset = is_transposed
                          ? row / across * leading + row % across * 2 + k / 8 * stride + k % 8 * swizzle
                          : row / 8 * stride + row % 8 * swizzle + k * 2;
    return swizzled(start + offset, swizzle);
  }
  // Calls `visit(offset)` for the 16-byte chunks.
  template <class Visit>
  void each_chunk(Visit visit) const {
    for (unsigned row = 0; row < rows; row += is_transposed ? 8 : 1) {
      for (unsigned k = 0; k < product_depth; k += is_transposed ? 1 : 8) visit(at(row, k));
    }
  }
};

struct GroupProduct {
  std::shared_ptr<Accumulators> out;
  std::vector<const unsigned*> fragments;  // a, where it lies in registers: those of each thread
  Operand a, b;
  bool accumulates;
  int group;
  uintptr_t code;
};

struct Warpgroup {
  std::vector<GroupProduct> products;  // under way, in the order of their issue
  int groups = 0;                      // committed so far
  unsigned registers = 0;              // per thread, once setmaxnreg has said, and where that was
  uintptr_t registers_code = 0;
};

inline Warpgroup warpgroups[most_groups];

// The frame of what 128 threads do together: `work(lanes)` runs once, with the operands of all.
template <class Operands, class Work>
inline void together_in_group(const char* name, uintptr_t code, Operands& mine, Work work) {
  Thread& self = *current;
  unsigned group = self.warp / warps_per_group;
  Warp* warps = &block.warps[group * warps_per_group];
  self.call = Call{name, code, ~0u, &mine};
  bool is_whole = (group + 1) * warps_per_group <= block.warp_count;
  for (int w = 0; w < warps_per_group && is_whole; w++) is_whole = warps[w].live == ~0u;
  if (!is_whole) {
    fail(launch_failed, format("%s by %s: its warpgroup lacks some of 128 threads", name, name_of(self).c_str()),
         {{name, code}});
  }
  check_call(self, block.warps[self.warp], self.call);
  block.warps[self.warp].in_call |= 1u << self.lane;
  for (int w = 0; w < warps_per_group; w++) {
    if (warps[w].in_call != ~0u) return wait();
  }
  Operands* lanes[threads_per_group];
  for (unsigned i = 0; i < threads_per_group; i++) {
    const Call& call = block.threads[group * threads_per_group + i].call;
    lanes[i] = static_cast<Operands*>(call.operands);
    if (std::strcmp(call.name, name) == 0 && same_call(call.code, code)) continue;
    fail(launch_failed,
         format("divergent warpgroup: %s is at %s, others at %s", name_of(self).c_str(), name, call.name),
         {{name, code}, {call.name, call.code}});
  }
  work(lanes);
  for (int w = 0; w < warps_per_group; w++) {
    warps[w].in_call = 0;
    wake(warps[w], ~0u);
  }
}

// ---- Registers ----

inline bool overlap(const Registers& a, const Registers& b) { return a.begin < b.end && b.begin < a.end; }

inline Registers registers_of(const Accumulators& out, unsigned thread) {
  uintptr_t begin = reinterpret_cast<uintptr_t>(out.registers[thread % threads_per_group]);
  return {begin, begin + out.columns / 2 * sizeof(float)};
}

constexpr unsigned fragment_registers = 4;

inline Registers fragment_of(const std::vector<const unsigned*>& fragments, unsigned thread) {
  uintptr_t begin = reinterpret_cast<uintptr_t>(fragments[thread % threads_per_group]);
  return {begin, begin + fragment_registers * sizeof(unsigned)};
}

void touch_registers(uintptr_t address, unsigned bytes, Access access, uintptr_t code) {
  Thread& self = *current;
  Registers used{address, address + bytes};
  for (const GroupProduct& product : warpgroups[self.warp / warps_per_group].products) {
    bool is_sum = overlap(used, registers_of(*product.out, self.number));
    bool is_operand = !product.fragments.empty() && overlap(used, fragment_of(product.fragments, self.number));
    if (!is_sum && !is_operand) continue;
    fail(launch_failed,
         format("%s of a wgmma used before wgmma.wait_group: %s by %s", is_sum ? "accumulators" : "operand registers",
                verb(access), name_of(self).c_str()),
         {{verb(access), code}, {"wgmma", product.code}});
  }
  for (Registers& known : self.touched) {
    if (used.begin > known.end || known.begin > used.end) continue;
    known = {std::min(known.begin, used.begin), std::max(known.end, used.end)};
    return;
  }
  self.touched.push_back(used);
}

void wgmma_fence() {
  current->uses_products = true;
  current->touched.clear();
}

inline void check_fence(const Thread& self, const char* what, const Registers& registers, uintptr_t code) {
  bool is_fenced = self.uses_products;
  for (const Registers& touched : self.touched) is_fenced = is_fenced && !overlap(touched, registers);
  if (is_fenced) return;
  fail(launch_failed,
       format("no wgmma.fence between the last use of its %s and the wgmma, by %s", what, name_of(self).c_str()),
       {{"wgmma", code}});
}

// ---- Descriptors ----

[[noreturn]] inline void fail_of_descriptor(const std::string& problem, char which, uint64_t bits, uintptr_t code) {
  fail(launch_failed, format("wgmma descriptor %c, %#018lx: %s", which, bits, problem.c_str()), {{"wgmma", code}});
}

constexpr uint64_t unused_bits = uint64_t{3} << 14 | uint64_t{3} << 30 | uint64_t{7} << 46 | uint64_t{0x3ff} << 52;

// Address, leading and stride offsets in units of 16 bytes from bits 0, 16 and 32; the swizzle in bits 62 and 63.
inline Operand decode(uint64_t bits, bool is_transposed, unsigned rows, char which, uintptr_t code) {
  auto field = [=](int shift) { return static_cast<unsigned>(bits >> shift & 0x3fff) << 4; };
  Operand result{field(0) + own_cta().base, field(16), field(32), 256u >> (bits >> 62), is_transposed, rows};
  if (bits & unused_bits) fail_of_descriptor("unused bits are set", which, bits, code);
  if (bits >> 62 == 0) fail_of_descriptor("operands without a swizzle are not modelled", which, bits, code);
  if (bits >> 49 & 7) fail_of_descriptor("base offsets are not modelled: align tiles to 1024 bytes", which, bits, code);
  // The swizzle repeats after 8 rows.
  unsigned repeat = 8 * result.swizzle;
  if (result.stride % repeat || !result.stride) {
    fail_of_descriptor(format("a stride of %u bytes, no multiple of %u", result.stride, repeat), which, bits, code);
  }
  bool uses_leading = is_transposed && rows > result.swizzle / 2;
  if (uses_leading && (result.leading % repeat || !result.leading)) {
    fail_of_descriptor(format("a leading offset of %u bytes, no multiple of %u", result.leading, repeat), which, bits,
                       code);
  }
  unsigned within = result.start % repeat;
  bool is_placed = is_transposed ? within == 0 : within < result.swizzle && within % 32 == 0;
  if (!is_placed) fail_of_descriptor("it starts within the 8 rows of a swizzle", which, bits, code);
  return result;
}

// ---- Products ----

inline float element(const Operand& operand, unsigned row, unsigned k) {
  uint16_t half;
  std::memcpy(&half, arena + operand.at(row, k), 2);
  return from_bits(static_cast<uint32_t>(half) << 16);
}

// Element (row, k) of a: register i of a thread holds row 16 warp + lane / 4 + 8 (i % 2), columns 2 (lane % 4) +
// 8 (i / 2) and the next.
inline float element_of_a(const GroupProduct& product, unsigned row, unsigned k) {
  if (product.fragments.empty()) return element(product.a, row, k);
  unsigned thread = row / 16 * 32 + row % 8 * 4 + k % 8 / 2, i = row / 8 % 2 + k / 8 * 2;
  uint32_t pair = product.fragments[thread][i];
  return from_bits(k % 2 ? pair & 0xffff0000u : pair << 16);
}

inline void multiply(const GroupProduct& product) {
  Accumulators& out = *product.out;
  std::vector<float> b(product_depth * out.columns);
  for (unsigned k = 0; k < product_depth; k++) {
    for (unsigned column = 0; column < out.columns; column++)
      b[k * out.columns + column] = element(product.b, column, k);
  }
  if (!product.accumulates) std::fill(out.values.begin(), out.values.end(), 0.0f);
  for (unsigned row = 0; row < product_rows; row++) {
    float* sums = &out.values[row * out.columns];
    for (unsigned k = 0; k < product_depth; k++) {
      float a = element_of_a(product, row, k);
      for (unsigned column = 0; column < out.columns; column++) sums[column] += a * b[k * out.columns + column];
    }
  }
}

// Calls `visit(register, value)` for the accumulators of all threads: register i of a thread is in row
// 16 warp + lane / 4 + 8 (i / 2 % 2), column 8 (i / 4) + 2 (lane % 4) + i % 2.
template <class Visit>
inline void each_register(Accumulators& out, Visit visit) {
  for (unsigned thread = 0; thread < threads_per_group; thread++) {
    unsigned first = thread / 32 * 16 + thread % 32 / 4;
    for (unsigned i = 0; i < out.columns / 2; i++) {
      unsigned row = first + i / 2 % 2 * 8, column = i / 4 * 8 + thread % 4 * 2 + i % 2;
      visit(out.registers[thread][i], out.values[row * out.columns + column]);
    }
  }
}

struct ProductCall {
  float* d;
  const unsigned* fragment;  // null where a lies in shared memory
  uint64_t a, b;
};

// The accumulators of a product: those of one under way, or new ones with what the registers hold.
inline std::shared_ptr<Accumulators> accumulators_of(const Warpgroup& group, ProductCall** lanes, unsigned columns,
                                                     uintptr_t code) {
  auto fresh = std::make_shared<Accumulators>();
  fresh->columns = columns;
  for (unsigned i = 0; i < threads_per_group; i++) fresh->registers[i] = lanes[i]->d;
  for (const GroupProduct& product : group.products) {
    const Accumulators& other = *product.out;
    if (!overlap(registers_of(other, 0), registers_of(*fresh, 0))) continue;
    if (other.registers[0] == lanes[0]->d && other.columns == columns) return product.out;
    fail(launch_failed, "a wgmma of another shape on accumulators of one that is under way",
         {{"wgmma", code}, {"earlier", product.code}});
  }
  fresh->values.resize(product_rows * columns);
  each_register(*fresh, [](float& held, float& value) {
    value = held;
    held = from_bits(0x7fffffff);
  });
  return fresh;
}

inline void begin_product(unsigned group, ProductCall** lanes, GroupProduct product) {
  Warpgroup& self = warpgroups[group];
  for (const Operand* operand : {&product.a, &product.b}) {
    operand->each_chunk([&](unsigned offset) {
      for (unsigned w = 0; w < warps_per_group; w++) {
        check_async_read(block.threads[group * threads_per_group + w * lanes_per_warp], offset, 16, "wgmma",
                         product.code);
      }
      begin_async_read(offset, 16);
    });
  }
  product.out = accumulators_of(self, lanes, product.b.rows, product.code);
  product.out->products++;
  product.group = self.groups;
  if (copies_land_early) multiply(product);
  self.products.push_back(product);
}

inline void check_descriptors(ProductCall** lanes, uintptr_t code) {
  for (unsigned i = 1; i < threads_per_group; i++) {
    if (lanes[i]->a == lanes[0]->a && lanes[i]->b == lanes[0]->b) continue;
    fail(launch_failed, "wgmma: the threads of a warpgroup have different descriptors", {{"wgmma", code}});
  }
}

inline void start_product(ProductCall mine, unsigned n, bool accumulate, bool a_transposed, bool b_transposed,
                          uintptr_t code) {
  unsigned group = current->warp / warps_per_group;
  uintptr_t begin = reinterpret_cast<uintptr_t>(mine.d), fragment = reinterpret_cast<uintptr_t>(mine.fragment);
  check_fence(*current, "accumulators", {begin, begin + n / 2 * sizeof(float)}, code);
  if (fragment)
    check_fence(*current, "operand registers", {fragment, fragment + fragment_registers * sizeof(unsigned)}, code);
  together_in_group("wgmma", code, mine, [=](ProductCall** lanes) {
    check_descriptors(lanes, code);
    GroupProduct product{};
    for (unsigned i = 0; i < threads_per_group && fragment; i++) product.fragments.push_back(lanes[i]->fragment);
    if (!fragment) product.a = decode(mine.a, a_transposed, product_rows, 'a', code);
    product.b = decode(mine.b, b_transposed, n, 'b', code);
    product.accumulates = accumulate;
    product.code = code;
    begin_product(group, lanes, std::move(product));
  });
}

void wgmma(float* d, int columns, unsigned long long a, unsigned long long b, bool accumulate, bool a_transposed,
           bool b_transposed) {
  start_product({d, nullptr, a, b}, static_cast<unsigned>(columns), accumulate, a_transposed, b_transposed,
                EMULATOR_CALLER);
}

void wgmma_of_registers(float* d, int columns, const unsigned* a, unsigned long long b, bool accumulate,
                        bool b_transposed) {
  start_product({d, a, 0, b}, static_cast<unsigned>(columns), accumulate, false, b_transposed, EMULATOR_CALLER);
}

void wgmma_commit() {
  int nothing = 0;
  together_in_group("wgmma.commit_group", EMULATOR_CALLER, nothing,
                    [](int**) { warpgroups[current->warp / warps_per_group].groups++; });
}

inline void end_product(unsigned group, const GroupProduct& product) {
  int actor = first_group_actor + static_cast<int>(group);
  if (!copies_land_early) multiply(product);
  for (const Operand* operand : {&product.a, &product.b}) {
    operand->each_chunk([&](unsigned offset) { end_async_read(offset, 16, actor_stamp(actor), product.code); });
  }
  if (--product.out->products) return;
  each_register(*product.out, [](float& held, float& value) { held = value; });
}

void wgmma_wait(int groups) {
  int nothing = 0;
  together_in_group("wgmma.wait_group", EMULATOR_CALLER, nothing, [=](int**) {
    unsigned group = current->warp / warps_per_group;
    Warpgroup& self = warpgroups[group];
    int actor = first_group_actor + static_cast<int>(group);
    std::vector<GroupProduct> left;
    for (const GroupProduct& product : self.products) {
      if (product.group >= self.groups - groups) {
        left.push_back(product);
      } else {
        end_product(group, product);
      }
    }
    self.products = std::move(left);
    advance_actor(actor);
    for (unsigned w = 0; w < warps_per_group; w++) actor_is_seen(actor, block.warps[group * warps_per_group + w].seen);
  });
}

bool elect_one() {
  int nothing = 0;
  together("elect.sync", EMULATOR_CALLER, ~0u, nothing, [](int**) {});
  // Any one lane, but always the same.
  return current->lane == (seed % 2 ? 31 : 0);
}

// Registers per thread that ptxas gives a kernel of one block per multiprocessor.
inline unsigned registers_at_launch() {
  return std::min(256u, most_registers / (own_cta().warp_count * lanes_per_warp) / 8 * 8);
}

// `count` for those that have not asked for another number.
inline unsigned registers_of_groups(unsigned count) {
  unsigned all = 0;
  const Cta& cta = own_cta();
  for (unsigned w = cta.first_warp; w < cta.first_warp + cta.warp_count; w += warps_per_group) {
    unsigned own = warpgroups[w / warps_per_group].registers;
    all += (own ? own : count) * threads_per_group;
  }
  return all;
}

inline void check_registers(unsigned count, const char* when, uintptr_t code) {
  unsigned all = registers_of_groups(count), most = registers_at_launch() * own_cta().warp_count * lanes_per_warp;
  if (all <= most) return;
  fail(launch_failed, format("setmaxnreg: the block's warpgroups hold %u registers%s, it has %u", all, when, most),
       {{"setmaxnreg", code}});
}

void set_registers(int count, bool increases) {
  uintptr_t code = EMULATOR_CALLER;
  if (count < 24 || count > 256 || count % 8) {
    fail(launch_failed, format("setmaxnreg %d: a multiple of 8 from 24 to 256", count), {{"setmaxnreg", code}});
  }
  together_in_group("setmaxnreg", code, count, [=](int**) {
    Warpgroup& group = warpgroups[current->warp / warps_per_group];
    unsigned wanted = static_cast<unsigned>(count), before = group.registers;
    // Only ptxas knows how many it had at launch.
    if (before && (increases ? wanted < before : wanted > before)) {
      fail(launch_failed, format("setmaxnreg.%s %d of %u registers", increases ? "inc" : "dec", count, before),
           {{"setmaxnreg", code}});
    }
    group.registers = wanted;
    group.registers_code = code;
    check_registers(0, "", code);
  });
}

// ---- The life of a block ----

inline void begin_hopper() {
  cluster_barrier = ClusterBarrier{};
  mbarriers.clear();
  for (Warpgroup& group : warpgroups) group = Warpgroup{};
  if (reads_in_flight) std::memset(being_read, 0, sizeof being_read);
  reads_in_flight = 0;
}

inline void check_hopper_at_exit(Thread& thread) {
  check_bulk_copies_at_exit(thread);
  const Warpgroup& group = warpgroups[thread.warp / warps_per_group];
  // A warpgroup that has asked for more than the others leave would have waited for ever.
  const Cta& cta = own_cta();
  for (unsigned w = cta.first_warp; w < cta.first_warp + cta.warp_count && cta.live == 1; w += warps_per_group) {
    const Warpgroup& asked = warpgroups[w / warps_per_group];
    if (asked.registers) check_registers(registers_at_launch(), " at its end", asked.registers_code);
  }
  if (group.products.empty()) return;
  fail(launch_failed,
       format("%zu wgmma never waited for, at the end of %s", group.products.size(), name_of(thread).c_str()),
       {{"the first", group.products.front().code}});
}

}  // namespace emulator
