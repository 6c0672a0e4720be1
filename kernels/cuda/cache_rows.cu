// Keys, rotated, and values into the cache: a warp a row and kv head.
#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/rotate.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr int threads = 128;

__global__ void __launch_bounds__(threads) cache_rows_kernel(CacheRows a) {
  allow_next_kernel();
  wait_previous_kernels();
  const int64_t row = blockIdx.x, d = a.heads.head_dim;
  const int64_t kv_head = blockIdx.y * (threads / 32) + threadIdx.x / 32;
  if (kv_head >= a.heads.num_kv_heads) return;
  const StepRow step = a.step[row];
  const CacheBlock block(a.heads, step.blocks, step.position / kv_block, kv_head);
  const int64_t slot = step.position % kv_block;
  const RotatedHead key(a.qkv.k + row * a.qkv.stride + kv_head * d, static_cast<int>(d / 2),
                        a.qkv.angles + row * d, a.qkv.k_norm, a.qkv.eps);
  key.each([&](int i, float value) { block.keys[i * kv_block + slot] = half_bits(value); });
  const float* v = a.qkv.v + row * a.qkv.stride + kv_head * d;
  for (int64_t i = threadIdx.x % 32; i < d; i += 32) block.values[slot * d + i] = half_bits(v[i]);
}

}  // namespace

void cache_rows(const CacheRows& cache, const Queue& queue) {
  launch(
      cache_rows_kernel,
      {dim3(extent(cache.rows), extent(ceil_div(cache.heads.num_kv_heads, threads / 32))), threads},
      queue, cache);
}

}  // namespace octet::kernels::cuda
