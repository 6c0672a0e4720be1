// What adapters add to linears, and SiLU(gate) * up for layers where something comes between the
// multiplication and it.
#include "kernels/cuda/exact_float.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_output.cuh"
#include "kernels/cuda/ptx.cuh"

namespace octet::kernels::cuda {
namespace {

__global__ void __launch_bounds__(block_threads) add_low_rank_kernel(AddLowRank a) {
  allow_next_kernel();
  wait_previous_kernels();
  const int64_t channel = int64_t{block_threads} * blockIdx.y + threadIdx.x, row = blockIdx.x;
  if (channel >= a.n) return;
  const float* t = a.t + row * a.t_stride;
  const uint16_t* up = a.up + channel / tile_n * a.rank * tile_n + channel % tile_n;
  float sum = 0;
#pragma unroll 4
  for (int64_t j = 0; j < a.rank; ++j) sum = fmaf(t[j], unpack_halves(up[j * tile_n]).x, sum);
  a.out[row * a.out_stride + channel * a.step] += sum;
}

__global__ void __launch_bounds__(block_threads) silu_mul_rows_kernel(SiluMul a) {
  allow_next_kernel();
  wait_previous_kernels();
  const int64_t channel = int64_t{block_threads} * blockIdx.y + threadIdx.x, row = blockIdx.x;
  if (channel >= a.n) return;
  const int64_t at = row * a.stride + channel * a.step;
  a.out[row * a.out_stride + channel] =
      a.exact ? exact_silu_mul(a.gate[at], a.up[at]) : silu_mul(a.gate[at], a.up[at]);
}

/// Rows along x, of which a grid has more than 65,535.
Shape one_a_channel(int64_t n, int64_t rows) {
  return {dim3(extent(rows), extent(ceil_div(n, block_threads))), block_threads};
}

}  // namespace

void add_low_rank(const AddLowRank& add, const Queue& queue) {
  launch(add_low_rank_kernel, one_a_channel(add.n, add.rows), queue, add);
}

void silu_mul_rows(const SiluMul& silu_mul, const Queue& queue) {
  launch(silu_mul_rows_kernel, one_a_channel(silu_mul.n, silu_mul.rows), queue, silu_mul);
}

}  // namespace octet::kernels::cuda
