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

/// use(i, value i) for 0 <= i < count, in this order, and for some behind them, whose values are
/// zeros. load(first, values, whole) gives a batch of them; whole: all are there. What is loaded at
/// a time, and one batch ahead, hides the memory's latency.
template <int batch, class Value, class Load, class Use>
__device__ inline void in_batches(int count, const Load& load, const Use& use) {
  Value now[batch], next[batch];
  const auto load_next = [&](int first) {
    if (first + batch <= count)
      load(first, next, true);
    else
      load(first, next, false);
  };
  load_next(0);
#pragma unroll 1
  for (int first = 0; first < count; first += batch) {
#pragma unroll
    for (int i = 0; i < batch; ++i) now[i] = next[i];
    if (first + batch < count) load_next(first + batch);
#pragma unroll
    for (int i = 0; i < batch; ++i) use(first + i, now[i]);
  }
}

/// dim: heads' dimensions, where code is made for them; 0: any.
template <int dim>
__device__ inline int head_dim_of(const ExactAttention& a) {
  return dim > 0 ? dim : static_cast<int>(a.heads.head_dim);
}

template <int dim>
struct ExactF16 {
  using Block = CacheBlock;
  static constexpr int value_bytes = 2;
  template <int rows>
  struct Shared : ExactShared<rows> {
    alignas(16) float queries[max_head_dim][rows + 4];
  };

  /// A warp's query, rotated, to column r; zeros behind it.
  template <int rows>
  __device__ static void load_query(const ExactAttention& a, const ExactRow& row,
                                    Shared<rows>& shared, int r) {
    const int head_dim = head_dim_of<dim>(a);
    RotatedHead query;
    query.read(a.qkv.q + row.row * a.qkv.stride + row.head * head_dim, head_dim / 2);
    query.turn(RotaryAngles(a.qkv.angles + row.row * head_dim, head_dim / 2), a.qkv.q_norm,
               a.qkv.eps);
    query.each([&](int d, float value) { shared.queries[d][r] = value; });
    for (int d = head_dim + static_cast<int>(threadIdx.x) % 32; d < max_head_dim; d += 32)
      shared.queries[d][r] = 0;
  }

  /// Scores of `count` rows from r on over a block.
  template <int count, int rows>
  __device__ static void score(const ExactAttention& a, const Block& block,
                               const Shared<rows>& shared, int r, float (&scores)[count][2]) {
    constexpr int batch = count > 2 ? 8 : 32;
    const auto* keys = reinterpret_cast<const uint32_t*>(block.keys) + threadIdx.x % 32;
    const int head_dim = head_dim_of<dim>(a);
    in_batches<batch, uint32_t>(
        head_dim,
        [&](int first, uint32_t(&word)[batch], bool whole) {
#pragma unroll
          for (int i = 0; i < batch; ++i)
            word[i] = whole || first + i < head_dim ? keys[(first + i) * (kv_block / 2)] : 0;
        },
        [&](int d, uint32_t word) {
          const float2 key = unpack_halves(word);
          const Several<count, float> query(&shared.queries[d][r]);
#pragma unroll
          for (int row = 0; row < count; ++row) {
            scores[row][0] = fmaf(query.value[row], key.x, scores[row][0]);
            scores[row][1] = fmaf(query.value[row], key.y, scores[row][1]);
          }
        });
#pragma unroll
    for (int row = 0; row < count; ++row) scores[row][0] *= a.scale, scores[row][1] *= a.scale;
  }

  template <int rows>
  __device__ static void finish_weights(const Block&, Shared<rows>&, int, int) {}

  /// added += weights of `count` rows from r on times the values of a span's positions, in their
  /// order. block_of(number): the span's block. Weights behind the positions are zeros; results of
  /// dimensions that a head has not may be anything.
  template <int count, int pairs, int rows, class BlockOf>
  __device__ static void add_values(const ExactAttention& a, const BlockOf& block_of, int positions,
                                    const Shared<rows>& shared, int r, const int (&dims)[pairs],
                                    float (&added)[count][pairs][2]) {
    constexpr int together = 4, batch = count > 2 ? 4 : count > 1 ? 8 : 32;
    struct Value {
      uint32_t word[pairs];
    };
    const int head_dim = head_dim_of<dim>(a);
    float weight[count][together];
    in_batches<batch, Value>(
        positions,
        [&](int first, Value(&values)[batch], bool whole) {
          const uint16_t* const from =
              block_of(first / int{kv_block}).values + first % int{kv_block} * head_dim;
#pragma unroll
          for (int p = 0; p < pairs; ++p) {
            const auto* of_pair =
                reinterpret_cast<const uint32_t*>(from + min(dims[p], head_dim - 2));
#pragma unroll
            for (int i = 0; i < batch; ++i)
              values[i].word[p] = whole || first + i < positions ? of_pair[i * head_dim / 2] : 0;
          }
        },
        [&](int position, const Value& values) {
          if (position % together == 0)
#pragma unroll
            for (int row = 0; row < count; ++row) {
              const Several<together, float> next(&shared.scores[r + row][position]);
#pragma unroll
              for (int i = 0; i < together; ++i) weight[row][i] = next.value[i];
            }
#pragma unroll
          for (int row = 0; row < count; ++row)
#pragma unroll
            for (int p = 0; p < pairs; ++p) {
              const float2 value = unpack_halves(values.word[p]);
              const float w = weight[row][position % together];
              added[row][p][0] = fmaf(w, value.x, added[row][p][0]);
              added[row][p][1] = fmaf(w, value.y, added[row][p][1]);
            }
        });
  }
};

