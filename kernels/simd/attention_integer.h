#pragma once
// Attention over an integer cache (kernels/types.h): queries times keys and weights times values in
// integers, exact, the rest in fp32. An instruction set has its own Products for a type of cache:
//   Factor              how a query's or a weight's value is held
//   Quantized           the type that quantize() writes, as wide as a Factor or narrower
//   Keys, Values        the Product of a tile (attention.h) with each; floats(sum, offset) gives
//                       sum - offset as fp32
//   key_offset          what the cache has added to keys
//   value_offset        what Values adds to values, or 0
//   key_width, value_width  vectors that a row of a tile is wide
//   weight_levels       the largest quantized weight
//   key_part            dimensions whose products int32 holds
//   quantize            a row of queries; false if a value is not finite
//   store(to, floats)   a vector of whole numbers as Factors
//   sum(weights)        of a block's weights, where there is a value_offset
#include "kernels/quantize_groups.h"
#include "kernels/simd/attention.h"

namespace octet::kernels::simd {
namespace {

/// What all Products of int16 have: keys, values, queries and weights are int16.
template <class Product, int keys_wide, int values_wide>
struct Int16Products {
  using Factor = int16_t;
  using Quantized = int16_t;
  using Keys = Product;
  using Values = Product;
  static constexpr float weight_levels = kv_s16_levels;
  static constexpr int64_t key_part = kv_s16_part;
  static constexpr int32_t key_offset = 0, value_offset = 0;
  static constexpr int key_width = keys_wide, value_width = values_wide;
};

/// The same of int8.
struct Int8Products {
  using Quantized = int8_t;
  static constexpr float weight_levels = 255;
  static constexpr int64_t key_part = max_k;
};

template <class Arch, class Products>
class IntegerCache {
 protected:
  using V = Vector<Arch>;
  using Batch = typename V::type;
  using Factor = typename Products::Factor;
  using Keys = typename Products::Keys;
  using Values = typename Products::Values;
  using Cached = typename Keys::Cached;
  /// Values that are multiplied and added together.
  static constexpr int64_t group = Keys::depth;

  /// The parts of a tile's scratch memory after the scores: weights [rows][kv_span], and queries
  /// [rows][padded_k(head_dim)].
  static Factor* weights_of(const Attention& a) {
    return reinterpret_cast<Factor*>(a.scratch + attention_scratch_rows * kv_span);
  }
  static Factor* queries_of(const Attention& a) {
    return weights_of(a) + attention_scratch_rows * kv_span;
  }

  static const float* scales(const void* block, const Attention& a) {
    return reinterpret_cast<const float*>(static_cast<const Cached*>(block) +
                                          kv_scales(a.head_dim));
  }

  /// Quantizes the query at q; gives its scale and the sum of its values.
  static float quantize_query(const float* q, int64_t head_dim, Factor* to, int32_t& sum) {
    auto* values = reinterpret_cast<typename Products::Quantized*>(to);
    float scale;
    if (!Products::quantize(q, head_dim, values, scale)) scale = NAN;
    sum = 0;
    if constexpr (Products::key_offset != 0)
      for (int64_t i = 0; i < padded_k(head_dim); ++i) sum += values[i];
    // In place: from the end, each value's place is not yet needed.
    if constexpr (sizeof(Factor) > sizeof(*values))
      for (int64_t i = padded_k(head_dim) - 1; i >= 0; --i) to[i] = values[i];
    return scale;
  }

  /// Quantizes the weights of a block, times the values' scales; returns the scale of the products.
  static float quantize_weights(const float* weights, const float* value_scales, Factor* to) {
    constexpr int64_t vectors = kv_block / V::size;
    Batch product[vectors];
    for (int64_t i = 0; i < vectors; ++i)
      product[i] = V::load(weights + i * V::size) * V::load(value_scales + i * V::size);
    Batch largest = product[0];
    for (int64_t i = 1; i < vectors; ++i) largest = xsimd::max(largest, product[i]);
    const QuantizeScale s = quantize_scale(V::max(largest), Products::weight_levels);
    for (int64_t i = 0; i < vectors; ++i)
      Products::store(to + i * V::size, product[i] * Batch(s.inverse));
    return s.scale;
  }

