#pragma once
// The inner loop of the AVX512-VNNI int8 matrix multiplications: up to 12 rows x 32 outputs, or 6 x
// 64.
#include "kernels/avx512vnni/intrinsics.h"
#include "kernels/gemm_blocks.h"

namespace octet::kernels {
namespace {

/// 12 x 2 accumulators, two registers of weights and one of activations out of 32.
inline constexpr int block_rows = 12;
inline constexpr int block_tiles = 2;
/// Few rows wait for the memory, which gives more if asked in more places: with pages of 4 KB, 4
/// tiles side by side were read a quarter faster than 2 (Zen 4; 8 were not faster than 4).
inline constexpr int few_rows = 6;
inline constexpr int few_rows_tiles = 4;
/// A single stream is one tile after the other: if there are enough columns, as it starts slowly,
/// and tiles are not much longer than 24 KB (Zen 4; K = 8,960: 2 % slower).
inline constexpr int64_t single_stream_columns = 256, single_stream_k = 2048;

/// The columns of one block of `tiles` tiles, or fewer where n ends. The others are then the first
/// again and store nothing.
template <int tiles>
struct Columns {
  int64_t tile[tiles];
  __mmask16 mask[tiles];

  Columns(int64_t n, int64_t first) {
    const int64_t all = padded_n(n) / tile_n;
    for (int t = 0; t < tiles; ++t) {
      tile[t] = first + t < all ? first + t : first;
      const int64_t left = n - (first + t) * tile_n;
      const int64_t count = left < 0 ? 0 : left > tile_n ? tile_n : left;
      mask[t] = static_cast<__mmask16>((1u << count) - 1);
    }
  }
};

/// Calls block as for_each_block does, for up to few_rows rows, with their shapes.
template <class Gemm, class Block>
void for_few_rows(const Gemm& g, const Block& block) {
  const int64_t tiles = padded_n(g.n) / tile_n;
  if (g.single_stream && g.m == 1 && g.n >= single_stream_columns && g.k <= single_stream_k)
    return for_each_block<1, 1>(g, 0, tiles, block);
  const int64_t fours = tiles / few_rows_tiles * few_rows_tiles;
  for_each_block<few_rows, few_rows_tiles>(g, 0, fours, block);
  for_each_block<few_rows, block_tiles>(g, fours, tiles, block);
}

/// Where the next chunk of each row and tile is. Rows are addressed by threes as p, p + lda and
/// p + 2 lda: 12 pointers would not fit the integer registers. Each advance hides the pointers from
/// the compiler, which would otherwise take them apart into 12 again.
template <int rows, int tiles>
struct Cursor {
  static constexpr int threes = (rows + 2) / 3;
  const int8_t* a[threes];
  int64_t lda;
  const int8_t* w;
  int64_t tile_stride;
  const int8_t* end;  ///< of the first tile

