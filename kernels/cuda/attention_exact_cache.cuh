#pragma once
// What exact attention (attention_exact.cu) does over a cache of either type: scores of a cache
// block, and what its values add to results. A lane has two neighbouring positions of a block and
// two neighbouring dimensions of each 64, so that a warp reads whole rows of the cache.
#include <type_traits>

#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/exact_float.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/quantize_row.cuh"
#include "kernels/cuda/rotate.cuh"

namespace octet::kernels::cuda {

/// Blocks of kv_block positions that a span has.
constexpr int span_blocks = static_cast<int>(kv_span / kv_block);

/// A block's shared memory, for so many query rows. Some words more a row: neighbouring rows lie in
/// different banks.
template <int rows>
struct ExactShared {
  float scores[rows][kv_span + 16];  ///< then weights
  float block_max[rows][span_blocks];
  float max[rows], sum[rows];  ///< of the softmax, up to the span before
  float old_factor[rows], added_factor[rows];
};

/// A query row: of which row of the step, which head, and the positions that it sees.
struct ExactRow {
  int64_t row;
  int head, length;
};

/// Neighbours in shared memory.
template <int count, class T>
struct Several {
  T value[count];
  __device__ explicit Several(const T* shared) {
    if constexpr (count == 4) {
      const uint4 all = *reinterpret_cast<const uint4*>(shared);
      value[0] = of_bits(all.x), value[1] = of_bits(all.y);
      value[2] = of_bits(all.z), value[3] = of_bits(all.w);
    } else {
#pragma unroll
      for (int i = 0; i < count; ++i) value[i] = shared[i];
    }
  }

 private:
  __device__ static T of_bits(uint32_t bits) {
    if constexpr (std::is_same_v<T, float>)
      return __uint_as_float(bits);
    else
      return bits;
  }
};

struct ExactF16 {
  using Block = CacheBlock;
  static constexpr int value_bytes = 2;
  template <int rows>
  struct Shared : ExactShared<rows> {
    alignas(16) float queries[max_head_dim][rows + 4];
  };

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

  /// Scores of `count` rows from r on over a block. What is read at a time hides the memory's
  /// latency; with few rows there are registers for more of it.
  template <int count, int rows>
  __device__ static void score(const ExactAttention& a, const Block& block,
                               const Shared<rows>& shared, int r, float (&scores)[count][2]) {
    constexpr int batch = count > 2 ? 16 : 64;
    const auto* keys = reinterpret_cast<const uint32_t*>(block.keys) + threadIdx.x % 32;
    const auto head_dim = static_cast<int>(a.heads.head_dim);
    for (int first = 0; first < head_dim; first += batch) {
      uint32_t word[batch];
#pragma unroll
      for (int i = 0; i < batch; ++i)
        word[i] = first + i < head_dim ? keys[(first + i) * (kv_block / 2)] : 0;
#pragma unroll
      for (int i = 0; i < batch; ++i) {
        if (i % 8 == 0 && first + i >= head_dim) break;  // a multiple of 8
        const float2 key = unpack_halves(word[i]);
        const Several<count, float> query(&shared.queries[first + i][r]);
#pragma unroll
        for (int row = 0; row < count; ++row) {
          scores[row][0] = fmaf(query.value[row], key.x, scores[row][0]);
          scores[row][1] = fmaf(query.value[row], key.y, scores[row][1]);
        }
      }
    }
#pragma unroll
    for (int row = 0; row < count; ++row) scores[row][0] *= a.scale, scores[row][1] *= a.scale;
  }

  template <int rows>
  __device__ static void finish_weights(const Block&, Shared<rows>&, int, int) {}

