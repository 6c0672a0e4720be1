// attention_prefill() where warpgroups multiply (sm_90a). A block of threads is one warpgroup, with
// 64 query rows, tokens x heads of one kv head; keys of the next cache block of 64 positions come
// while weights are computed, and values while keys are multiplied. Several blocks on a
// multiprocessor keep its tensor cores busy meanwhile.
#include "kernels/cuda/attention_prefill.cuh"
#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/warpgroup.cuh"

namespace octet::kernels::cuda {
namespace {

/// Bytes of 64 rows of 64 halves.
constexpr int square_bytes = 64 * 64 * 2;

/// Halves in shared memory: queries [64][head_dim], keys [head_dim][64], values [64][head_dim].
template <int head_dim>
struct Shared {
  static constexpr int matrix_bytes = head_dim / 64 * square_bytes;
  static constexpr int bytes = 3 * matrix_bytes + swizzled_alignment;
  SwizzledRows queries, keys, values;

  __device__ explicit Shared(char* aligned)
      : queries(aligned, square_bytes),
        keys(aligned + matrix_bytes, square_bytes),
        values(aligned + 2 * matrix_bytes, square_bytes) {}
};

/// Starts to copy rows of so many pieces of 16 bytes.
template <int rows, int pieces>
__device__ inline void copy_matrix(const SwizzledRows& to, const uint16_t* from) {
  constexpr int copies_each = rows * pieces / warpgroup_threads;
  Copies<copies_each> copies;
#pragma unroll
  for (int i = 0; i < copies_each; ++i) {
    const int index = static_cast<int>(threadIdx.x) + i * warpgroup_threads;
    copies.start(i, to.piece(index / pieces, index % pieces),
                 reinterpret_cast<const uint4*>(from) + index);
  }
  commit_copies();
}

template <int head_dim>
__device__ inline void put_queries(const HeadRows& qkv, const QueryRows<1>& rows,
                                   const SwizzledRows& queries) {
  const int lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16 + lane / 4;
  const auto word = [&](int r, int p) {
    return reinterpret_cast<uint32_t*>(queries.piece(r, p)) + lane % 4;
  };
  load_queries<head_dim>(qkv, rows, 0, [&](int k, const uint4& operand) {
    *word(row, 2 * k) = operand.x;
    *word(row + 8, 2 * k) = operand.y;
    *word(row, 2 * k + 1) = operand.z;
    *word(row + 8, 2 * k + 1) = operand.w;
  });
}

/// Until all but the last `pending` copies of every thread are there, for products too.
template <int pending>
__device__ inline void wait_matrix() {
  wait_copies<pending>();
  show_to_products();
  __syncthreads();
}

template <int head_dim>
__device__ inline void attend(const PrefillAttention& a) {
  constexpr int dim_tiles = head_dim / 8;
  const AttentionTile tile = a.tile[a.tiles - 1 - blockIdx.y];  // the longest first
  const int64_t kv_head = blockIdx.x;
  const QueryRows<1> rows(a.heads, tile, kv_head);
  std::byte* const* const table = a.step[tile.first_row].blocks;
  const Shared<head_dim> shared(swizzled_shared());
  const int blocks = rows.cache_blocks(), whole_blocks = rows.whole_blocks();
  const auto copy_keys = [&](int block) {
    copy_matrix<head_dim, kv_block / 8>(shared.keys,
                                        CacheBlock(a.heads, table, block, kv_head).keys);
  };
  const auto copy_values = [&](int block) {
    copy_matrix<kv_block, dim_tiles>(shared.values,
                                     CacheBlock(a.heads, table, block, kv_head).values);
  };
  copy_keys(0);
  copy_values(0);
  put_queries<head_dim>(a.qkv, rows, shared.queries);

  float out[1][dim_tiles][4] = {};
  Softmax<1> softmax(a.scale);
  for (int block = 0; block < blocks; ++block) {
    const int next = min(block + 1, blocks - 1);  // the last comes twice, so that waits are alike
    wait_matrix<1>();
    float scores[1][position_tiles][4];
    begin_products();
#pragma unroll
    for (int k = 0; k < head_dim / 16; ++k)
      product(scores[0], shared.queries.columns(k), shared.keys.rows(k), k > 0);
    commit_products();
    wait_products(scores[0]);
    __syncthreads();
    copy_keys(next);

    if (block >= whole_blocks) softmax.hide(rows, block, scores);
    softmax.weigh(scores, out);
    uint4 weights[kv_block / 16];
#pragma unroll
    for (int k = 0; k < kv_block / 16; ++k) weights[k] = weights_of(scores[0], k);
    wait_matrix<1>();
    begin_products();
#pragma unroll
    for (int k = 0; k < kv_block / 16; ++k) add_product(out[0], weights[k], shared.values.rows(k));
    commit_products();
    wait_products(out[0]);
    __syncthreads();
    copy_values(next);
  }
  store_results(a, rows, softmax, out);
}

template <int head_dim>
__global__ void __launch_bounds__(warpgroup_threads, 3)
    attention_prefill_warpgroup_kernel(PrefillAttention a) {
  allow_next_kernel();
  wait_previous_kernels();
  if constexpr (has_warpgroups) attend<head_dim>(a);
}

}  // namespace

void attention_prefill_warpgroup(const PrefillAttention& attention, const Queue& queue) {
  const Heads& heads = attention.heads;
  const bool small = heads.head_dim == 64;
  launch(small ? attention_prefill_warpgroup_kernel<64> : attention_prefill_warpgroup_kernel<128>,
         {dim3(extent(heads.num_kv_heads), extent(attention.tiles)), warpgroup_threads,
          spread_bytes(small ? Shared<64>::bytes : Shared<128>::bytes,
                       heads.num_kv_heads * attention.tiles, queue.architecture,
                       queue.multiprocessors, queue.shared_bytes)},
         queue, attention);
}

}  // namespace octet::kernels::cuda
