// What becomes of a proposal of the Square Attack, per sample: mod.rs has the rule and the columns of a row.
//
// Mapping: `samples` one thread per element copies; `rows` one per sample, after it. Bytes per element: up to 1 real read and 1
// written. Tolerance: exact.
#include "progress.cuh"
#include "storage.cuh"

constexpr int COLUMNS = 4, LOSS = 3;

__device__ __forceinline__ bool is_taken(const real* row, float loss) {
  return load(row, STATUS) == RUNNING && (load(row, STEPS) == 0.0f || loss < load(row, LOSS) || loss <= 0.0f);
}

extern "C" __global__ void samples(real* best, const real* progress, const real* trial, const real* margins, size_t count,
                                   size_t width) {
  size_t i = thread_index();
  if (i < count && is_taken(progress + i / width * COLUMNS, -load(margins, i / width))) best[i] = trial[i];
}

extern "C" __global__ void rows(real* progress, const real* margins, size_t count, unsigned queries) {
  size_t i = thread_index();
  if (i >= count) return;
  real* row = progress + i * COLUMNS;
  if (load(row, STATUS) != RUNNING) return;
  float loss = -load(margins, i), judged = load(row, STEPS);
  if (is_taken(row, loss)) store(row, LOSS, loss);
  if (loss < 0.0f)
    store(row, STATUS, FOOLED);
  else if (judged == (float)queries)
    store(row, STATUS, SPENT);
  store(row, STEPS, judged + 1.0f);
}