  /// added += weights of `count` rows from r on times the values of block `number` of the span,
  /// whose first `filled` positions are there, in their order.
  template <int count, int pairs, int rows>
  __device__ static void add_values(const ExactAttention& a, const Block& block, int number,
                                    int filled, const Shared<rows>& shared, int r,
                                    const int (&dims)[pairs], float (&added)[count][pairs][2]) {
    constexpr int batch = count > 1 ? 8 : 32;
    const int head_dim = static_cast<int>(a.heads.head_dim);
    for (int first = 0; first < filled; first += batch) {
      uint32_t word[batch][pairs];
#pragma unroll
      for (int i = 0; i < batch; ++i)
#pragma unroll
        for (int p = 0; p < pairs; ++p)
          word[i][p] = first + i < filled && dims[p] < head_dim
                           ? *reinterpret_cast<const uint32_t*>(block.values +
                                                                (first + i) * head_dim + dims[p])
                           : 0;
#pragma unroll
      for (int i = 0; i < batch; i += 4) {
        if (first + i >= filled) break;
#pragma unroll
        for (int row = 0; row < count; ++row) {
          const Several<4, float> weight(
              &shared.scores[r + row][number * int{kv_block} + first + i]);
#pragma unroll
          for (int j = 0; j < 4; ++j)
#pragma unroll
            for (int p = 0; p < pairs; ++p) {
              const float2 value = unpack_halves(word[i + j][p]);
              added[row][p][0] = fmaf(weight.value[j], value.x, added[row][p][0]);
              added[row][p][1] = fmaf(weight.value[j], value.y, added[row][p][1]);
            }
        }
      }
    }
  }
};

struct ExactS8 {
  using Block = CacheBlockS8;
  static constexpr int value_bytes = 1;
  template <int rows>
  struct Shared : ExactShared<rows> {
    alignas(16) uint32_t queries[max_head_dim / 4][rows + 4];
    float query_scale[rows];
    uint32_t weights[rows][kv_span / 4 + 4];
    float weight_scale[rows][span_blocks];
  };

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
  __device__ static void score(const ExactAttention& a, const Block& block,
                               const Shared<rows>& shared, int r, float (&scores)[count][2]) {
    const int words = static_cast<int>(a.heads.head_dim) / 4, lane = threadIdx.x % 32;
    const auto* keys = reinterpret_cast<const uint2*>(block.keys) + lane;
    int sums[count][2] = {};
#pragma unroll 16
    for (int c = 0; c < words; ++c) {
      const uint2 key = keys[c * (kv_block / 2)];
      const Several<count, uint32_t> query(&shared.queries[c][r]);
#pragma unroll
      for (int row = 0; row < count; ++row) {
        sums[row][0] = dot_s8(query.value[row], key.x, sums[row][0]);
        sums[row][1] = dot_s8(query.value[row], key.y, sums[row][1]);
      }
    }
    const float2 key_scale = reinterpret_cast<const float2*>(block.key_scales)[lane];
#pragma unroll
    for (int row = 0; row < count; ++row) {
      const float scale = shared.query_scale[r + row];
      scores[row][0] = static_cast<float>(sums[row][0]) * (key_scale.x * scale);
      scores[row][1] = static_cast<float>(sums[row][1]) * (key_scale.y * scale);
    }
  }

  /// The weights of row r for block `number` of the span, times their values' scales, as bytes: by
  /// sixteen lanes.
  template <int rows>
  __device__ static void finish_weights(const Block& block, Shared<rows>& shared, int r,
                                        int number) {
    constexpr int lanes = 16;
    const int lane = threadIdx.x % lanes, first = number * int{kv_block} + 4 * lane;
    float weight[4], largest = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float w = shared.scores[r][first + i];
      // Scales of positions behind the sequence may be anything.
      weight[i] = w == 0 ? 0.0f : w * block.value_scales[4 * lane + i];
      largest = fmaxf(largest, weight[i]);
    }
#pragma unroll
    for (int distance = lanes / 2; distance > 0; distance /= 2)
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, distance));
    const WeightQuantizer quantize(largest);
    shared.weights[r][first / 4] = quantize(weight[0]) | quantize(weight[1]) << 8 |
                                   quantize(weight[2]) << 16 | quantize(weight[3]) << 24;
    if (lane == 0) shared.weight_scale[r][number] = quantize.scale;
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
        const uint32_t weight = shared.weights[r + row][number * int{kv_block} / 4 + group];
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
