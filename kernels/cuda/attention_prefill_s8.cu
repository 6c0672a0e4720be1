// Causal attention of many rows of a sequence over an int8 cache, on the int8 tensor cores: the
// products are the CPU's, of integers (kernels/types.h: Attention), the running softmax that of
// attention_prefill.cu. A block of threads has 64 or 128 query rows, 16 a warp; they share each
// cache block of 64 positions in shared memory, where the next one comes while they multiply.
//
// Words of four values lie in the cache as mma.m16n8k32 takes them: four dimensions of a position,
// four positions of a dimension. Which position a column of the scores is is free, and chosen so
// that a lane's scores are those of four neighbours, whose weights are one word of the next
// operand.
#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/quantize_row.cuh"
#include "kernels/cuda/query_rows.cuh"

namespace octet::kernels::cuda {
namespace {

static_assert(max_head_dim * 127 * 127 < 1 << 22 && kv_block * 255 * 127 < 1 << 22);  // sum_value()

/// Words in shared memory: `rows` of `words`, eight more from row to row, so that four rows of
/// eight pairs lie in different banks.
template <int rows, int words>
struct Words {
  static constexpr int stride = words + 8, size = rows * stride;
  uint32_t* data;

  /// Of a row, words 2 g and 2 g + 1 of part `part` of 16: those of two columns' tiles.
  __device__ uint2 pair(int row, int part) const {
    const int g = static_cast<int>(threadIdx.x) % 32 / 4;
    return *reinterpret_cast<const uint2*>(data + row * stride + 16 * part + 2 * g);
  }
  /// Starts to copy all.
  __device__ void copy(const uint32_t* from) const {
    constexpr int row_pieces = words / 4;
    for (int i = threadIdx.x; i < rows * row_pieces; i += blockDim.x) {
      const int row = i / row_pieces, piece = i % row_pieces * 4;
      Copies<1> copies;
      copies.start(0, data + row * stride + piece, from + i * 4);
      copies.store();
    }
  }
};

/// One head's cache block in shared memory.
template <int head_dim>
struct Stage {
  using Keys = Words<head_dim / 4, kv_block>;
  using Values = Words<kv_block / 4, head_dim>;
  static constexpr int words = Keys::size + Values::size + 2 * kv_block;
  Keys keys;
  Values values;
  float *key_scales, *value_scales;

  __device__ explicit Stage(uint32_t* shared)
      : keys{shared},
        values{shared + Keys::size},
        key_scales(reinterpret_cast<float*>(shared + Keys::size + Values::size)),
        value_scales(key_scales + kv_block) {}

  __device__ void copy(const CacheBlockS8& block) const {
    keys.copy(block.keys);
    values.copy(block.values);
    constexpr int pieces = kv_block / 4;
    const int i = static_cast<int>(threadIdx.x);
    if (i >= 2 * pieces) return;
    Copies<1> copies;
    copies.start(0, key_scales + 4 * i,
                 i < pieces ? block.key_scales + 4 * i : block.value_scales + 4 * (i - pieces));
    copies.store();
  }
};

/// A warp's rows: two a lane, lane / 4 of the warp's 16 and 8 below.
template <int head_dim>
class WarpRows {
  static constexpr int steps = head_dim / 32, parts = kv_block / 16, dim_parts = head_dim / 16;

 public:
  __device__ WarpRows(const PrefillAttentionS8& a, const QueryRows<1>& rows) : rows_(rows) {
    const int q = static_cast<int>(threadIdx.x) % 4;
    uint32_t words[2][2 * steps];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int64_t index = rows.row(i) * a.heads.num_heads + rows.head(i);
      const auto* from = reinterpret_cast<const uint32_t*>(a.queries + index * head_dim);
#pragma unroll
      for (int w = 0; w < 2 * steps; ++w) words[i][w] = from[4 * w + q];
      // With log2(e), so that the softmax takes powers of two.
      scale_[i] = a.query_scale[index] * a.scale * 1.44269504f;
    }
#pragma unroll
    for (int k = 0; k < steps; ++k)
      query_[k] =
          make_uint4(words[0][2 * k], words[1][2 * k], words[0][2 * k + 1], words[1][2 * k + 1]);
  }

