// The gradients of layer normalisation, xhat = (x - mean) rstd, written or added:
// dx = rstd (g - mean(g) - xhat mean(g xhat)), g = dy weight, means over the row;
// dweight = sum over rows of dy xhat, dbias = sum over rows of dy.
//
// Mapping: rows of up to 1024 columns one warp each, in its registers (row_parts.cuh): `quads_*`, `ones_*` give dx, one row
// per warp; `sums_*` dx (where it is wanted) and partial sums of the other two, rows in turn over the warps of as many
// blocks as the host asks for. Wider rows: `wide` gives dx, one block per row; `wide_sums` partial sums, blocks of 32
// columns x 8 threads over a part of the rows. `total` adds partial sums: 32 columns x 8 threads per block.
// Bytes per element: 2 reals read and 1 written, wide 4 or 6 read (2 from memory each time sums or dx are formed).
// Order: in a row as forward.cu. Sums: a warp's (thread's) rows in order, then the warps of a block in order, then every
// eighth partial sum in order, then those eight. Tolerance: dx 4 ulp of the row's largest |g| rstd; sums of rows / warps,
// and of as many partial sums, terms.
#include "reduce.cuh"
#include "row_parts.cuh"

// Adds the sums of the block's warps in order, into a row for the weight and one for the bias.
template <bool quads, int parts>
__device__ __forceinline__ void add_warps(float4 (&of_weight)[parts], float4 (&of_bias)[parts], float* out,
                                          unsigned width) {
  __shared__ float4 totals[2][parts][32];
  unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  for (unsigned turn = 0; turn < warps; turn++) {
    if (turn == warp) {
#pragma unroll
      for (int k = 0; k < parts; k++) {
        if (turn > 0) {
          of_weight[k] = plus(totals[0][k][lane], of_weight[k]);
          of_bias[k] = plus(totals[1][k][lane], of_bias[k]);
        }
        totals[0][k][lane] = of_weight[k];
        totals[1][k][lane] = of_bias[k];
      }
    }
    __syncthreads();
  }
  if (warp + 1 < warps) return;
#pragma unroll
  for (int k = 0; k < parts; k++) {
    Part<quads> part(k, lane, width);
    part.write_floats(out, of_weight[k]);
    part.write_floats(out + width, of_bias[k]);
  }
}

// dx where it is not null. With `sums`, partial[block] = sums over this block's rows for the weight and for the bias; xhat
// counts as 0 where x is null: then only the bias is wanted.
template <bool quads, int parts, bool sums>
__device__ __forceinline__ void in_registers(const real* dy, const real* x, const float* mean_of, const float* rstd_of,
                                             const real* weight, real* dx, float* partial, size_t rows, unsigned width,
                                             bool add) {
  unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  bool wants_dx = !sums || dx, normalises = !sums || x;
  const float4 zero = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  float4 of_weight[parts], of_bias[parts];
#pragma unroll
  for (int k = 0; k < parts; k++) of_weight[k] = of_bias[k] = zero;
  for (size_t row = blockIdx.x * (size_t)warps + warp; row < rows; row += gridDim.x * (size_t)warps) {
    float mean = normalises ? mean_of[row] : 0.0f, rstd = normalises ? rstd_of[row] : 0.0f;
    float4 g[parts], xhat[parts];
#pragma unroll
    for (int k = 0; k < parts; k++) {
      Part<quads> part(k, lane, width);
      g[k] = part.read(dy + row * width);
      xhat[k] = normalises ? part.read(x + row * width) : zero;
    }
    float sum_g = 0.0f, sum_gx = 0.0f;
#pragma unroll
    for (int k = 0; k < parts; k++) {
      xhat[k] = normalised(xhat[k], mean, rstd);
      if (sums) {
        of_weight[k] = times_plus(g[k], xhat[k], of_weight[k]);
        of_bias[k] = plus(of_bias[k], g[k]);
      }
      if (wants_dx) {
        g[k] = times(g[k], Part<quads>(k, lane, width).read(weight));
        sum_g += sum_of(g[k]);
        sum_gx += sum_of(times(g[k], xhat[k]));
      }
    }
    if (!wants_dx) continue;
    float mean_g = warp_sum(sum_g) / (float)width, mean_gx = warp_sum(sum_gx) / (float)width;
    auto slope = [&](float g, float xhat) { return rstd * (g - fmaf(xhat, mean_gx, mean_g)); };
#pragma unroll
    for (int k = 0; k < parts; k++) {
      float4 a = g[k], b = xhat[k];
      float4 d = make_float4(slope(a.x, b.x), slope(a.y, b.y), slope(a.z, b.z), slope(a.w, b.w));
      Part<quads>(k, lane, width).write(dx + row * width, d, add);
    }
  }
  if constexpr (sums) add_warps<quads>(of_weight, of_bias, partial + blockIdx.x * (size_t)2 * width, width);
}

