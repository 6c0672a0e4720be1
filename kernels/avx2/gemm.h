#pragma once
// The int8 matrix multiplications on vectors of 32 bytes, around their inner loop, Dot:
//   Dot::most_rows     rows of a block of one tile
//   Dot::few_rows      1 or 2: so many go with several tiles side by side
//   Dot::start(w_sum)  what 8 sums of products begin with, by the sums of their weights
//   Dot::add_chunk(a, lda, w, c, acc)
//                      acc[r][i] += products of chunk c of row r of a and of vector i of w, exact
// All of it has internal linkage: each instruction set compiles its own copy.
#include <immintrin.h>

#include "kernels/gemm_blocks.h"

namespace octet::kernels {
namespace {

/// A row or two wait for the memory, which gives more if asked in more places (gemm_block.h of
/// avx512vnni): four tiles, or two, are 8 accumulators.
inline constexpr int most_tiles = 4;

/// 8 int32. Accumulators of type __m256i, which is int64 to GCC 12, are moved about.
using Int32x8 [[gnu::vector_size(32)]] = int32_t;

/// Tiles [tile, tile + tiles) of the weights, each chunk of them as two vectors.
template <int tiles>
struct Weights {
  /// Bytes ahead that a stream's lines are asked for into the second level, and then, several tiles
  /// side by side, into the first: the processor's own prefetching into that is too slow where each
  /// line takes two loads. Measured on two Zen 4 threads that read 60 GB/s, AVX2, a step of one
  /// row: 1.5 KB in place of 1.25 3 % longer; without the second asking 4.5 %, 64 bytes ahead 3 %,
  /// 512 4 %, 384 0. AVX-VNNI, 4 and 6 rows: 2 KB 15 and 25 % slower than 4.
  static constexpr int64_t far = tiles == 1 ? 4096 : 1280, near = 256;
  const int8_t* first;
  int64_t stride;  ///< from tile to tile, in bytes
  Ahead ahead;     ///< of a stream never null

  template <class Gemm>
  Weights(const Gemm& g, int64_t tile, Ahead following)
      : first(g.w + tile * tile_n * padded_k(g.k)),
        stride(tile_n * padded_k(g.k)),
        ahead(following) {
    if (ahead.stream && !ahead.from) ahead.from = first;
  }
  /// Vector i of chunk c.
  [[gnu::always_inline]] __m256i load(int64_t c, int i) const {
    return _mm256_load_si256(
        reinterpret_cast<const __m256i*>(first + i / 2 * stride + 64 * c + i % 2 * 32));
  }
  /// The end of those chunks before `end` beside which something is asked for. Several tiles are a
  /// stream.
  int64_t asking_until(int64_t end) const {
    return tiles > 1 || ahead.stream || 2 * ahead.lines > end ? end : 2 * ahead.lines;
  }
  /// Beside chunk c, asks for the lines after it and, where the tiles end, for those of the next
  /// block; or for its share of these, evenly: 8 rows 20 % faster than in a row (AVX-VNNI).
  [[gnu::always_inline]] void prefetch(int64_t c) const {
    if (ahead.stream) {
      ask<far, _MM_HINT_T1>(64 * c);
      if constexpr (tiles > 1) ask<near, _MM_HINT_T0>(64 * c);
    } else if (c % 2 == 0) {
      _mm_prefetch(reinterpret_cast<const char*>(ahead.from + 64 * (c / 2)), _MM_HINT_T1);
    }
  }