  /// block: which of the sequence's; whole: all its positions are seen by all rows.
  __device__ void add_block(const Stage<head_dim>& stage, int block, bool whole) {
    score(stage);
    if (!whole) hide(block);
    uint4 weights[parts / 2];
    float unit[2], factor[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      factor[i] = weigh(i);
      unit[i] = quantize_weights(stage, i, weights);
    }
    add_values(stage, weights, unit, factor);
  }

  __device__ void store(const PrefillAttentionS8& a) const {
    const int q = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float sum = combine_quad(sum_[i], Sum());
      if (!rows_.there(i)) continue;
      float* to = a.out + rows_.row(i) * a.out_stride + rows_.head(i) * head_dim + 4 * q;
#pragma unroll
      for (int d = 0; d < dim_parts; ++d) {
        const auto value = [&](int j) { return out_[d][j % 2][2 * i + j / 2] / sum; };
        *reinterpret_cast<float4*>(to + 16 * d) =
            make_float4(value(0), value(1), value(2), value(3));
      }
    }
  }

 private:
  __device__ static void start(int (&sums)[2][4]) {
#pragma unroll
    for (int i = 0; i < 8; ++i) sums[i / 4][i % 4] = sum_start;
  }

  /// score_[m][i][j]: row i, position 16 m + 4 q + j of the block.
  __device__ void score(const Stage<head_dim>& stage) {
    const int q = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int m = 0; m < parts; ++m) {
      int sums[2][4];
      start(sums);
#pragma unroll
      for (int k = 0; k < steps; ++k) {
        const uint2 low = stage.keys.pair(8 * k + q, m), high = stage.keys.pair(8 * k + 4 + q, m);
        mma_s8(sums[0], query_[k], low.x, high.x);
        mma_s8(sums[1], query_[k], low.y, high.y);
      }
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j)
          score_[m][i][j] = sum_value(sums[j % 2][2 * i + j / 2]) *
                            (stage.key_scales[16 * m + 4 * q + j] * scale_[i]);
    }
  }

  __device__ void hide(int block) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int seen =
          rows_.position(i) - block * int{kv_block} - static_cast<int>(threadIdx.x) % 4 * 4;
#pragma unroll
      for (int m = 0; m < parts; ++m)
#pragma unroll
        for (int j = 0; j < 4; ++j)
          if (16 * m + j > seen) score_[m][i][j] = -INFINITY;
    }
  }

  /// Scores of row i become weights; returns what results so far are to be multiplied by.
  __device__ float weigh(int i) {
    float block_max = -INFINITY;
#pragma unroll
    for (int m = 0; m < parts; ++m)
#pragma unroll
      for (int j = 0; j < 4; ++j) block_max = fmaxf(block_max, score_[m][i][j]);
    const float larger = fmaxf(max_[i], combine_quad(block_max, Larger()));
    const float factor = power_of_two(max_[i] - larger);
    max_[i] = larger;
    sum_[i] *= factor;
#pragma unroll
    for (int m = 0; m < parts; ++m)
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        score_[m][i][j] = power_of_two(score_[m][i][j] - larger);
        sum_[i] += score_[m][i][j];
      }
    return factor;
  }

  /// Row i's weights, times their values' scales, as operands; returns their scale.
  __device__ float quantize_weights(const Stage<head_dim>& stage, int i,
                                    uint4 (&weights)[parts / 2]) {
    const int q = static_cast<int>(threadIdx.x) % 4;
    float largest = 0;
#pragma unroll
    for (int m = 0; m < parts; ++m)
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        score_[m][i][j] *= stage.value_scales[16 * m + 4 * q + j];
        largest = fmaxf(largest, score_[m][i][j]);
      }
    const WeightQuantizer quantize(combine_quad(largest, Larger()));
