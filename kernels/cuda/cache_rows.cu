// Keys, rotated, and values into the cache. A block of threads has 16 rows of a kv head, a warp
// each. Keys lie there by dimension: they are turned round in shared memory, and those of
// neighbouring positions written together.
#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/rotate.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr int block_rows = 16, threads = 32 * block_rows;

/// Where the cache has row `row` of the step.
struct CachePlace {
  CacheBlock block;
  int slot;
  __device__ CachePlace(const CacheRows& a, int64_t row, int64_t kv_head)
      : block(a.heads, a.step[row].blocks, a.step[row].position / kv_block, kv_head),
        slot(a.step[row].position % static_cast<int>(kv_block)) {}
};

__global__ void __launch_bounds__(threads) cache_rows_kernel(CacheRows a) {
  // Two more a row: rows of one dimension lie in different banks.
  __shared__ uint16_t keys[block_rows][max_head_dim + 2];
  constexpr int lane_values = max_head_dim / 32;
  allow_next_kernel();
  wait_previous_kernels();
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int d = static_cast<int>(a.heads.head_dim);
  const int64_t first_row = int64_t{block_rows} * blockIdx.x, kv_head = blockIdx.y;
  const int rows = static_cast<int>(min(a.rows - first_row, int64_t{block_rows}));
  // All that is read, before anything is written: the loads' times then overlap.
  const int turned = static_cast<int>(threadIdx.x) % block_rows;
  const CachePlace of_turned(a, first_row + min(turned, rows - 1), kv_head);
  const int64_t row = first_row + min(warp, rows - 1);
  const int64_t offset = row * a.qkv.stride + kv_head * d;
  const CachePlace place(a, row, kv_head);
  float value[lane_values];
#pragma unroll
  for (int j = 0; j < lane_values; ++j)
    value[j] = lane + 32 * j < d ? a.qkv.v[offset + lane + 32 * j] : 0.0f;
  RotatedHead key;
  key.read(a.qkv.k + offset, d / 2);
  key.turn(RotaryAngles(a.qkv.angles + row * d, d / 2), a.qkv.k_norm, a.qkv.eps);
  if (warp < rows) {
    key.each([&](int at, float x) { keys[warp][at] = half_bits(x); });
#pragma unroll
    for (int j = 0; j < lane_values; ++j)
      if (lane + 32 * j < d)
        place.block.values[place.slot * d + lane + 32 * j] = half_bits(value[j]);
  }
  __syncthreads();
  if (turned >= rows) return;
  for (int at = static_cast<int>(threadIdx.x) / block_rows; at < d; at += threads / block_rows)
    of_turned.block.keys[at * kv_block + of_turned.slot] = keys[turned][at];
}

}  // namespace

void cache_rows(const CacheRows& cache, const Queue& queue) {
  launch(
      cache_rows_kernel,
      {dim3(extent(ceil_div(cache.rows, block_rows)), extent(cache.heads.num_kv_heads)), threads},
      queue, cache);
}

}  // namespace octet::kernels::cuda
