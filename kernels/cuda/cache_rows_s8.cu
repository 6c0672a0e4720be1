// Keys, rotated, and values into an int8 cache, and queries for attention_prefill_s8(). A block of
// threads has rows of a head, a warp each.
#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/quantize_head.cuh"

namespace octet::kernels::cuda {
namespace {

__global__ void __launch_bounds__(block_threads) cache_rows_s8_kernel(CacheRowsS8 c) {
  __shared__ float4 rows[block_warps][max_head_dim / 4];
  allow_next_kernel();
  wait_previous_kernels();
  const CacheRows& a = c.rows;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int d = static_cast<int>(a.heads.head_dim),
            kv_heads = static_cast<int>(a.heads.num_kv_heads);
  const int64_t row = int64_t{block_warps} * blockIdx.x + warp;
  if (row >= a.rows) return;
  // Keys, then values, then queries.
  const int kind = min(static_cast<int>(blockIdx.y) / kv_heads, 2);
  const int head = static_cast<int>(blockIdx.y) - kind * kv_heads;
  const int64_t offset = row * a.qkv.stride + head * d;
  float4 v = make_float4(0, 0, 0, 0);
  if (kind == 1) {
    if (4 * lane < d) v = reinterpret_cast<const float4*>(a.qkv.v + offset)[lane];
  } else {
    RotatedHead rotated;
    rotated.read((kind == 0 ? a.qkv.k : a.qkv.q) + offset, d / 2);
    rotated.turn(RotaryAngles(a.qkv.angles + row * d, d / 2),
                 kind == 0 ? a.qkv.k_norm : a.qkv.q_norm, a.qkv.eps);
    v = spread_head(rotated, d, reinterpret_cast<float*>(rows[warp]));
  }
  const QuantizedHead quantized(v, c.check);
  const StepRow step = a.step[row];
  if (kind == 2) {
    const int64_t index = row * a.heads.num_heads + head;
    if (4 * lane < d) reinterpret_cast<uint32_t*>(c.queries + index * d)[lane] = quantized.word;
    if (lane == 0) c.query_scale[index] = quantized.scale;
    return;
  }
  const CacheBlockS8 block(a.heads, step.blocks, step.position / kv_block, head);
  const int slot = step.position % int{kv_block};
  if (kind == 0)
    block.store_key(slot, d, quantized.word, quantized.scale);
  else
    block.store_value(slot, d, quantized.word, quantized.scale);
}

}  // namespace

void cache_rows_s8(const CacheRowsS8& cache, const Queue& queue) {
  const Heads& heads = cache.rows.heads;
  const int64_t each = 2 * heads.num_kv_heads + (cache.queries ? heads.num_heads : 0);
  launch(cache_rows_s8_kernel,
         {dim3(extent(ceil_div(cache.rows.rows, block_warps)), extent(each)), block_threads}, queue,
         cache);
}

}  // namespace octet::kernels::cuda