#pragma unroll
    for (int m = 0; m < parts; ++m) {
      uint32_t word = 0;
#pragma unroll
      for (int j = 0; j < 4; ++j) word |= quantize(score_[m][i][j]) << (8 * j);
      uint4& of_two = weights[m / 2];
      (m % 2 == 0 ? (i == 0 ? of_two.x : of_two.y) : (i == 0 ? of_two.z : of_two.w)) = word;
    }
    return quantize.scale;
  }

  /// out_[d][p][2 i + e]: row i, dimension 16 d + 4 q + 2 e + p.
  __device__ void add_values(const Stage<head_dim>& stage, const uint4 (&weights)[parts / 2],
                             const float (&unit)[2], const float (&factor)[2]) {
    const int q = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int d = 0; d < dim_parts; ++d) {
      int sums[2][4];
      start(sums);
#pragma unroll
      for (int t = 0; t < parts / 2; ++t) {
        const uint2 low = stage.values.pair(8 * t + q, d),
                    high = stage.values.pair(8 * t + 4 + q, d);
        mma_u8s8(sums[0], weights[t], low.x, high.x);
        mma_u8s8(sums[1], weights[t], low.y, high.y);
      }
#pragma unroll
      for (int p = 0; p < 2; ++p)
#pragma unroll
        for (int r = 0; r < 4; ++r)
          out_[d][p][r] = fmaf(sum_value(sums[p][r]), unit[r / 2], out_[d][p][r] * factor[r / 2]);
    }
  }

  const QueryRows<1>& rows_;
  uint4 query_[steps];
  float scale_[2];
  float score_[parts][2][4];
  float max_[2] = {-INFINITY, -INFINITY}, sum_[2] = {};  // the sum is of the lane's own positions
  float out_[dim_parts][2][4] = {};
};

template <int head_dim, int threads>
__global__ void __launch_bounds__(threads, 256 / threads)
    attention_prefill_s8_kernel(PrefillAttentionS8 a) {
  allow_next_kernel();
  wait_previous_kernels();
  const AttentionTile tile = a.tile[a.tiles - 1 - blockIdx.y];  // the longest first
  const int64_t kv_head = blockIdx.x;
  const QueryRows<1> rows(a.heads, tile, kv_head);
  std::byte* const* const table = a.step[tile.first_row].blocks;
  const auto stage = [&](int block) {
    return Stage<head_dim>(dynamic_shared<uint32_t>() + block % 2 * Stage<head_dim>::words);
  };
  const auto copy = [&](int block) {
    stage(block).copy(CacheBlockS8(a.heads, table, block, kv_head));
  };
  const int blocks = rows.cache_blocks(), whole_blocks = rows.whole_blocks();
  copy(0);
  commit_copies();
  WarpRows<head_dim> warp_rows(a, rows);
  for (int block = 0; block < blocks; ++block) {
    if (block + 1 < blocks) copy(block + 1);
    commit_copies();
    wait_copies<1>();
    __syncthreads();
    warp_rows.add_block(stage(block), block, block < whole_blocks);
    __syncthreads();
  }
  warp_rows.store(a);
}

template <int threads>
auto kernel_for(int64_t head_dim) {
  return head_dim == 32   ? attention_prefill_s8_kernel<32, threads>
         : head_dim == 64 ? attention_prefill_s8_kernel<64, threads>
                          : attention_prefill_s8_kernel<128, threads>;
}
constexpr int64_t stage_words(int64_t head_dim) {
  return head_dim == 32 ? Stage<32>::words : head_dim == 64 ? Stage<64>::words : Stage<128>::words;
}
static_assert(2 * 4 * stage_words(128) <= max_shared_bytes);

}  // namespace

void attention_prefill_s8(const PrefillAttentionS8& attention, const Queue& queue) {
  const Heads& heads = attention.heads;
  const bool few = attention.query_rows == query_rows(128, 1);
  launch(few ? kernel_for<128>(heads.head_dim) : kernel_for<256>(heads.head_dim),
         {dim3(extent(heads.num_kv_heads), extent(attention.tiles)), few ? 128 : 256,
          spread_bytes(2 * 4 * stage_words(heads.head_dim), heads.num_kv_heads * attention.tiles,
                       queue.architecture, queue.multiprocessors, queue.shared_bytes)},
         queue, attention);
}

}  // namespace octet::kernels::cuda
