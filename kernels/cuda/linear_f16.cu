// Matrix multiplication with fp16 weights, which few linears of a file have: simple, each weight
// read once for up to 64 rows. A block of threads computes 16 channels; its warps share out K in
// turns of 32, and their sums are added in one order, whatever the number of rows.
//
// Rows are two fp16 terms (HalfRows), so that the tensor cores multiply at the precision of fp32.
// Which 16 of 32 values of K a step has is free: each lane has eight neighbours of a weight's row,
// one 16-byte load, and of an activation's.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_output.cuh"
#include "kernels/cuda/ptx.cuh"

namespace octet::kernels::cuda {
namespace {

/// This lane's eight values: row lane / 4, values 8 (lane % 4) and on of 32.
__device__ inline const uint4* lane_values(const uint16_t* rows, int64_t row, int64_t stride) {
  return reinterpret_cast<const uint4*>(rows + row * stride) + threadIdx.x % 4;
}

/// sums [column][4] += this warp's part of 16 channels x 8 rows a column.
template <int columns>
__device__ inline void multiply_warp(const LinearF16& a, int64_t first_row,
                                     float (&sums)[columns][4]) {
  const int64_t stride = half_stride(a.k), channel = blockIdx.x * tile_n + threadIdx.x % 32 / 4;
  const auto* weight = static_cast<const uint16_t*>(a.weight);
  const uint4 *upper = lane_values(weight, channel, stride),
              *lower = lane_values(weight, channel + 8, stride);
  const uint4* x[columns];
#pragma unroll
  for (int c = 0; c < columns; ++c)
    x[c] = lane_values(a.x.values, min(first_row + 8 * c + threadIdx.x % 32 / 4, a.rows - 1),
                       a.x.stride);
  const int64_t rest = a.x.term / 8;  // from the first term to the second, in 16 bytes
  const int end = static_cast<int>(stride / half_chunk);
  // Few rows leave registers for more weights on their way.
#pragma unroll(columns == 1 ? 6 : 2)
  for (int chunk = threadIdx.x / 32; chunk < end; chunk += block_warps) {
    const uint4 w0 = load_streaming(upper + chunk * 4), w1 = load_streaming(lower + chunk * 4);
#pragma unroll
    for (int c = 0; c < columns; ++c)
#pragma unroll
      for (int term = 0; term < 2; ++term) {
        const uint4 v = x[c][chunk * 4 + term * rest];
        mma_f16(sums[c], make_uint4(w0.x, w1.x, w0.y, w1.y), v.x, v.y);
        mma_f16(sums[c], make_uint4(w0.z, w1.z, w0.w, w1.w), v.z, v.w);
      }
  }
}

template <int columns>
__global__ void __launch_bounds__(block_threads) linear_f16_kernel(LinearF16 a) {
  __shared__ float shared[block_warps][columns * 128];  // [row][channel]
  allow_next_kernel();
  wait_previous_kernels();
  const int64_t first_row = int64_t{8} * columns * blockIdx.y;
  float sums[columns][4] = {};
  multiply_warp<columns>(a, first_row, sums);
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int c = 0; c < columns; ++c)
#pragma unroll
    for (int i = 0; i < 4; ++i)
      shared[threadIdx.x / 32][(8 * c + lane % 4 * 2 + i % 2) * 16 + lane / 4 + i / 2 * 8] =
          sums[c][i];
  __syncthreads();
  const bool paired = a.output == Output::silu_mul;
  for (int i = threadIdx.x; i < columns * 128; i += block_threads) {
    const int64_t row = first_row + i / 16;
    if (row >= a.rows || (paired && i % 2 > 0)) continue;
    const auto value = [&](int at) {
      float sum = 0;
#pragma unroll
      for (int w = 0; w < block_warps; ++w) sum += shared[w][at];
      const int64_t channel = blockIdx.x * tile_n + at % 16;
      sum *= a.x.scale[row];
      if (a.scale) sum *= a.scale[channel];
      return a.bias ? sum + a.bias[channel] : sum;
    };
    float* out = a.out + row * a.out_stride + (blockIdx.x * tile_n + i % 16) / (paired ? 2 : 1);
    const float first = value(i);
    *out = paired ? silu_mul(first, value(i + 1)) : a.output == Output::add ? *out + first : first;
  }
}

}  // namespace

void linear_f16(const LinearF16& linear, const Queue& queue) {
  const int columns = f16_columns(linear.rows);
  const auto kernel = columns == 1   ? linear_f16_kernel<1>
                      : columns == 2 ? linear_f16_kernel<2>
                      : columns == 4 ? linear_f16_kernel<4>
                                     : linear_f16_kernel<8>;
  launch(kernel,
         {dim3(extent(linear.n_tiles), extent(ceil_div(linear.rows, 8 * columns))), block_threads},
         queue, linear);
}

}  // namespace octet::kernels::cuda
