#pragma once
// Causal attention (kernels/types.h) for any vector width. Scores are vectors of neighbouring
// positions, outputs vectors of neighbouring dimensions: no sum across a vector but the softmax's.
// Six rows go together, so that a vector of keys or values, converted as it is loaded, serves six
// multiply-adds. A row's chain of operations is the same with however many others it goes.
#include <cmath>

#include "kernels/simd/vector.h"
#include "kernels/types.h"

namespace octet::kernels::simd {

/// Vectors that a row of the tile is wide: 12 accumulators of AVX2's 16 registers, 24 of the 32 of
/// AVX-512 and NEON.
template <class Arch>
constexpr int tile_vectors = Vector<Arch>::size == 8 ? 2 : 4;

/// Sums of `rows` x `width` vectors, to stay in registers.
template <class Arch, int rows, int width>
struct Tile {
  using Batch = typename Vector<Arch>::type;
  Batch sum[rows][width];

  Tile() {
#pragma GCC unroll 6
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
      for (int i = 0; i < width; ++i) sum[r][i] = Batch(0.0f);
  }
  /// sum[r] += factors[r * stride] * the `width` vectors at `from`, of which the last has `count`
  /// values. Meanwhile the vectors at `next`, the same place of the next block, come nearer: blocks
  /// are few pages long and far apart, so the processor does not see them coming.
  template <class Cached>
  void add(const float* factors, int64_t stride, const Cached* from, const Cached* next,
           int64_t count) {
    using V = Vector<Arch>;
    Batch vector[width];
    constexpr int64_t bytes = width * V::size * int64_t{sizeof(Cached)};
#pragma GCC unroll 4
    for (int64_t byte = 0; byte < bytes; byte += 64)
      __builtin_prefetch(reinterpret_cast<const char*>(next) + byte, 0, 2);
#pragma GCC unroll 4
    for (int i = 0; i < width; ++i)
      vector[i] = width > 1 ? V::load(from + i * V::size) : load<Arch>(from, count);
#pragma GCC unroll 6
    for (int r = 0; r < rows; ++r) {
      const Batch factor(factors[r * stride]);
#pragma GCC unroll 4
      for (int i = 0; i < width; ++i) sum[r][i] = V::fma(factor, vector[i], sum[r][i]);
    }
  }
};

/// scores[r * kv_span + j] = (q_r . k_j) * scale for the 64 positions of a block, whatever they
/// hold.
template <class Arch, int rows, class Cached>
void score_block(const float* q, int64_t q_stride, const Cached* keys, const Cached* next,
                 int64_t head_dim, float scale, float* scores) {
  using V = Vector<Arch>;
  constexpr int width = tile_vectors<Arch>;
  for (int64_t j = 0; j < kv_block; j += width * V::size) {
    Tile<Arch, rows, width> tile;
    for (int64_t d = 0; d < head_dim; ++d)
      tile.add(q + d, q_stride, keys + d * kv_block + j, next + d * kv_block + j, V::size);
#pragma GCC unroll 6
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
      for (int i = 0; i < width; ++i)
        V::store(scores + r * kv_span + j + i * V::size, tile.sum[r][i] * typename V::type(scale));
  }
}

/// The running maximum of a row and its sum; and what a merge multiplies the two sides by.
struct Softmax {
  float max;
  float sum;
};
struct Factors {
  float old;
  float added;
};

/// Merges `added` into `row`.
inline Factors merge(Softmax& row, const Softmax& added) {
  const float max = added.max > row.max ? added.max : row.max;
  // An empty side's maximum is -inf; two of them would differ by NaN.
  const Factors factors{row.max == max ? 1.0f : std::exp(row.max - max),
                        added.max == max ? 1.0f : std::exp(added.max - max)};
  row = {max, row.sum * factors.old + added.sum * factors.added};
  return factors;
}

/// One vector of outputs, merged.
template <class Arch>
typename Vector<Arch>::type merged(typename Vector<Arch>::type old,
                                   typename Vector<Arch>::type added, const Factors& factors) {
  using Batch = typename Vector<Arch>::type;
  return Vector<Arch>::fma(added, Batch(factors.added), old * Batch(factors.old));
}

/// scores[j] = exp(scores[j] - max) for j < count, then 0 up to `padded`, a multiple of 64.
template <class Arch>
Softmax exponentials(float* scores, int64_t count, int64_t padded) {
  using V = Vector<Arch>;
  using Batch = typename V::type;
  for (int64_t j = count; j < padded; ++j) scores[j] = count > 0 ? -INFINITY : 0.0f;
  if (count == 0) return {-INFINITY, 0};
  Batch largest(-INFINITY), sum(0.0f);
  for (int64_t j = 0; j < padded; j += V::size) largest = xsimd::max(largest, V::load(scores + j));
  const float max = V::max(largest);
  for (int64_t j = 0; j < padded; j += V::size) {
    const Batch weight = xsimd::exp(V::load(scores + j) - Batch(max));
    sum += weight;
    V::store(scores + j, weight);
  }
  return {max, V::sum(sum)};
}

/// Merges sum over j < positions of weights[r * kv_span + j] v_j into `width` vectors of the
/// outputs, those from dimension d on, of which the last has `count` values.
template <class Arch, int rows, int width, class Cached>
void add_values(const float* weights, const void* const* blocks, int64_t positions,
                int64_t head_dim, int64_t d, int64_t count, const Factors* factors, float* out) {
  using V = Vector<Arch>;
  Tile<Arch, rows, width> tile;
  for (int64_t first = 0; first < positions; first += kv_block) {
    const auto* values = static_cast<const Cached*>(blocks[first / kv_block]) + d;
    const bool last = first + kv_block >= positions;
    const auto* next = static_cast<const Cached*>(blocks[last ? 0 : first / kv_block + 1]) + d;
    const int64_t left = positions - first, filled = left < kv_block ? left : kv_block;
    for (int64_t j = 0; j < filled; ++j)
      tile.add(weights + first + j, kv_span, values + j * head_dim, next + j * head_dim, count);
  }
#pragma GCC unroll 6
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int i = 0; i < width; ++i) {
      float* to = out + r * attention_partial(head_dim) + d + i * V::size;
      store<Arch>(to, merged<Arch>(load<Arch>(to, count), tile.sum[r][i], factors[r]), count);
    }
}