template <int dim>
struct ExactS8 {
  using Block = CacheBlockS8;
  static constexpr int value_bytes = 1;
  static constexpr int weight_words = static_cast<int>(kv_span / 4) + 4;
  template <int rows>
  struct Shared : ExactShared<rows> {
    alignas(16) uint32_t queries[max_head_dim / 4][rows + 4];
    float query_scale[rows];
    uint32_t weights[rows][weight_words];
    float weight_scale[rows][span_blocks];
  };

  template <int rows>
  __device__ static void load_query(const ExactAttention& a, const ExactRow& row,
                                    Shared<rows>& shared, int r) {
    const int words = head_dim_of<dim>(a) / 4, lane = threadIdx.x % 32;
    const int64_t index = row.row * a.heads.num_heads + row.head;
    shared.queries[lane][r] =
        lane < words ? reinterpret_cast<const uint32_t*>(a.queries)[index * words + lane] : 0;
    if (lane == 0) shared.query_scale[r] = a.query_scale[index] * a.scale;
  }

  template <int count, int rows>
  __device__ static void score(const ExactAttention& a, const Block& block,
                               const Shared<rows>& shared, int r, float (&scores)[count][2]) {
    constexpr int batch = count > 2 ? 8 : 16;
    const int words = head_dim_of<dim>(a) / 4, lane = threadIdx.x % 32;
    const auto* keys = reinterpret_cast<const uint2*>(block.keys) + lane;
    int sums[count][2] = {};
    in_batches<batch, uint2>(
        words,
        [&](int first, uint2(&word)[batch], bool whole) {
#pragma unroll
          for (int i = 0; i < batch; ++i)
            word[i] =
                whole || first + i < words ? keys[(first + i) * (kv_block / 2)] : make_uint2(0, 0);
        },
        [&](int c, const uint2& key) {
          const Several<count, uint32_t> query(&shared.queries[c][r]);
#pragma unroll
          for (int row = 0; row < count; ++row) {
            sums[row][0] = dot_s8(query.value[row], key.x, sums[row][0]);
            sums[row][1] = dot_s8(query.value[row], key.y, sums[row][1]);
          }
        });
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

  template <int count, int pairs, int rows, class BlockOf>
  __device__ static void add_values(const ExactAttention& a, const BlockOf& block_of, int positions,
                                    const Shared<rows>& shared, int r, const int (&dims)[pairs],
                                    float (&added)[count][pairs][2]) {
    for (int number = 0; number * int{kv_block} < positions; ++number) {
      int sums[count][pairs][2] = {};
      add_block(a, block_of(number), &shared.weights[r][number * int{kv_block} / 4], dims, sums);
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
  }

 private:
  /// weights: of the first row, four positions a word; zeros behind those that are there.
  template <int count, int pairs>
  __device__ static void add_block(const ExactAttention& a, const Block& block,
                                   const uint32_t* weights, const int (&dims)[pairs],
                                   int (&sums)[count][pairs][2]) {
    constexpr int batch = count > 2 ? 4 : 16, groups = static_cast<int>(kv_block) / 4;
    struct Value {
      uint2 word[pairs];
    };
    const int head_dim = head_dim_of<dim>(a), stride = static_cast<int>(padded_n(head_dim));
    in_batches<batch, Value>(
        groups,
        [&](int first, Value(&values)[batch], bool) {
#pragma unroll
          for (int p = 0; p < pairs; ++p) {
            const uint32_t* const of_pair =
                block.values + first * stride + min(dims[p], head_dim - 2);
#pragma unroll
            for (int i = 0; i < batch; ++i)
              values[i].word[p] = *reinterpret_cast<const uint2*>(of_pair + i * stride);
          }
        },
        [&](int group, const Value& values) {
#pragma unroll
          for (int row = 0; row < count; ++row) {
            const uint32_t weight = weights[row * weight_words + group];
#pragma unroll
            for (int p = 0; p < pairs; ++p) {
              sums[row][p][0] = dot_u8s8(weight, values.word[p].x, sums[row][p][0]);
              sums[row][p][1] = dot_u8s8(weight, values.word[p].y, sums[row][p][1]);
            }
          }
        });
  }
};

}  // namespace octet::kernels::cuda
