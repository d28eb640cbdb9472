// What a compiled kernel calls in the emulator's runtime: the border between a module (kernels compiled by nvrtc.cpp)
// and libcuda.so.1 (driver.cpp). Both sides include this file. It includes nothing, so that a kernel compiles quickly
// and sees no name that NVRTC would not give it.
//
// Functions marked [[gnu::const]] give one answer for the whole life of a CUDA thread, so the compiler may call them
// once.
#pragma once

#pragma GCC visibility push(default)

namespace emulator {

// Coordinates of the calling thread, in the order of `Coordinate`.
enum Coordinate {
  thread_x,
  thread_y,
  thread_z,
  block_x,
  block_y,
  block_z,
  block_dim_x,
  block_dim_y,
  block_dim_z,
  grid_dim_x,
  grid_dim_y,
  grid_dim_z,
  cluster_rank
};
[[gnu::const]] unsigned coordinate(Coordinate which);

// Where the shared array number `id` of `bytes` bytes lies in this launch; see `shared_array` in device.hpp.
[[gnu::const]] void* shared_at(int id, unsigned long bytes);
// Where dynamic shared memory begins.
[[gnu::const]] void* dynamic_shared();
// A shared address as the 32-bit number that PTX uses, and back.
unsigned shared_address(const void* pointer);

// bar.sync and bar.arrive. Barrier 0 with 0 threads is __syncthreads(): all threads that have not exited.
void barrier_sync(int id, int threads);
void barrier_arrive(int id, int threads);
enum class Tally { count, all, any };
// __syncthreads_count, _and, _or.
int barrier_tally(Tally kind, int predicate);

void warp_sync(unsigned mask);
enum class Shuffle { index, up, down, exclusive_or };
unsigned long long shuffle(Shuffle kind, unsigned mask, unsigned long long bits, int argument, int width);
enum class Vote { ballot, all, any };
unsigned vote(Vote kind, unsigned mask, int predicate);
enum class Reduce { add, min_signed, max_signed, min_unsigned, max_unsigned, bit_and, bit_or, bit_xor };
unsigned reduce(Reduce kind, unsigned mask, unsigned value);

enum class Atomic {
  add,
  add_float,
  add_double,
  exchange,
  compare_and_swap,
  bit_and,
  bit_or,
  bit_xor,
  min_signed,
  max_signed,
  min_unsigned,
  max_unsigned
};
// One atomic operation on 4 or 8 bytes; returns the old bits. `compare` is read by compare_and_swap only.
unsigned long long atomic(Atomic kind, void* pointer, int bytes, unsigned long long bits, unsigned long long compare);

// ldmatrix: lane l names one row of 16 bytes; `count` is 1, 2 or 4 matrices of 8 x 8 halfwords.
void load_matrix(unsigned* out, const void* row, int count, bool transposed);
// stmatrix (sm_90), the way back.
void store_matrix(void* row, const unsigned* in, int count, bool transposed);
// mma.sync: d = a * b + c in float32, fragments laid out as PTX says.
enum class Product { bf16_m16n8k16, f16_m16n8k16, tf32_m16n8k8 };
void multiply_matrix(Product kind, float* d, const unsigned* a, const unsigned* b, const float* c);

// cp.async: copies `source_bytes` of `bytes` (4, 8 or 16) and fills the rest with zeros; lands when its group is waited
// for.
void copy_async(void* shared, const void* global, int bytes, int source_bytes);
void copy_commit();
// cp.async.wait_group: all but the last `groups` groups have landed. -1 is cp.async.wait_all.
void copy_wait(int groups);

// ---- sm_90 ----
// Pointers to barriers and tiles lie in shared memory.

void mbarrier_init(void* barrier, unsigned count);
void mbarrier_invalidate(void* barrier);
void mbarrier_arrive(void* barrier);
// mapa, then mbarrier.arrive: at the same place in the shared memory of the cluster's block `rank`.
void mbarrier_arrive_remote(void* barrier, unsigned rank);
// arrive.expect_tx: the phase also waits for `bytes` bytes of copies.
void mbarrier_arrive_expect(void* barrier, unsigned bytes);
// Until the phase of this parity is complete.
void mbarrier_wait(void* barrier, unsigned parity);
// fence.proxy.async and fence.mbarrier_init.
void fence_proxy_async();
void fence_mbarrier_init();

// A box's first element, from the contiguous dimension on.
struct Origin {
  int rank, at[5];
};
// cp.async.bulk.tensor: the map's box at `origin`.
void tensor_load(void* shared, const void* map, void* barrier, Origin origin);
// The same to all blocks of the cluster whose bit is set in `blocks`: to the same places there.
void tensor_load_multicast(void* shared, const void* map, void* barrier, unsigned blocks, Origin origin);
void tensor_store(const void* map, const void* shared, Origin origin);
void bulk_commit();
// cp.async.bulk.wait_group: all but the last `groups` groups are done; and wait_group.read: have read their tiles.
void bulk_wait(int groups);
void bulk_wait_read(int groups);

// barrier.cluster.arrive and wait.
void cluster_arrive();
void cluster_wait();

bool elect_one();
// setmaxnreg, .inc or .dec.
void set_registers(int count, bool increases);

void wgmma_fence();
void wgmma_commit();
void wgmma_wait(int groups);
// wgmma.mma_async m64nNk16, bf16 to float32: d = a * b, + d if `accumulate`; N = `columns`, d has N / 2 elements.
void wgmma(float* d, int columns, unsigned long long a, unsigned long long b, bool accumulate, bool a_transposed,
           bool b_transposed);
// The same with a in registers: 4 of each thread.
void wgmma_of_registers(float* d, int columns, const unsigned* a, unsigned long long b, bool accumulate,
                        bool b_transposed);

// __threadfence(): blocks that hand data over to each other call it.
void thread_fence();

// __trap() and failed assertions.
[[noreturn]] void trap(const char* why);

}  // namespace emulator

#pragma GCC visibility pop
