// RMSNorm with the CPU's bits: kernels/types.h. The sum of squares is that of quantize_row.cuh.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/quantize_row.cuh"

namespace octet::kernels::cuda {
namespace {

__global__ void __launch_bounds__(block_threads) norm_exact_kernel(ExactNorm a) {
  __shared__ float shared[block_threads / 32];
  allow_next_kernel();
  wait_previous_kernels();
  const int64_t index = blockIdx.x, row = a.row_list ? a.row_list[index] : index;
  const auto* x = reinterpret_cast<const float4*>(a.values + row * a.stride);
  const auto* weight = reinterpret_cast<const float4*>(a.weight);
  auto* out = reinterpret_cast<float4*>(a.out + index * a.stride);
  const auto quads = static_cast<int>(a.k / 4);
  const auto each = [&](auto visit) {
    for (int j = 0; (j - j % 2) * block_threads < quads; ++j)
      if (spread_place(j) < quads) visit(spread_place(j));
  };
  float sum = 0;
  each([&](int i) { sum += sum_of_squares(x[i]); });
  sum = combine_block(sum, Sum(), shared);
  const float root = sqrtf(sum / static_cast<float>(a.k) + a.eps);
  each([&](int i) {
    const float4 v = x[i], w = weight[i];
    out[i] = make_float4(v.x / root * w.x, v.y / root * w.y, v.z / root * w.z, v.w / root * w.w);
  });
}

}  // namespace

void norm_exact(const ExactNorm& norm, const Queue& queue) {
  launch(norm_exact_kernel, {dim3(extent(norm.rows)), block_threads}, queue, norm);
}

}  // namespace octet::kernels::cuda
