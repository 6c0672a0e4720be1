#pragma once
// The inner loop of the AVX2 int8 matrix multiplications: up to 4 rows x 16 outputs, or 1 x 64.
#include <immintrin.h>

#include "kernels/gemm_blocks.h"

namespace octet::kernels {
namespace {

/// 4 x 2 accumulators. With 5 or 6 rows GCC 12 runs out of registers: 115 and 120 instead of 135
/// billion operations a second (Zen 4, one thread).
inline constexpr int block_rows = 4;
/// A single row waits for the memory, which gives more if asked in more places (gemm_block.h of
/// avx512vnni): 8 accumulators.
inline constexpr int row_tiles = 4;

/// 8 int32. Accumulators of type __m256i, which is int64 to GCC 12, are moved about.
using Int32x8 [[gnu::vector_size(32)]] = int32_t;

/// Tiles [tile, tile + tiles) of the weights.
template <int tiles>
struct Weights {
  /// With more rows than one asking ahead did not pay.
  static constexpr bool asks_ahead = tiles == row_tiles;
  /// Bytes ahead that lines are asked for into the second level, and then into the first: the
  /// processor's own prefetching into that is too slow where each line takes two loads. Measured on
  /// two Zen 4 threads that read 60 GB/s, a step: 1.5 KB in place of 1.25 3 % longer; without the
  /// second asking 4.5 %, 64 bytes ahead 3 %, 512 4 %, 384 0.
  static constexpr int64_t far = 1280, near = 256;
  const int8_t* first;
  int64_t stride;       ///< from tile to tile, in bytes
  const int8_t* after;  ///< what is read after them; null if they are not to be asked for

  template <class Gemm>
  Weights(const Gemm& g, int64_t tile, Ahead ahead)
      : first(g.w + tile * tile_n * padded_k(g.k)),
        stride(tile_n * padded_k(g.k)),
        after(!asks_ahead || !ahead.stream ? nullptr
              : ahead.from                 ? ahead.from
                                           : first) {}
  /// Asks for the lines after chunk c; where the tiles end, for those of the next block.
  [[gnu::always_inline]] void prefetch(int64_t c) const {
    ask<far, _MM_HINT_T1>(64 * c);
    ask<near, _MM_HINT_T0>(64 * c);
  }
  /// Always inline: GCC 12 drops calls of functions that only prefetch.
  template <int64_t distance, auto level>
  [[gnu::always_inline]] void ask(int64_t at) const {
    at += distance;
    const int8_t* const from = at < stride ? first + at : after + (at - stride);
#pragma GCC unroll 4
    for (int t = 0; t < tiles; ++t)
      _mm_prefetch(reinterpret_cast<const char*>(from + t * stride), level);
  }
};

/// acc[r][2 t], acc[r][2 t + 1] = sum over chunks [begin, end) of row r of a and tile t, exact.
/// vpmaddubsw multiplies unsigned by signed and saturates at 16 bits. As |w| * (a with the sign of
/// w) a pair of products is at most 2 * 128 * 127 = 32512, so nothing saturates.
template <int rows, int tiles>
[[gnu::always_inline]] inline void dot(const int8_t* a, int64_t lda, const Weights<tiles>& w,
                                       int64_t begin, int64_t end,
                                       Int32x8 (&acc)[rows][2 * tiles]) {
  const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int i = 0; i < 2 * tiles; ++i) acc[r][i] = Int32x8{};
  for (int64_t c = begin; c < end; ++c) {
    if (w.asks_ahead && w.after) w.prefetch(c);
#pragma GCC unroll 8
    for (int i = 0; i < 2 * tiles; ++i) {
      const int8_t* const half = w.first + i / 2 * w.stride + 64 * c + i % 2 * 32;
      const __m256i weights = _mm256_load_si256(reinterpret_cast<const __m256i*>(half));
      const __m256i magnitude = _mm256_abs_epi8(weights);
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) {
        int32_t four;
        __builtin_memcpy(&four, a + r * lda + tile_k * c, sizeof four);
        const __m256i x = _mm256_sign_epi8(_mm256_set1_epi32(four), weights);
        const __m256i pairs = _mm256_maddubs_epi16(magnitude, x);
        acc[r][i] = (Int32x8)_mm256_add_epi32((__m256i)acc[r][i], _mm256_madd_epi16(pairs, ones));
      }
    }
  }
}

/// Calls block as for_each_block does, with the shapes above.
template <class Gemm, class Block>
void for_each_shaped_block(const Gemm& g, const Block& block) {
  const int64_t tiles = padded_n(g.n) / tile_n;
  if (g.m > 1) return for_each_block<block_rows, 1>(g, 0, tiles, block);
  const int64_t fours = tiles / row_tiles * row_tiles;
  for_each_block<1, row_tiles>(g, 0, fours, block);
  for_each_block<1, 1>(g, fours, tiles, block);
}

/// Lanes [0, count) of 8; count may be negative or beyond 8.
inline __m256i first_lanes(int64_t count) {
  const int lanes = static_cast<int>(count < 0 ? 0 : count > 8 ? 8 : count);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/// Bias and store of 8 values of a row.
template <class Gemm>
[[gnu::always_inline]] inline void store(const Gemm& g, int64_t row, int64_t col, __m256 value) {
  const __m256i mask = first_lanes(g.n - col);
  float* c = g.c + row * g.ldc + col;
  if (g.bias) value = _mm256_add_ps(value, _mm256_maskload_ps(g.bias + col, mask));
  if (g.store == Store::add) value = _mm256_add_ps(_mm256_maskload_ps(c, mask), value);
  _mm256_maskstore_ps(c, mask, value);
}

}  // namespace
}  // namespace octet::kernels