 private:
  /// Always inline: GCC 12 drops calls of functions that only prefetch.
  template <int64_t distance, auto level>
  [[gnu::always_inline]] void ask(int64_t at) const {
    at += distance;
    const int8_t* const from = at < stride ? first + at : ahead.from + (at - stride);
#pragma GCC unroll 4
    for (int t = 0; t < tiles; ++t)
      _mm_prefetch(reinterpret_cast<const char*>(from + t * stride), level);
  }
};

/// acc = the products of chunks [begin, end) of rows of a and w; w_sum are those of its tiles,
/// `sum_stride` apart.
template <class Dot, int rows, int tiles, class Sum>
[[gnu::always_inline]] inline void dot(const int8_t* a, int64_t lda, const Weights<tiles>& w,
                                       int64_t begin, int64_t end, const Sum* w_sum,
                                       int64_t sum_stride, Int32x8 (&acc)[rows][2 * tiles]) {
#pragma GCC unroll 8
  for (int i = 0; i < 2 * tiles; ++i) {
    const Int32x8 start = Dot::start(w_sum + i / 2 * sum_stride + i % 2 * 8);
#pragma GCC unroll 6
    for (int r = 0; r < rows; ++r) acc[r][i] = start;
  }
  int64_t c = begin;
  for (const int64_t asking = w.asking_until(end); c < asking; ++c) {
    w.prefetch(c);
    Dot::add_chunk(a, lda, w, c, acc);
  }
  for (; c < end; ++c) Dot::add_chunk(a, lda, w, c, acc);
}

/// Lanes [0, count) of 8; count may be negative or beyond 8.
inline __m256i first_lanes(int64_t count) {
  const int lanes = static_cast<int>(count < 0 ? 0 : count > 8 ? 8 : count);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/// Bias and store of 8 values of a row, or as many as there are columns left: masked stores are
/// slow on AMD's processors.
template <class Gemm>
[[gnu::always_inline]] inline void store(const Gemm& g, int64_t row, int64_t col, __m256 value) {
  float* c = g.c + row * g.ldc + col;
  if (g.n - col >= 8) {
    if (g.bias) value = _mm256_add_ps(value, _mm256_loadu_ps(g.bias + col));
    if (g.store == Store::add) value = _mm256_add_ps(_mm256_loadu_ps(c), value);
    return _mm256_storeu_ps(c, value);
  }
  const __m256i mask = first_lanes(g.n - col);
  if (g.bias) value = _mm256_add_ps(value, _mm256_maskload_ps(g.bias + col, mask));
  if (g.store == Store::add) value = _mm256_add_ps(_mm256_maskload_ps(c, mask), value);
  _mm256_maskstore_ps(c, mask, value);
}

inline void write(const GemmS8& g, int64_t row, int64_t col, Int32x8 sum) {
  const __m256 scale =
      _mm256_mul_ps(_mm256_set1_ps(g.a_scale[row]), _mm256_loadu_ps(g.w_scale + col));
  store(g, row, col, _mm256_mul_ps(_mm256_cvtepi32_ps((__m256i)sum), scale));
}

inline void write(const GemmS8S32& g, int64_t row, int64_t col, Int32x8 sum) {
  _mm256_maskstore_epi32(g.c + row * g.ldc + col, first_lanes(g.n - col), (__m256i)sum);
}

template <class Dot, int rows, int tiles, class Gemm>
void block(const Gemm& g, int64_t row, int64_t tile, Ahead ahead) {
  Int32x8 acc[rows][2 * tiles];
  dot<Dot>(g.a + row * g.lda, g.lda, Weights<tiles>(g, tile, ahead), 0, padded_k(g.k) / tile_k,
           g.w_sum + tile * tile_n, tile_n, acc);
  for (int r = 0; r < rows; ++r)
    for (int i = 0; i < 2 * tiles; ++i) write(g, row + r, tile * tile_n + 8 * i, acc[r][i]);
}

/// 8 bfloat16 values as fp32.
inline __m256 load_bfloat16(const uint16_t* bits) {
  const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bits));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

template <class Dot, int rows, int tiles>
void block(const GemmS8Grouped& g, int64_t row, int64_t tile, Ahead ahead) {
  const int64_t k = padded_k(g.k), groups = num_groups(g.k);
  const Weights<tiles> weights(g, tile, ahead);
  __m256 value[rows][2 * tiles];
  for (int r = 0; r < rows; ++r)
    for (int i = 0; i < 2 * tiles; ++i) value[r][i] = _mm256_setzero_ps();
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t begin = group * group_size;
    const int64_t end = k - begin < group_size ? k : begin + group_size;
    const int64_t at = (tile * groups + group) * tile_n, next_tile = groups * tile_n;
    Int32x8 acc[rows][2 * tiles];
    dot<Dot>(g.a + row * g.lda, g.lda, weights, begin / tile_k, end / tile_k, g.w_sum + at,
             next_tile, acc);
#pragma GCC unroll 8
    for (int i = 0; i < 2 * tiles; ++i) {
      const __m256 scales = load_bfloat16(g.w_scale + at + i / 2 * next_tile + i % 2 * 8);
#pragma GCC unroll 6
      for (int r = 0; r < rows; ++r) {
        const __m256 scale =
            _mm256_mul_ps(_mm256_set1_ps(g.a_scale[(row + r) * groups + group]), scales);
        value[r][i] = _mm256_fmadd_ps(_mm256_cvtepi32_ps((__m256i)acc[r][i]), scale, value[r][i]);
      }
    }
  }
  for (int r = 0; r < rows; ++r)
    for (int i = 0; i < 2 * tiles; ++i) store(g, row + r, tile * tile_n + 8 * i, value[r][i]);
}

/// All of c, for any of the three kinds of operands.
template <class Dot, class Gemm>
void gemm(const Gemm& g) {
  const auto one_block = [&](auto shape, int64_t row, int64_t tile, Ahead ahead) {
    block<Dot, shape.rows, shape.tiles>(g, row, tile, ahead);
  };
  const int64_t tiles = padded_n(g.n) / tile_n;
  const auto side_by_side = [&]<int rows>() {
    constexpr int together = most_tiles / rows;
    const int64_t end = tiles / together * together;
    for_each_block<rows, together>(g, 0, end, one_block);
    for_each_block<rows, 1>(g, end, tiles, one_block);
  };
  if (g.m > Dot::few_rows) return for_each_block<Dot::most_rows, 1>(g, 0, tiles, one_block);
  if constexpr (Dot::few_rows == 2)
    if (g.m == 2) return side_by_side.template operator()<2>();
  side_by_side.template operator()<1>();
}

}  // namespace
}  // namespace octet::kernels
