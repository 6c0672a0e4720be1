#pragma once
// What exact attention (attention_exact.cu) does over a cache of either type: scores of a cache
// block, and what a span's values add to results. A lane has two neighbouring positions of a block
// and two neighbouring dimensions of each 64, so that a warp reads whole rows of the cache.
#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/exact_float.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/quantize_row.cuh"
#include "kernels/cuda/rotate.cuh"

namespace octet::kernels::cuda {

/// Blocks of kv_block positions that a span has.
constexpr int span_blocks = static_cast<int>(kv_span / kv_block);

/// A block's shared memory, for so many query rows. Sixteen and four words more a row: neighbouring
/// rows lie in different banks.
template <int rows, class Query>
struct ExactShared {
  float scores[rows][kv_span + 16];  ///< then weights; of an int8 cache as bytes
  alignas(16) Query queries[max_head_dim][rows + 4];
  float query_scale[rows], weight_scale[rows][span_blocks];  ///< of an int8 cache
  float max[rows], sum[rows];  ///< of the softmax, up to the span before
  float old_factor[rows], added_factor[rows];
};

/// A query row: of which row of the step, which head, and the positions that it sees.
struct ExactRow {
  int64_t row;
  int head, length;
};

/// The first `rows` of a row of shared memory.
template <int rows, class T>
struct Several {
  T value[rows];
  __device__ explicit Several(const T* shared) {
    if constexpr (rows == 4) {
      const uint4 all = *reinterpret_cast<const uint4*>(shared);
      value[0] = from_bits(all.x), value[1] = from_bits(all.y);
      value[2] = from_bits(all.z), value[3] = from_bits(all.w);
    } else {
#pragma unroll
      for (int r = 0; r < rows; ++r) value[r] = shared[r];
    }
  }

 private:
  __device__ static T from_bits(uint32_t bits) {
    if constexpr (sizeof(T) == sizeof(uint32_t) && !std::is_same_v<T, uint32_t>)
      return __uint_as_float(bits);
    else
      return bits;
  }
};

struct ExactF16 {
  using Query = float;
  template <int rows>
  using Shared = ExactShared<rows, Query>;

  /// A warp's query, rotated, to column r.
  template <int rows>
  __device__ static void load_query(const ExactAttention& a, const ExactRow& row,
                                    Shared<rows>& shared, int r) {
    const int head_dim = static_cast<int>(a.heads.head_dim);
    RotatedHead query;
    query.read(a.qkv.q + row.row * a.qkv.stride + row.head * head_dim, head_dim / 2);
    query.turn(RotaryAngles(a.qkv.angles + row.row * head_dim, head_dim / 2), a.qkv.q_norm,
               a.qkv.eps);
    query.each([&](int d, float value) { shared.queries[d][r] = value; });
  }

  /// Scores of `count` rows from r on over a block.
  template <int count, int rows>
  __device__ static void score(const ExactAttention& a, const CacheBlock& block,
                               Shared<rows>& shared, int r, float (&scores)[count][2]) {
    const auto* keys = reinterpret_cast<const uint32_t*>(block.keys) + threadIdx.x % 32;
    const auto head_dim = static_cast<int>(a.heads.head_dim);
#pragma unroll 8
    for (int d = 0; d < head_dim; ++d) {
      const float2 key = unpack_halves(keys[d * (kv_block / 2)]);
      const Several<count, float> query(&shared.queries[d][r]);
#pragma unroll
      for (int i = 0; i < count; ++i) {
        scores[i][0] = fmaf(query.value[i], key.x, scores[i][0]);
        scores[i][1] = fmaf(query.value[i], key.y, scores[i][1]);
      }
    }
#pragma unroll
    for (int i = 0; i < count; ++i) scores[i][0] *= a.scale, scores[i][1] *= a.scale;
  }

  template <int rows>
  __device__ static void finish_weights(const ExactAttention&, std::byte* const*, int, int, int,
                                        Shared<rows>&, int) {}

  /// added += weights of `count` rows from r on times the values of a block's first `filled`
  /// positions, in their order.
  template <int count, int pairs, int rows>
  __device__ static void add_values(const ExactAttention& a, const CacheBlock& block, int number,
                                    int filled, const Shared<rows>& shared, int r,
                                    const int (&dims)[pairs], float (&added)[count][pairs][2]) {
    const int head_dim = static_cast<int>(a.heads.head_dim);
#pragma unroll 2
    for (int j = 0; j < filled; j += 4) {
      float2 value[4][pairs];
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int p = 0; p < pairs; ++p)
          value[i][p] = j + i < filled && dims[p] < head_dim
                            ? unpack_halves(*reinterpret_cast<const uint32_t*>(
                                  block.values + (j + i) * head_dim + dims[p]))
                            : make_float2(0, 0);
#pragma unroll
      for (int row = 0; row < count; ++row) {
        const Several<4, float> weight(&shared.scores[r + row][number * int{kv_block} + j]);
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int p = 0; p < pairs; ++p) {
            added[row][p][0] = fmaf(weight.value[i], value[i][p].x, added[row][p][0]);
            added[row][p][1] = fmaf(weight.value[i], value[i][p].y, added[row][p][1]);
          }
      }
    }
  }
  using Block = CacheBlock;
};

