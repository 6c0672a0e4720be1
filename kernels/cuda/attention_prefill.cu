// Causal attention of many rows of a sequence on the tensor cores, with the running softmax of
// Milakov & Gimelshein 2018 (arXiv:1805.02867) and Dao et al. 2022 (arXiv:2205.14135). A block of
// threads has 128 query rows, tokens x heads of one kv head, 16 a warp; they share each cache block
// of 64 positions in shared memory, keys and values being loaded while the other are multiplied.
// A row goes through its cache blocks in rising order, whatever the other rows are.
#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr int position_tiles = kv_block / 8;

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
};

template <int head_dim>
__global__ void __launch_bounds__(block_threads) attention_prefill_kernel(PrefillAttention a) {
  constexpr int dim_tiles = head_dim / 8;
  constexpr int copies_each = int{kv_block} * head_dim / 8 / block_threads;
  static_assert(copies_each >= 1);
  allow_next_kernel();
  wait_previous_kernels();

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const AttentionTile tile = a.tile[a.tiles - 1 - blockIdx.y];  // the longest first
  const int64_t kv_head = blockIdx.x;
  const int group = static_cast<int>(a.heads.num_heads / a.heads.num_kv_heads);
  const int queries = tile.rows * group;
  const StepRow step = a.step[tile.first_row];
  const Tile<position_tiles> keys{dynamic_shared<uint4>()};
  const Tile<dim_tiles> values{keys.data + head_dim * position_tiles};

  // This lane's two query rows: lane / 4 of the warp's 16, and 8 below.
  int position[2];
  int64_t offset[2];
  bool there[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int wanted = tile.first_query + warp * 16 + lane / 4 + 8 * i;
    const int query = min(wanted, queries - 1), token = query / group;
    there[i] = wanted < queries;
    position[i] = tile.first_position + token;
    offset[i] =
        int64_t{tile.first_row + token} * a.q_stride + (kv_head * group + query % group) * head_dim;
  }
  uint32_t q[head_dim / 16][4];
#pragma unroll
  for (int k = 0; k < head_dim / 16; ++k)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const auto two =
          *reinterpret_cast<const float2*>(a.q + offset[i % 2] + 16 * k + i / 2 * 8 + lane % 4 * 2);
      q[k][i] = pack_halves(two.x, two.y);
    }

  const auto copy = [&](bool of_keys, int block) {
    const CacheBlock cached(a.heads, step.blocks, block, kv_head);
    const auto* from = reinterpret_cast<const uint4*>(of_keys ? cached.keys : cached.values);
    Copies<copies_each> copies;
#pragma unroll
    for (int i = 0; i < copies_each; ++i) {
      const int index = static_cast<int>(threadIdx.x) + i * block_threads;
      copies.start(i,
                   of_keys ? keys.piece(index / position_tiles, index % position_tiles)
                           : values.piece(index / dim_tiles, index % dim_tiles),
                   from + index);
    }
    copies.store();
  };

  const int last_query = min(tile.first_query + int{prefill_query_rows}, queries) - 1;
  const int blocks = (tile.first_position + last_query / group) / int{kv_block} + 1;
  float out[dim_tiles][4] = {}, max[2] = {-INFINITY, -INFINITY}, sum[2] = {};
  copy(true, 0);
  commit_copies();
  copy(false, 0);
  commit_copies();
  for (int block = 0; block < blocks; ++block) {
    wait_copies<1>();
    __syncthreads();
    float scores[position_tiles][4] = {};
#pragma unroll
    for (int k = 0; k < head_dim / 16; ++k)
#pragma unroll
      for (int n = 0; n < position_tiles; n += 2) {
        uint32_t b[4];
        keys.load(b, 16 * k, n);
        mma_f16(scores[n], q[k], b[0], b[1]);
        mma_f16(scores[n + 1], q[k], b[2], b[3]);
      }
    __syncthreads();
    if (block + 1 < blocks) copy(true, block + 1);
    commit_copies();

    // Softmax of rows that lie across the four lanes of a quad.
    float block_max[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int n = 0; n < position_tiles; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = block * int{kv_block} + 8 * n + lane % 4 * 2 + i % 2;
        scores[n][i] = at <= position[i / 2] ? scores[n][i] * a.scale : -INFINITY;
        block_max[i / 2] = fmaxf(block_max[i / 2], scores[n][i]);
      }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      block_max[r] = fmaxf(block_max[r], __shfl_xor_sync(0xffffffffu, block_max[r], 1));
      block_max[r] = fmaxf(block_max[r], __shfl_xor_sync(0xffffffffu, block_max[r], 2));
      const float larger = fmaxf(max[r], block_max[r]), factor = expf(max[r] - larger);
      max[r] = larger;
      sum[r] *= factor;
#pragma unroll
      for (int n = 0; n < dim_tiles; ++n) {
        out[n][2 * r] *= factor;
        out[n][2 * r + 1] *= factor;
      }
    }
    uint32_t weights[position_tiles / 2][4];
#pragma unroll
    for (int n = 0; n < position_tiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        scores[n][i] = exp2f((scores[n][i] - max[i / 2]) * 1.44269504f);
        sum[i / 2] += scores[n][i];
      }
      weights[n / 2][n % 2 * 2] = pack_halves(scores[n][0], scores[n][1]);
      weights[n / 2][n % 2 * 2 + 1] = pack_halves(scores[n][2], scores[n][3]);
    }

    wait_copies<1>();
    __syncthreads();
#pragma unroll
    for (int k = 0; k < position_tiles / 2; ++k)
#pragma unroll
      for (int n = 0; n < dim_tiles; n += 2) {
        uint32_t b[4];
        values.load(b, 16 * k, n);
        mma_f16(out[n], weights[k], b[0], b[1]);
        mma_f16(out[n + 1], weights[k], b[2], b[3]);
      }
    __syncthreads();
    if (block + 1 < blocks) copy(false, block + 1);
    commit_copies();
  }

#pragma unroll
  for (int r = 0; r < 2; ++r) {
    sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 1);
    sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 2);
    if (!there[r]) continue;
    const int64_t token = position[r] - tile.first_position + tile.first_row;
    float* to = a.out + token * (a.out_stride - a.q_stride) + offset[r] + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < dim_tiles; ++n)
      *reinterpret_cast<float2*>(to + 8 * n) =
          make_float2(out[n][2 * r] / sum[r], out[n][2 * r + 1] / sum[r]);
  }
}

auto kernel_for(int64_t head_dim) {
  return head_dim == 32   ? attention_prefill_kernel<32>
         : head_dim == 64 ? attention_prefill_kernel<64>
                          : attention_prefill_kernel<128>;
}

}  // namespace

void attention_prefill(const PrefillAttention& attention, const Queue& queue) {
  const Heads& heads = attention.heads;
  launch(kernel_for(heads.head_dim),
         {dim3(extent(heads.num_kv_heads), extent(attention.tiles)), block_threads,
          2 * kv_block * heads.head_dim * int64_t{sizeof(uint16_t)}},
         queue, attention);
}

}  // namespace octet::kernels::cuda
