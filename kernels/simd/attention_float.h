#pragma once
// Attention over fp16 and fp32 caches: all of it in fp32.
#include "kernels/simd/attention.h"

namespace octet::kernels::simd {
namespace {

/// Vectors that a row of the tile is wide: 12 accumulators of AVX2's 16 registers, 24 of the 32 of
/// AVX-512 and NEON.
template <class Arch>
constexpr int tile_vectors = Vector<Arch>::size == 8 ? 2 : 4;

/// fp32 factors times cached fp32 or fp16 values.
template <class Arch, class T>
struct FloatProduct {
  using V = Vector<Arch>;
  using Cached = T;
  using Factor = float;
  using Operand = typename V::type;
  using Sum = typename V::type;
  static constexpr int64_t depth = 1;

  static Sum zero() { return Sum(0.0f); }
  static Operand load(const Cached* p, int64_t count) { return simd::load<Arch>(p, count); }
  static Operand broadcast(const Factor* p) { return Operand(*p); }
  static void add(Sum& sum, Operand cached, Operand factor) { sum = V::fma(factor, cached, sum); }
};

template <class Arch, class T>
struct FloatCache {
  using V = Vector<Arch>;
  static constexpr int width = tile_vectors<Arch>;
  template <int rows, int vectors>
  using Products = Tile<Arch, FloatProduct<Arch, T>, rows, vectors>;

  static constexpr int64_t block_bytes(int64_t head_dim) {
    return kv_block * head_dim * int64_t{sizeof(T)};
  }

  template <int rows>
  static void score(const Attention& a, int64_t row, const Span& span, Ahead& ahead) {
    // Read once: GCC reads fields of `a` anew after each change of `ahead`.
    const float* const q = a.q + row * a.q_stride;
    const int64_t stride = a.q_stride, head_dim = a.head_dim;
    for (int64_t block = 0; block < span.blocks(); ++block)
      for (int64_t j = 0; j < kv_block; j += width * V::size) {
        const auto* keys = static_cast<const T*>(span.keys[block]) + j;
        const auto* next = static_cast<const T*>(span.after_keys(block)) + j;
        Products<rows, width> tile;
        for (int64_t d = 0; d < head_dim; ++d) {
          tile.prefetch(next + d * kv_block);
          ahead.keep_pace<tile.bytes, 7>(d);
          tile.add(q + d, stride, keys + d * kv_block, V::size);
        }
        float* scores = a.scratch + block * kv_block + j;
#pragma GCC unroll 6
        for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
          for (int i = 0; i < width; ++i)
            V::store(scores + r * kv_span + i * V::size,
                     tile.sum[r][i] * typename V::type(a.scale));
      }
  }

  template <int rows>
  static void add_values(const Attention& a, int64_t row, const Span& span, const Factors* factors,
                         Ahead& ahead) {
    const float* const scores = a.scratch;
    const int64_t head_dim = a.head_dim;
    each_tile<Arch, width>(head_dim, [&]<int vectors>(int64_t d, int64_t count) {
      Products<rows, vectors> tile;
      for (int64_t block = 0; block < span.blocks(); ++block) {
        const auto* values = static_cast<const T*>(span.values[block]) + d;
        const bool last = block + 1 == span.blocks();  // then come the next dimensions of the first
        const int64_t next_d = last && d + vectors * V::size < head_dim ? d + vectors * V::size : d;
        const auto* next = static_cast<const T*>(span.after_values(block)) + next_d;
        const float* const weights = scores + block * kv_block;
        const int64_t filled = span.filled(block);
        for (int64_t j = 0; j < filled; ++j) {
          tile.prefetch(next + j * head_dim);
          ahead.keep_pace<tile.bytes>(j);
          tile.add(weights + j, kv_span, values + j * head_dim, count);
        }
      }
      merge_outputs<Arch>(tile.sum, factors, a.partial + row * attention_partial(a.head_dim) + d,
                          a.head_dim, count);
    });
  }
};

}  // namespace
}  // namespace octet::kernels::simd