#define ROWS(name, quads, parts, sums) \
  extern "C" __global__ void __launch_bounds__(256) \
      name(const real* dy, const real* x, const float* mean_of, const float* rstd_of, const real* weight, real* dx, \
           float* partial, size_t rows, unsigned width, bool add) { \
    in_registers<quads, parts, sums>(dy, x, mean_of, rstd_of, weight, dx, partial, rows, width, add); \
  }
ROWS(quads_2, true, 2, false)
ROWS(quads_3, true, 3, false)
ROWS(quads_6, true, 6, false)
ROWS(quads_8, true, 8, false)
ROWS(ones_2, false, 2, false)
ROWS(ones_8, false, 8, false)
ROWS(sums_quads_2, true, 2, true)
ROWS(sums_quads_3, true, 3, true)
ROWS(sums_quads_6, true, 6, true)
ROWS(sums_quads_8, true, 8, true)
ROWS(sums_ones_2, false, 2, true)
ROWS(sums_ones_8, false, 8, true)

extern "C" __global__ void wide(const real* dy, const real* x, const float* mean_of, const float* rstd_of,
                                const real* weight, real* dx, unsigned width, bool add) {
  __shared__ float warps[32];
  size_t row = blockIdx.x, start = row * width;
  float mean = mean_of[row], rstd = rstd_of[row], sum_g = 0.0f, sum_gx = 0.0f;
  for (unsigned column = threadIdx.x; column < width; column += blockDim.x) {
    float g = load(dy, start + column) * load(weight, column);
    sum_g += g;
    sum_gx = fmaf(g, (load(x, start + column) - mean) * rstd, sum_gx);
  }
  float mean_g = block_sum(sum_g, warps) / (float)width, mean_gx = block_sum(sum_gx, warps) / (float)width;
  for (unsigned column = threadIdx.x; column < width; column += blockDim.x) {
    float g = load(dy, start + column) * load(weight, column);
    float xhat = (load(x, start + column) - mean) * rstd;
    put(dx, start + column, rstd * (g - fmaf(xhat, mean_gx, mean_g)), add);
  }
}

// What a block of 32 columns x 8 threads has gathered, added in the order of the eighths, for the threads of the first.
__device__ __forceinline__ float over_eighths(float (&sums)[8][32], float sum) {
  unsigned lane = threadIdx.x % 32, eighth = threadIdx.x / 32;
  __syncthreads();  // earlier sums may still be read
  sums[eighth][lane] = sum;
  __syncthreads();
  float total = 0.0f;
  for (int k = 0; k < 8; k++) total += sums[k][lane];
  return total;
}

extern "C" __global__ void wide_sums(const real* dy, const real* x, const float* mean_of, const float* rstd_of,
                                     float* partial, size_t rows, unsigned width, size_t rows_per_sum) {
  __shared__ float sums[8][32];
  unsigned column = blockIdx.x * 32 + threadIdx.x % 32, eighth = threadIdx.x / 32;
  size_t first = blockIdx.y * rows_per_sum, end = min(rows, first + rows_per_sum);
  float of_weight = 0.0f, of_bias = 0.0f;
  if (column < width)
    for (size_t row = first + eighth; row < end; row += 8) {
      float d = load(dy, row * width + column);
      of_bias += d;
      if (x) of_weight = fmaf(d, (load(x, row * width + column) - mean_of[row]) * rstd_of[row], of_weight);
    }
  of_weight = over_eighths(sums, of_weight);
  of_bias = over_eighths(sums, of_bias);
  if (eighth > 0 || column >= width) return;
  float* out = partial + blockIdx.y * (size_t)2 * width + column;
  out[0] = of_weight;
  out[width] = of_bias;
}

// Blocks with y = 0 give dweight, those with y = 1 dbias; null where it is not wanted.
extern "C" __global__ void total(const float* partial, real* dweight, real* dbias, size_t count, unsigned width,
                                 bool add_weight, bool add_bias) {
  __shared__ float sums[8][32];
  bool bias = blockIdx.y == 1;
  real* out = bias ? dbias : dweight;
  if (!out) return;
  unsigned column = blockIdx.x * 32 + threadIdx.x % 32, eighth = threadIdx.x / 32;
  float sum = 0.0f;
  if (column < width)
    for (size_t k = eighth; k < count; k += 8) sum += partial[(2 * k + bias) * width + column];
  sum = over_eighths(sums, sum);
  if (eighth == 0 && column < width) put(out, column, sum, bias ? add_bias : add_weight);
}