/// Rows [row, row + rows) over the span that begins at `first`.
template <class Arch, class Cached, int rows>
void attend_tile(const Attention& a, int64_t row, int64_t first) {
  using V = Vector<Arch>;
  const int64_t end = first + kv_span < a.end ? first + kv_span : a.end;
  int64_t count[rows], longest = 0;
  for (int r = 0; r < rows; ++r) {
    const int64_t row_end = a.length[row + r] < end ? a.length[row + r] : end;
    count[r] = row_end > first ? row_end - first : 0;
    longest = count[r] > longest ? count[r] : longest;
  }
  if (longest == 0) return;
  const int64_t padded = (longest + kv_block - 1) / kv_block * kv_block;
  const void* const* keys = a.k_blocks + first / kv_block;
  const void* const* values = a.v_blocks + first / kv_block;
  float* const scores = a.scratch;
  for (int64_t j = 0; j < padded; j += kv_block) {
    const int64_t block = j / kv_block;
    const void* next = j + kv_block < padded ? keys[block + 1] : values[0];
    score_block<Arch, rows>(a.q + row * a.q_stride, a.q_stride,
                            static_cast<const Cached*>(keys[block]),
                            static_cast<const Cached*>(next), a.head_dim, a.scale, scores + j);
  }
  float* const out = a.partial + row * attention_partial(a.head_dim);
  Factors factors[rows];
  for (int r = 0; r < rows; ++r) {
    float* state = out + r * attention_partial(a.head_dim) + a.head_dim;
    Softmax softmax{state[0], state[1]};
    factors[r] = merge(softmax, exponentials<Arch>(scores + r * kv_span, count[r], padded));
    state[0] = softmax.max;
    state[1] = softmax.sum;
  }
  constexpr int width = tile_vectors<Arch>;
  int64_t d = 0;
  for (; d + width * V::size <= a.head_dim; d += width * V::size)
    add_values<Arch, rows, width, Cached>(scores, values, longest, a.head_dim, d, V::size, factors,
                                          out);
  each_vector<Arch>(a.head_dim - d, [&](int64_t i, int64_t n) {
    add_values<Arch, rows, 1, Cached>(scores, values, longest, a.head_dim, d + i, n, factors, out);
  });
}

/// attend_tile for `rows` at run time, at most `most`.
template <class Arch, class Cached, int most = int{attention_rows}>
void attend_rows(const Attention& a, int64_t row, int64_t rows, int64_t first) {
  if constexpr (most > 1)
    if (rows < most) return attend_rows<Arch, Cached, most - 1>(a, row, rows, first);
  attend_tile<Arch, Cached, most>(a, row, first);
}

template <class Arch, class Cached>
void attention(const Attention& a) {
  int64_t longest = 0;
  for (int64_t row = 0; row < a.rows; ++row) {
    float* partial = a.partial + row * attention_partial(a.head_dim);
    for (int64_t d = 0; d < a.head_dim; ++d) partial[d] = 0;
    partial[a.head_dim] = -INFINITY;
    partial[a.head_dim + 1] = 0;
    longest = a.length[row] > longest ? a.length[row] : longest;
  }
  // All rows over a span, while it is in the cache.
  for (int64_t first = a.first; first < a.end && first < longest; first += kv_span)
    for (int64_t row = 0; row < a.rows; row += attention_rows)
      attend_rows<Arch, Cached>(a, row, a.rows - row, first);
}

template <class Arch>
void merge_partials(const AttentionMerge& m) {
  using Batch = typename Vector<Arch>::type;
  for (int64_t row = 0; row < m.rows; ++row) {
    float* out = m.out + row * m.out_stride;
    for (int64_t d = 0; d < m.head_dim; ++d) out[d] = 0;
    Softmax softmax{-INFINITY, 0};
    for (int64_t part = 0; part < m.parts; ++part) {
      const float* from = m.partial + part * m.part_stride + row * attention_partial(m.head_dim);
      const Factors factors = merge(softmax, {from[m.head_dim], from[m.head_dim + 1]});
      each_vector<Arch>(m.head_dim, [&](int64_t d, int64_t n) {
        store<Arch>(out + d, merged<Arch>(load<Arch>(out + d, n), load<Arch>(from + d, n), factors),
                    n);
      });
    }
    const Batch inverse(1.0f / softmax.sum);
    each_vector<Arch>(m.head_dim, [&](int64_t d, int64_t n) {
      store<Arch>(out + d, load<Arch>(out + d, n) * inverse, n);
    });
  }
}

}  // namespace octet::kernels::simd
