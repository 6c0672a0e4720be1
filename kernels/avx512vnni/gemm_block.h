#pragma once
// The inner loop of the AVX512-VNNI int8 matrix multiplications: up to 12 rows x 32 outputs.
#include "kernels/avx512vnni/intrinsics.h"
#include "kernels/gemm_blocks.h"

namespace octet::kernels {
namespace {

/// 12 x 2 accumulators, two registers of weights and one of activations out of 32.
inline constexpr int block_rows = 12;
inline constexpr int block_tiles = 2;

/// The columns of one block: two tiles, or one where n ends. Its second tile is then the first
/// again and stores nothing.
struct Columns {
  int64_t tile[block_tiles];
  __mmask16 mask[block_tiles];

  Columns(int64_t n, int64_t first) {
    const int64_t tiles = padded_n(n) / tile_n;
    for (int t = 0; t < block_tiles; ++t) {
      tile[t] = first + t < tiles ? first + t : first;
      const int64_t left = n - (first + t) * tile_n;
      const int64_t count = left < 0 ? 0 : left > tile_n ? tile_n : left;
      mask[t] = static_cast<__mmask16>((1u << count) - 1);
    }
  }
};

/// acc[r][t] += sum over `chunks` chunks of row r of a (as unsigned bytes) and tile w[t]. Adds
/// modulo 2^32: with acc = -128 * (sum of w) to begin with, the sum over (a xor 0x80) is exact.
/// Few rows have chains of their own for every `chains`-th chunk, as vpdpbusd has latency.
template <int rows>
[[gnu::always_inline]] inline void dot(const int8_t* a, int64_t lda,
                                       const int8_t* const (&w)[block_tiles], int64_t chunks,
                                       __m512i (&acc)[rows][block_tiles]) {
  constexpr int chains = rows == 1 ? 4 : rows <= 3 ? 2 : 1;
  __m512i more[chains][rows][block_tiles];
  auto step = [&](int64_t c, __m512i(&into)[rows][block_tiles]) __attribute__((always_inline)) {
    __m512i weights[block_tiles];
#pragma GCC unroll 2
    for (int t = 0; t < block_tiles; ++t) weights[t] = _mm512_load_si512(w[t] + 64 * c);
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r) {
      int32_t four;
      __builtin_memcpy(&four, a + r * lda + tile_k * c, sizeof four);
      const __m512i x = _mm512_set1_epi32(four);
#pragma GCC unroll 2
      for (int t = 0; t < block_tiles; ++t)
        into[r][t] = _mm512_dpbusd_epi32(into[r][t], x, weights[t]);
    }
  };
  if constexpr (chains == 1) {
    for (int64_t c = 0; c < chunks; ++c) step(c, acc);
    return;
  }
#pragma GCC unroll 4
  for (int i = 0; i < chains; ++i)
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
      for (int t = 0; t < block_tiles; ++t)
        more[i][r][t] = i == 0 ? acc[r][t] : _mm512_setzero_si512();
  int64_t c = 0;
  for (; c + chains <= chunks; c += chains)
#pragma GCC unroll 4
    for (int i = 0; i < chains; ++i) step(c + i, more[i]);
  for (; c < chunks; ++c) step(c, more[0]);
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int t = 0; t < block_tiles; ++t) {
#pragma GCC unroll 4
      for (int i = 1; i < chains; ++i)
        more[0][r][t] = _mm512_add_epi32(more[0][r][t], more[i][r][t]);
      acc[r][t] = more[0][r][t];
    }
}

/// -128 * sum: what the xor of 0x80 added to the product, taken off again.
inline __m512i correction(__m512i w_sum) {
  return _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(w_sum, 7));
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
template <int rows, class Gemm>
[[gnu::always_inline]] inline void multiply(const Gemm& g, int64_t row, const Columns& columns,
                                            __m512i (&acc)[rows][block_tiles]) {
  const int64_t k = padded_k(g.k);
  const int8_t* w[block_tiles];
#pragma GCC unroll 2
  for (int t = 0; t < block_tiles; ++t) {
    w[t] = g.w + columns.tile[t] * tile_n * k;
    const __m512i start = correction(_mm512_loadu_si512(g.w_sum + columns.tile[t] * tile_n));
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r) acc[r][t] = start;
  }
  dot<rows>(g.a + row * g.lda, g.lda, w, k / tile_k, acc);
}

}  // namespace
}  // namespace octet::kernels