  /// The scores of a block's positions [j, j + key_width * V::size). Meanwhile the same part of the
  /// next block of keys comes nearer, for where no item before has asked for it.
  template <int rows>
  static void score_tile(const Attention& a, const Span& span, int64_t block, int64_t j,
                         const float* row_scale, const int32_t* offset, Ahead& ahead) {
    constexpr int width = Products::key_width;
    const Factor* queries = queries_of(a);
    const int64_t depth = padded_k(a.head_dim), end = kv_scales(a.head_dim);
    const auto* keys = static_cast<const Cached*>(span.keys[block]) + group * j;
    const auto* next = static_cast<const Cached*>(span.after_keys(block)) + group * j;
    float* scores = a.scratch + block * kv_block + j;
    for (int64_t first = 0; first < depth; first += Products::key_part) {
      const int64_t part = depth - first < Products::key_part ? depth - first : Products::key_part;
      Tile<Arch, Keys, rows, width> tile;
      for (int64_t d = first; d < first + part; d += group) {
        tile.prefetch(next + d * kv_block);
        ahead.keep_pace<tile.bytes, 7>(d / group);
        tile.add(queries + d, depth, keys + d * kv_block, V::size);
      }
#pragma GCC unroll 4
      for (int i = 0; i < width; ++i) {
        const Batch key_scale = V::load(scales(span.keys[block], a) + j + i * V::size);
#pragma GCC unroll 6
        for (int r = 0; r < rows; ++r) {
          float* const at = scores + r * kv_span + i * V::size;
          Batch sum = Keys::floats(tile.sum[r][i], offset[r]);
          if (first > 0) sum = V::load(at) + sum;
          if (first + part == depth) sum = sum * (key_scale * Batch(row_scale[r]));
          V::store(at, sum);
        }
      }
    }
    Tile<Arch, Keys, rows, width>::prefetch(next + end);
  }

 public:
  static constexpr int64_t block_bytes(int64_t head_dim) {
    return sizeof(Cached) == 1 ? kv_s8_bytes(head_dim) : kv_s16_bytes(head_dim);
  }

  template <int rows>
  static void score(const Attention& a, int64_t row, const Span& span, Ahead& ahead) {
    float row_scale[rows];
    int32_t offset[rows];
    for (int r = 0; r < rows; ++r) {
      Factor* query = queries_of(a) + r * padded_k(a.head_dim);
      const float* q = a.q + (row + r) * a.q_stride;
      row_scale[r] = quantize_query(q, a.head_dim, query, offset[r]) * a.scale;
      offset[r] *= Products::key_offset;
    }
    for (int64_t block = 0; block < span.blocks(); ++block)
      for (int64_t j = 0; j < kv_block; j += Products::key_width * V::size)
        score_tile<rows>(a, span, block, j, row_scale, offset, ahead);
  }

  template <int rows>
  static void add_values(const Attention& a, int64_t row, const Span& span, const Factors* factors,
                         Ahead& ahead) {
    float scale[kv_span / kv_block][rows];
    int32_t offset[kv_span / kv_block][rows];  // of the products, where values have one
    for (int64_t block = 0; block < span.blocks(); ++block)
      for (int r = 0; r < rows; ++r) {
        const int64_t at = r * kv_span + block * kv_block;
        Factor* const weights = weights_of(a) + at;
        scale[block][r] = quantize_weights(a.scratch + at, scales(span.values[block], a), weights);
        if constexpr (Products::value_offset != 0)
          offset[block][r] = Products::value_offset * Products::sum(weights);
      }
    each_tile<Arch, Products::value_width>(a.head_dim, [&]<int width>(int64_t d, int64_t count) {
      Batch out[rows][width];
#pragma GCC unroll 6
      for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
        for (int i = 0; i < width; ++i) out[r][i] = Batch(0.0f);
      for (int64_t block = 0; block < span.blocks(); ++block)
        add_block<rows, width>(a, span, block, d, scale[block], offset[block], out, ahead);
      merge_outputs<Arch>(out, factors, a.partial + row * attention_partial(a.head_dim) + d,
                          a.head_dim, count);
    });
  }

 private:
  /// out += what a block adds to `width` vectors of dimensions from d on.
  template <int rows, int width>
  static void add_block(const Attention& a, const Span& span, int64_t block, int64_t d,
                        const float* scale, const int32_t* offset, Batch (&out)[rows][width],
                        Ahead& ahead) {
    const int64_t stride = group * padded_n(a.head_dim);
    const Factor* weights = weights_of(a) + block * kv_block;
    const auto* values = static_cast<const Cached*>(span.values[block]) + group * d;
    Tile<Arch, Values, rows, width> tile;
    const int64_t groups = (span.filled(block) + group - 1) / group;
    for (int64_t i = 0; i < groups; ++i) {
      ahead.keep_pace<tile.bytes>(i);
      tile.add(weights + i * group, kv_span, values + i * stride, V::size);
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
      for (int i = 0; i < width; ++i) {
        const int32_t added = Products::value_offset != 0 ? offset[r] : 0;
        out[r][i] = V::fma(Values::floats(tile.sum[r][i], added), Batch(scale[r]), out[r][i]);
      }
  }
};

}  // namespace
}  // namespace octet::kernels::simd