struct ExactS8 {
  using Query = uint32_t;
  using Block = CacheBlockS8;
  template <int rows>
  using Shared = ExactShared<rows, Query>;

  template <int rows>
  __device__ static void load_query(const ExactAttention& a, const ExactRow& row,
                                    Shared<rows>& shared, int r) {
    const int words = static_cast<int>(a.heads.head_dim) / 4, lane = threadIdx.x % 32;
    const int64_t index = row.row * a.heads.num_heads + row.head;
    if (lane < words)
      shared.queries[lane][r] = reinterpret_cast<const uint32_t*>(a.queries)[index * words + lane];
    if (lane == 0) shared.query_scale[r] = a.query_scale[index] * a.scale;
  }

  template <int count, int rows>
  __device__ static void score(const ExactAttention& a, const Block& block, Shared<rows>& shared,
                               int r, float (&scores)[count][2]) {
    const int words = static_cast<int>(a.heads.head_dim) / 4, lane = threadIdx.x % 32;
    const auto* keys = reinterpret_cast<const uint2*>(block.keys) + lane;
    int sums[count][2] = {};
#pragma unroll 8
    for (int c = 0; c < words; ++c) {
      const uint2 key = keys[c * (kv_block / 2)];
      const Several<count, uint32_t> query(&shared.queries[c][r]);
#pragma unroll
      for (int i = 0; i < count; ++i) {
        sums[i][0] = dot_s8(query.value[i], key.x, sums[i][0]);
        sums[i][1] = dot_s8(query.value[i], key.y, sums[i][1]);
      }
    }
    const float2 key_scale = reinterpret_cast<const float2*>(block.key_scales)[lane];
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const float scale = shared.query_scale[r + i];
      scores[i][0] = static_cast<float>(sums[i][0]) * (key_scale.x * scale);
      scores[i][1] = static_cast<float>(sums[i][1]) * (key_scale.y * scale);
    }
  }

  /// The weights of row r, of which sixteen lanes have every sixteenth position each, times their
  /// values' scales, as bytes in their place.
  template <int rows>
  __device__ static void finish_weights(const ExactAttention& a, std::byte* const* table,
                                        int first_block, int blocks, int kv_head,
                                        Shared<rows>& shared, int r) {
    constexpr int lanes = 16, held = static_cast<int>(kv_block) / lanes;
    const int lane = threadIdx.x % lanes;
    auto* const bytes = reinterpret_cast<uint8_t*>(shared.scores[r]);
    for (int b = 0; b < blocks; ++b) {
      const float* scales = Block(a.heads, table, first_block + b, kv_head).value_scales;
      float weight[held], largest = 0;
#pragma unroll
      for (int i = 0; i < held; ++i) {
        const float w = shared.scores[r][b * int{kv_block} + lanes * i + lane];
        // Scales behind the sequence are any.
        weight[i] = w == 0 ? 0.0f : w * scales[lanes * i + lane];
        largest = fmaxf(largest, weight[i]);
      }
#pragma unroll
      for (int distance = lanes / 2; distance > 0; distance /= 2)
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, distance));
      const WeightQuantizer quantize(largest);
      __syncwarp();  // all have read: the first bytes lie where the block's weights were
#pragma unroll
      for (int i = 0; i < held; ++i)
        bytes[b * int{kv_block} + lanes * i + lane] = static_cast<uint8_t>(quantize(weight[i]));
      if (lane == 0) shared.weight_scale[r][b] = quantize.scale;
      __syncwarp();
    }
  }

  template <int count, int pairs, int rows>
  __device__ static void add_values(const ExactAttention& a, const Block& block, int number,
                                    int filled, const Shared<rows>& shared, int r,
                                    const int (&dims)[pairs], float (&added)[count][pairs][2]) {
    const int head_dim = static_cast<int>(a.heads.head_dim),
              stride = static_cast<int>(padded_n(head_dim));
    int sums[count][pairs][2] = {};
#pragma unroll 4
    for (int group = 0; 4 * group < filled; ++group) {
      uint2 value[pairs];
#pragma unroll
      for (int p = 0; p < pairs; ++p)
        value[p] = dims[p] < head_dim
                       ? *reinterpret_cast<const uint2*>(block.values + group * stride + dims[p])
                       : make_uint2(0, 0);
#pragma unroll
      for (int row = 0; row < count; ++row) {
        const uint32_t weight = reinterpret_cast<const uint32_t*>(
            shared.scores[r + row])[number * int{kv_block} / 4 + group];
#pragma unroll
        for (int p = 0; p < pairs; ++p) {
          sums[row][p][0] = dot_u8s8(weight, value[p].x, sums[row][p][0]);
          sums[row][p][1] = dot_u8s8(weight, value[p].y, sums[row][p][1]);
        }
      }
    }
#pragma unroll
    for (int row = 0; row < count; ++row) {
      const float scale = shared.weight_scale[r + row][number];
#pragma unroll
      for (int p = 0; p < pairs; ++p)
#pragma unroll
        for (int i = 0; i < 2; ++i)
          added[row][p][i] = fmaf(static_cast<float>(sums[row][p][i]), scale, added[row][p][i]);
    }
  }
};

}  // namespace octet::kernels::cuda
