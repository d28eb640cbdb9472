// Which samples are stepped next: those that run, are classified correctly and have steps left.
//
// Mapping: one thread per sample. Bytes per sample: 4 reals read, 3 written. Tolerance: exact.
#include "progress.cuh"
#include "storage.cuh"

constexpr int COLUMNS = 3;

extern "C" __global__ void update(real* progress, real* active, const real* margins, size_t rows, unsigned steps, bool stop) {
  size_t i = thread_index();
  if (i >= rows) return;
  real* row = progress + i * COLUMNS;
  bool runs = load(row, STATUS) == RUNNING, fools = stop && load(margins, i) > 0.0f;
  bool spent = load(row, STEPS) == (float)steps;
  if (runs && fools) store(row, STATUS, FOOLED);
  if (runs && !fools && spent) store(row, STATUS, SPENT);
  bool follows = runs && !fools && !spent;
  if (follows) store(row, STEPS, load(row, STEPS) + 1.0f);
  store(active, i, follows ? 1.0f : 0.0f);
}
