// Causal attention of many rows of a sequence on the tensor cores, with the running softmax of
// Milakov & Gimelshein 2018 (arXiv:1805.02867) and Dao et al. 2022 (arXiv:2205.14135). A block of
// threads has 64 or 128 query rows, tokens x heads of one kv head, 16 or 32 a warp; they share each
// cache block of 64 positions in shared memory, keys and values being loaded while the other are
// multiplied. A row goes through its cache blocks in rising order, whatever the other rows are.
#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/query_rows.cuh"
#include "kernels/cuda/rotate.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr int threads = 128;
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

/// Tile t of the warp's queries, normalized and rotated, as A operands: [head_dim / 16][threads].
template <int head_dim, int row_tiles>
__device__ inline void load_queries(const HeadRows& qkv, const QueryRows<row_tiles>& rows, int t,
                                    uint4* operands) {
  constexpr int steps = head_dim / 16, half = head_dim / 2;
  const int column = threadIdx.x % 4 * 2;
  float2 q[steps][4];  // of a step: upper row, lower row; the same, 8 columns on
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int64_t row = rows.row(2 * t + r);
    const float* from = qkv.q + row * qkv.stride + rows.head(2 * t + r) * head_dim + column;
    float sum = 0;
#pragma unroll
    for (int k = 0; k < steps; ++k)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float2 two = *reinterpret_cast<const float2*>(from + 16 * k + 8 * i);
        sum += two.x * two.x + two.y * two.y;
        q[k][2 * i + r] = two;
      }
    if (qkv.q_norm) {
      const float scale =
          1.0f / sqrtf(combine_quad(sum, Sum()) / static_cast<float>(head_dim) + qkv.eps);
#pragma unroll
      for (int k = 0; k < steps; ++k)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float* norm = qkv.q_norm + 16 * k + 8 * i + column;
          q[k][2 * i + r].x *= scale * norm[0];
          q[k][2 * i + r].y *= scale * norm[1];
        }
    }
    const float* angles = qkv.angles + row * head_dim + column;
#pragma unroll
    for (int k = 0; k < steps / 2; ++k)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float2 &low = q[k][2 * i + r], &high = q[k + steps / 2][2 * i + r];
        const float *cosine = angles + 16 * k + 8 * i, *sine = cosine + half;
        rotate_pair(low.x, high.x, cosine[0], sine[0]);
        rotate_pair(low.y, high.y, cosine[1], sine[1]);
      }
  }
#pragma unroll
  for (int k = 0; k < steps; ++k)
    operands[k * threads] =
        make_uint4(pack_halves(q[k][0].x, q[k][0].y), pack_halves(q[k][1].x, q[k][1].y),
                   pack_halves(q[k][2].x, q[k][2].y), pack_halves(q[k][3].x, q[k][3].y));
}

/// The softmax of a lane's rows so far. Scores are times `scale`, in powers of two, which takes
/// log2(e) in: one multiplication and addition brings a score to its distance from the maximum.
template <int row_tiles>
struct Softmax {
  float scale;
  float max[2 * row_tiles], sum[2 * row_tiles];  // the sum is of the lane's own positions

  __device__ explicit Softmax(float scale_in) : scale(scale_in * 1.44269504f) {
#pragma unroll
    for (int i = 0; i < 2 * row_tiles; ++i) {
      max[i] = -INFINITY;
      sum[i] = 0;
    }
  }

  /// Scores of positions behind the row's own, where the cache block has some, weigh nothing.
  __device__ void hide(const QueryRows<row_tiles>& rows, int block,
                       float (&scores)[row_tiles][position_tiles][4]) const {
#pragma unroll
    for (int i = 0; i < 2 * row_tiles; ++i) {
      const int seen =
          rows.position(i) - block * int{kv_block} - static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
      for (int n = 0; n < position_tiles; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          if (8 * n + e > seen) scores[i / 2][n][i % 2 * 2 + e] = -INFINITY;
    }
  }

  /// Scores become weights; results so far are brought to the new maximum.
  template <int dim_tiles>
  __device__ void weigh(float (&scores)[row_tiles][position_tiles][4],
                        float (&out)[row_tiles][dim_tiles][4]) {
#pragma unroll
    for (int i = 0; i < 2 * row_tiles; ++i) {
      float block_max = -INFINITY;
#pragma unroll
      for (int n = 0; n < position_tiles; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e) block_max = fmaxf(block_max, scores[i / 2][n][i % 2 * 2 + e]);
      const float larger = fmaxf(max[i], combine_quad(block_max, Larger()) * scale);
      const float factor = power_of_two(max[i] - larger);
      max[i] = larger;
      sum[i] *= factor;
#pragma unroll
      for (int n = 0; n < dim_tiles; ++n) {
        out[i / 2][n][i % 2 * 2] *= factor;
        out[i / 2][n][i % 2 * 2 + 1] *= factor;
      }
#pragma unroll
      for (int n = 0; n < position_tiles; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& score = scores[i / 2][n][i % 2 * 2 + e];
          score = power_of_two(fmaf(score, scale, -larger));
          sum[i] += score;
        }
    }
  }
};

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
    load_queries<head_dim, row_tiles>(a.qkv, rows, t, queries + t * (head_dim / 16) * threads);

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
    multiply<position_tiles / 2, row_tiles>(
        [&](int k, int t) {
          const float(&x)[4] = scores[t][2 * k], (&y)[4] = scores[t][2 * k + 1];
          return make_uint4(pack_halves(x[0], x[1]), pack_halves(x[2], x[3]),
                            pack_halves(y[0], y[1]), pack_halves(y[2], y[3]));
        },
        values, out);
    __syncthreads();
    if (block + 1 < blocks) copy_values(block + 1);
    commit_copies();
  }

#pragma unroll
  for (int i = 0; i < 2 * row_tiles; ++i) {
    const float sum = combine_quad(softmax.sum[i], Sum());
    if (!rows.there(i)) continue;
    float* to = a.out + rows.row(i) * a.out_stride + rows.head(i) * head_dim + threadIdx.x % 4 * 2;
#pragma unroll
    for (int n = 0; n < dim_tiles; ++n)
      *reinterpret_cast<float2*>(to + 8 * n) =
          make_float2(out[i / 2][n][i % 2 * 2] / sum, out[i / 2][n][i % 2 * 2 + 1] / sum);
  }
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
