// Causal attention of many rows of a sequence on the tensor cores, with the running softmax of
// Milakov & Gimelshein 2018 (arXiv:1805.02867) and Dao et al. 2022 (arXiv:2205.14135). A block of
// threads has 64 or 128 query rows, tokens x heads of one kv head, 16 or 32 a warp; they share each
// cache block of 64 positions in shared memory, keys and values being loaded while the other are
// multiplied. A row goes through its cache blocks in rising order, whatever the other rows are.
#include "kernels/cuda/attention_prefill.cuh"
#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/launch.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr int threads = 128;

/// A matrix of fp16 in shared memory, `pieces` of 16 bytes a row. Pieces are permuted within their
/// row, so that eight rows of one column lie in different banks.
template <int pieces>
struct Tile {
  uint4* data;

  __device__ uint4* piece(int row, int p) const {
    constexpr int wide = pieces < 8 ? pieces : 8;
    return data + row * pieces + (p ^ (row * wide / 8 % wide));
  }
  /// Operands of two mma.m16n8k16: rows [row, row + 16) are K, columns those of pieces p and p + 1.
  __device__ void load(uint32_t (&b)[4], int row, int p) const {
    const int lane = threadIdx.x % 32, matrix = lane / 8;
    load_matrices_transposed(b, piece(row + matrix % 2 * 8 + lane % 8, p + matrix / 2));
  }
  /// Starts to copy a whole cache block's matrix.
  template <int rows>
  __device__ void copy(const uint16_t* from) const {
    constexpr int copies_each = rows * pieces / threads;
    static_assert(copies_each * threads == rows * pieces);
    Copies<copies_each> copies;
#pragma unroll
    for (int i = 0; i < copies_each; ++i) {
      const int index = static_cast<int>(threadIdx.x) + i * threads;
      copies.start(i, piece(index / pieces, index % pieces),
                   reinterpret_cast<const uint4*>(from) + index);
    }
    copies.store();
  }
};

/// sums += A x B. left(k, tile): the A operand of 16 values of K and of 16 rows.
template <int k_steps, int row_tiles, int pieces, class Left>
__device__ inline void multiply(Left left, const Tile<pieces>& right,
                                float (&sums)[row_tiles][pieces][4]) {
#pragma unroll
  for (int k = 0; k < k_steps; ++k) {
    uint4 a[row_tiles];
#pragma unroll
    for (int t = 0; t < row_tiles; ++t) a[t] = left(k, t);
#pragma unroll
    for (int n = 0; n < pieces; n += 2) {
      uint32_t b[4];
      right.load(b, 16 * k, n);
#pragma unroll
      for (int t = 0; t < row_tiles; ++t) {
        mma_f16(sums[t][n], a[t], b[0], b[1]);
        mma_f16(sums[t][n + 1], a[t], b[2], b[3]);
      }
    }
  }
}

template <int head_dim, int row_tiles>
__global__ void __launch_bounds__(threads, 2) attention_prefill_kernel(PrefillAttention a) {
  constexpr int dim_tiles = head_dim / 8;
  allow_next_kernel();
  wait_previous_kernels();

  const AttentionTile tile = a.tile[a.tiles - 1 - blockIdx.y];  // the longest first
  const int64_t kv_head = blockIdx.x;
  const QueryRows<row_tiles> rows(a.heads, tile, kv_head);
  std::byte* const* const table = a.step[tile.first_row].blocks;
  const Tile<position_tiles> keys{dynamic_shared<uint4>()};
  const Tile<dim_tiles> values{keys.data + head_dim * position_tiles};
  uint4* const queries = values.data + kv_block * dim_tiles + threadIdx.x;
  const auto copy_keys = [&](int block) {
    keys.template copy<head_dim>(CacheBlock(a.heads, table, block, kv_head).keys);
  };
  const auto copy_values = [&](int block) {
    values.template copy<kv_block>(CacheBlock(a.heads, table, block, kv_head).values);
  };
  const int blocks = rows.cache_blocks(), whole_blocks = rows.whole_blocks();
  copy_keys(0);
  commit_copies();
  copy_values(0);
  commit_copies();
#pragma unroll
  for (int t = 0; t < row_tiles; ++t)
    load_queries<head_dim>(a.qkv, rows, t, [&](int k, const uint4& operand) {
      queries[(t * (head_dim / 16) + k) * threads] = operand;
    });

  float out[row_tiles][dim_tiles][4] = {};
  Softmax<row_tiles> softmax(a.scale);
  for (int block = 0; block < blocks; ++block) {
    wait_copies<1>();
    __syncthreads();
    float scores[row_tiles][position_tiles][4] = {};
    multiply<head_dim / 16, row_tiles>(
        [&](int k, int t) { return queries[(t * (head_dim / 16) + k) * threads]; }, keys, scores);
    __syncthreads();
    if (block + 1 < blocks) copy_keys(block + 1);
    commit_copies();
    if (block >= whole_blocks) softmax.hide(rows, block, scores);
    softmax.weigh(scores, out);
    wait_copies<1>();
    __syncthreads();
    multiply<position_tiles / 2, row_tiles>([&](int k, int t) { return weights_of(scores[t], k); },
                                            values, out);
    __syncthreads();
    if (block + 1 < blocks) copy_values(block + 1);
    commit_copies();
  }

  store_results(a, rows, softmax, out);
}

template <int row_tiles>
auto kernel_for(int64_t head_dim) {
  return head_dim == 32   ? attention_prefill_kernel<32, row_tiles>
         : head_dim == 64 ? attention_prefill_kernel<64, row_tiles>
                          : attention_prefill_kernel<128, row_tiles>;
}

}  // namespace

void attention_prefill(const PrefillAttention& attention, const Queue& queue) {
  const Heads& heads = attention.heads;
  if (by_warpgroups(heads.head_dim, queue)) return attention_prefill_warpgroup(attention, queue);
  const auto kernel = attention.query_rows == query_rows(threads, 1)
                          ? kernel_for<1>(heads.head_dim)
                          : kernel_for<2>(heads.head_dim);
  // Keys and values of a cache block, and the queries.
  const int64_t shared_rows = 2 * kv_block + attention.query_rows;
  launch(kernel,
         {dim3(extent(heads.num_kv_heads), extent(attention.tiles)), threads,
          spread_bytes(shared_rows * heads.head_dim * int64_t{sizeof(uint16_t)},
                       heads.num_kv_heads * attention.tiles, queue.architecture,
                       queue.multiprocessors, queue.shared_bytes)},
         queue, attention);
}

}  // namespace octet::kernels::cuda
