// RMSNorm of heads (Qwen3), RoPE, and keys and values into the cache: a warp a row and head.
// A block of threads has several heads of a row.
#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/quantize_row.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr int threads = 128;

/// Values of a head that a lane holds: i, i + 32, ... of either half.
constexpr int lane_values = max_head_dim / 2 / 32;

struct RotatedHead {
  float low[lane_values], high[lane_values];

  __device__ RotatedHead(const RotateAndCache& a, const float* x, const float* norm, int64_t row) {
    const int half = static_cast<int>(a.heads.head_dim / 2), lane = threadIdx.x % 32;
    const float* angles = a.angles + row * 2 * half;
    float sum = 0;
#pragma unroll
    for (int j = 0; j < lane_values; ++j) {
      const int i = lane + 32 * j;
      low[j] = i < half ? x[i] : 0.0f;
      high[j] = i < half ? x[half + i] : 0.0f;
      sum += low[j] * low[j] + high[j] * high[j];
    }
    float scale = 1.0f;
    if (norm) scale = 1.0f / sqrtf(combine_warp(sum, Sum()) / static_cast<float>(2 * half) + a.eps);
#pragma unroll
    for (int j = 0; j < lane_values; ++j) {
      const int i = lane + 32 * j;
      if (i >= half) break;
      if (norm) {
        low[j] = low[j] * scale * norm[i];
        high[j] = high[j] * scale * norm[half + i];
      }
      const float cosine = angles[i], sine = angles[half + i], before = low[j];
      low[j] = before * cosine - high[j] * sine;
      high[j] = high[j] * cosine + before * sine;
    }
  }

  /// store(d, value) for each dimension that the lane holds.
  template <class Store>
  __device__ void each(int half, Store store) const {
#pragma unroll
    for (int j = 0; j < lane_values; ++j) {
      const int i = static_cast<int>(threadIdx.x) % 32 + 32 * j;
      if (i >= half) return;
      store(i, low[j]);
      store(half + i, high[j]);
    }
  }
};

__global__ void __launch_bounds__(threads) rotate_and_cache_kernel(RotateAndCache a) {
  allow_next_kernel();
  wait_previous_kernels();
  const int64_t row = blockIdx.x, d = a.heads.head_dim;
  const int64_t head = blockIdx.y * (threads / 32) + threadIdx.x / 32;
  const int half = static_cast<int>(d / 2);
  if (head >= a.heads.num_heads + a.heads.num_kv_heads) return;
  if (head < a.heads.num_heads) {
    float* q = a.q + row * a.stride + head * d;
    const RotatedHead rotated(a, q, a.q_norm, row);
    rotated.each(half, [&](int i, float value) { q[i] = value; });
    return;
  }
  const int64_t kv_head = head - a.heads.num_heads;
  const StepRow step = a.step[row];
  const CacheBlock block(a.heads, step.blocks, step.position / kv_block, kv_head);
  const int64_t slot = step.position % kv_block;
  const RotatedHead rotated(a, a.k + row * a.stride + kv_head * d, a.k_norm, row);
  rotated.each(half,
               [&](int i, float value) { block.keys[i * kv_block + slot] = half_bits(value); });
  const float* v = a.v + row * a.stride + kv_head * d;
  for (int64_t i = threadIdx.x % 32; i < d; i += 32) block.values[slot * d + i] = half_bits(v[i]);
}

}  // namespace

void rotate_and_cache(const RotateAndCache& rotate, const Queue& queue) {
  const int64_t heads = rotate.heads.num_heads + rotate.heads.num_kv_heads;
  launch(rotate_and_cache_kernel,
         {dim3(extent(rotate.rows), extent(ceil_div(heads, threads / 32))), threads}, queue,
         rotate);
}

}  // namespace octet::kernels::cuda