  /// From value `begin` of K on.
  template <class Gemm>
  Cursor(const Gemm& g, int64_t row, const Columns<tiles>& columns, int64_t begin)
      : lda(g.lda),
        w(g.w + (columns.tile[0] * padded_k(g.k) + begin) * tile_n),
        tile_stride((columns.tile[tiles > 1 ? 1 : 0] - columns.tile[0]) * padded_k(g.k) * tile_n),
        end(w + (padded_k(g.k) - begin) * tile_n) {
    const int8_t* first_row = g.a + row * lda + begin;
#pragma GCC unroll 4
    for (int i = 0; i < threes; ++i) a[i] = first_row + 3 * i * lda;
  }
  const int8_t* row(int r) const {
    return a[r / 3] + r % 3 * lda;
  }
  const int8_t* tile(int t) const {
    return w + t * tile_stride;
  }
  /// Asks for the lines of later chunks. Into the second level: the first has too few buffers for
  /// what is on its way from memory. With more than few_rows rows the processor's own prefetching
  /// is too near, so they are asked for earlier and then once more, into the first level (8 rows on
  /// two Zen 4 threads: 48 GB/s in place of 46; that 2 KB ahead in place of 4 KB: up to 3 % more
  /// where memory is slow, and no less where it is fast; 1 KB: 6 % less).
  template <int chunks>
  [[gnu::always_inline]] void prefetch(const int8_t* next) const {
    if constexpr (rows > few_rows) {
      ask<chunks, _MM_HINT_T1>(8192, next);
      ask<chunks, _MM_HINT_T0>(2048, next);
    } else {
      constexpr int64_t distance = tiles == 1 ? 2048 : tiles == few_rows_tiles ? 1280 : 4096;
      ask<chunks, _MM_HINT_T1>(distance, next);
    }
  }
  /// Asks for the lines `distance` bytes on, which are the next block's (at `next`) where these
  /// tiles end. Distances measured on Zen 4. Always inline: GCC 12 takes a function that only
  /// prefetches for one without effect, and drops its calls. (A hint is an enumerator of GCC's, but
  /// an int of clang's.)
  template <int chunks, auto level>
  [[gnu::always_inline]] void ask(int64_t distance, const int8_t* next) const {
    const int64_t ahead = end - w > distance || !next ? distance : distance + (next - end);
#pragma GCC unroll 4
    for (int i = 0; i < chunks; ++i)
#pragma GCC unroll 4
      for (int t = 0; t < tiles; ++t)
        _mm_prefetch(reinterpret_cast<const char*>(tile(t) + ahead + 64 * i), level);
  }
  [[gnu::always_inline]] void advance() {
#pragma GCC unroll 4
    for (int i = 0; i < threes; ++i) {
      a[i] += tile_k;
      asm volatile("" : "+r"(a[i]));
    }
    w += tile_n * tile_k;
    asm volatile("" : "+r"(w));
  }
};

/// Has clang 14 multiply chunk after chunk: it would load several chunks' operands first, for which
/// the accumulators leave no registers (prefill 512: 250 tokens/s, and 290 in order). GCC needs no
/// telling.
template <int rows, int tiles>
[[gnu::always_inline]] inline void in_order([[maybe_unused]] Int32x16 (&acc)[rows][tiles]) {
#ifdef __clang__
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int t = 0; t < tiles; ++t) asm volatile("" : "+v"(acc[r][t]));
#endif
}

/// acc[r][t] += products of the next chunk of row r (as unsigned bytes) and of tile t. A row of acc
/// more than at has is one of 128s.
template <int rows, int tiles, int all_rows>
[[gnu::always_inline]] inline void add_chunk(Cursor<rows, tiles>& at,
                                             Int32x16 (&acc)[all_rows][tiles]) {
  static_assert(all_rows == rows || all_rows == rows + 1);
  __m512i weights[tiles];
#pragma GCC unroll 4
  for (int t = 0; t < tiles; ++t) weights[t] = _mm512_load_si512(at.tile(t));
#pragma GCC unroll 12
  for (int r = 0; r < all_rows; ++r) {
    int32_t four = static_cast<int32_t>(0x80808080);
    if (r < rows) __builtin_memcpy(&four, at.row(r), sizeof four);
    const __m512i x = _mm512_set1_epi32(four);
#pragma GCC unroll 4
    for (int t = 0; t < tiles; ++t)
      acc[r][t] = (Int32x16)_mm512_dpbusd_epi32((__m512i)acc[r][t], x, weights[t]);
  }
  in_order(acc);
  at.advance();
}

/// acc[r][t] = start[t] + sum over `chunks` chunks of row r of a and tile w[t], modulo 2^32: with
/// start = -128 * (sum of w), the sum over (a xor 0x80) is exact.
/// Few rows have a chain of additions for every other chunk, as vpdpbusd has latency.
template <int rows, int tiles, int all_rows>
[[gnu::always_inline]] inline void dot(Cursor<rows, tiles> at, int64_t chunks, Ahead ahead,
                                       const Int32x16 (&start)[tiles],
                                       Int32x16 (&acc)[all_rows][tiles]) {
  constexpr int chains = all_rows * tiles <= 2 ? 4 : all_rows * tiles <= 6 ? 2 : 1;
  constexpr int unroll = 4;
  // Chunks whose later lines are asked for at a time: one where they are multiplied with several
  // rows (Zen 4, of a layer: 4 rows -1 to -2 %, 8 -1 to -4 %), but with one row all (-0.3 to -4 %).
  constexpr int asked = rows == 1 ? unroll : 1;
  Int32x16 sum[chains][all_rows][tiles];
#pragma GCC unroll 4
  for (int i = 0; i < chains; ++i)
#pragma GCC unroll 12
    for (int r = 0; r < all_rows; ++r)
#pragma GCC unroll 4
      for (int t = 0; t < tiles; ++t) sum[i][r][t] = i == 0 ? start[t] : Int32x16{};
  int64_t c = 0;
  for (; c < ahead.lines && c < chunks; ++c) {
    _mm_prefetch(reinterpret_cast<const char*>(ahead.from + 64 * c), _MM_HINT_T1);
    add_chunk(at, sum[0]);
  }
  for (; c + unroll <= chunks; c += unroll) {
#pragma GCC unroll 4
    for (int i = 0; i < unroll; ++i) {
      if (ahead.stream && i % asked == 0) at.template prefetch<asked>(ahead.from);
      add_chunk(at, sum[i % chains]);
    }
  }
  for (; c < chunks; ++c) add_chunk(at, sum[0]);
#pragma GCC unroll 12
  for (int r = 0; r < all_rows; ++r)
#pragma GCC unroll 4
    for (int t = 0; t < tiles; ++t) {
      acc[r][t] = sum[0][r][t];
#pragma GCC unroll 4
      for (int i = 1; i < chains; ++i)
        acc[r][t] = (Int32x16)_mm512_add_epi32((__m512i)acc[r][t], (__m512i)sum[i][r][t]);
    }
}

/// -128 * sum: what the xor of 0x80 added to the product, taken off again.
inline Int32x16 correction(__m512i w_sum) {
  return (Int32x16)_mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(w_sum, 7));
}

/// Bias and store of the 16 values of a row and tile.
template <class Gemm>
[[gnu::always_inline]] inline void store(const Gemm& g, int64_t row, int64_t col, __mmask16 mask,
                                         __m512 value) {
  float* c = g.c + row * g.ldc + col;
  if (g.bias) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, g.bias + col));
  if (g.store == Store::add) value = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, c), value);
  _mm512_mask_storeu_ps(c, mask, value);
}

/// The whole products of a block: those of GemmS8 and GemmS8S32.
template <int rows, int tiles, class Gemm>
[[gnu::always_inline]] inline void multiply(const Gemm& g, int64_t row,
                                            const Columns<tiles>& columns, Ahead ahead,
                                            Int32x16 (&acc)[rows][tiles]) {
  Int32x16 start[tiles];
#pragma GCC unroll 4
  for (int t = 0; t < tiles; ++t)
    start[t] = correction(_mm512_loadu_si512(g.w_sum + columns.tile[t] * tile_n));
  dot(Cursor<rows, tiles>(g, row, columns, 0), padded_k(g.k) / tile_k, ahead, start, acc);
}

}  // namespace
}  // namespace octet::kernels
