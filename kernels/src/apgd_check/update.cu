// The bookkeeping of Auto-PGD, per sample: mod.rs has the columns of a row and the rule.
//
// Mapping: one thread per sample. Bytes per sample: 14 reals read, 12 written. Tolerance: exact.
#include "progress.cuh"
#include "storage.cuh"

constexpr int COLUMNS = 12, ETA = 3, PERIOD = 4, SINCE = 5, RAISED = 6, HALVED = 7, LARGEST = 8, AT_CHECKPOINT = 9, BEFORE = 10,
              ACTION = 11;
constexpr unsigned BEST = 1, FOOLS = 2, STEP = 4, BACK = 8;

extern "C" __global__ void update(real* progress, const real* losses, const real* margins, size_t rows, unsigned steps, float rho,
                                  bool stop, unsigned shorter, unsigned shortest) {
  size_t i = thread_index();
  if (i >= rows) return;
  float row[COLUMNS];
  for (int k = 0; k < COLUMNS; k++) row[k] = load(progress, i * COLUMNS + k);
  unsigned action = 0;
  if (row[STATUS] == RUNNING) {
    float loss = load(losses, i);
    if (load(margins, i) > 0.0f) action |= FOOLS;
    if (row[STEPS] == 0.0f) {
      row[LARGEST] = row[AT_CHECKPOINT] = loss;
      action |= BEST;
    } else {
      if (loss > row[BEFORE]) row[RAISED] += 1.0f;
      row[BEFORE] = loss;
      if (loss > row[LARGEST]) {
        row[LARGEST] = loss;
        action |= BEST;
      }
      row[SINCE] += 1.0f;
      if (row[SINCE] == row[PERIOD]) {
        bool oscillates = row[RAISED] <= rho * row[PERIOD];
        bool stands_still = row[HALVED] == 0.0f && row[AT_CHECKPOINT] >= row[LARGEST];
        if (oscillates || stands_still) action |= BACK;
        row[HALVED] = action & BACK ? 1.0f : 0.0f;
        row[AT_CHECKPOINT] = row[LARGEST];
        row[SINCE] = row[RAISED] = 0.0f;
        row[PERIOD] = fmaxf(row[PERIOD] - (float)shorter, (float)shortest);
        if (action & BACK) row[ETA] *= 0.5f;
      }
    }
    if (stop && (action & FOOLS)) {
      row[STATUS] = FOOLED;
    } else if (row[STEPS] == (float)steps) {
      row[STATUS] = SPENT;
    } else {
      row[STEPS] += 1.0f;
      action |= STEP;
    }
  }
  row[ACTION] = (float)action;
  for (int k = 0; k < COLUMNS; k++) store(progress, i * COLUMNS + k, row[k]);
}
