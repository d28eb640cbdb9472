// The nearest of several decision boundaries, per sample: mod.rs has the rule.
//
// Mapping: one block of 256 threads per sample, thread t elements t, t + 256, .. Bytes per element: 1 real read, or 2 and 1 written.
// Order of sums: thread t adds its elements in order in double, then as block_sum. Tolerance: one rounding of the distance.
#include "reduce.cuh"
#include "storage.cuh"

extern "C" __global__ void update(real* kept, real* kept_difference, real* distance, const real* gradient, const real* difference,
                                  const int* labels, size_t width, unsigned label, bool square) {
  __shared__ double parts[8];
  size_t sample = blockIdx.x;
  kept += sample * width;
  gradient += sample * width;
  double sum = 0.0;
  for (size_t i = threadIdx.x; i < width; i += blockDim.x) {
    double g = load(gradient, i);
    sum += square ? g * g : fabs(g);
  }
  sum = block_sum(sum, parts);
  bool own = (unsigned)labels[sample] == label;
  float found = (float)(fabs((double)load(difference, sample)) / ((square ? sqrt(sum) : sum) + 1e-12));
  float before = label == 0 ? 1e30f : load(distance, sample);
  __syncthreads();  // all have read the distance
  bool nearer = !own && found < before;
  if (nearer)
    for (size_t i = threadIdx.x; i < width; i += blockDim.x) kept[i] = gradient[i];
  if (threadIdx.x > 0) return;
  store(distance, sample, nearer ? found : before);
  if (nearer) kept_difference[sample] = difference[sample];
}
