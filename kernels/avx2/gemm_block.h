#pragma once
// The inner loop of the AVX2 int8 matrix multiplications: up to 4 rows x 16 outputs.
#include <immintrin.h>

#include "kernels/gemm_blocks.h"

namespace octet::kernels {
namespace {

/// 4 x 2 accumulators. With 5 or 6 rows GCC 12 runs out of registers: 115 and 120 instead of 135
/// billion operations a second (Zen 4, one thread).
inline constexpr int block_rows = 4;

/// 8 int32. Accumulators of type __m256i, which is int64 to GCC 12, are moved about.
using Int32x8 [[gnu::vector_size(32)]] = int32_t;

/// acc[r] = sum over `chunks` chunks of row r of a and one tile of w, exact.
/// vpmaddubsw multiplies unsigned by signed and saturates at 16 bits. As |w| * (a with the sign of
/// w) a pair of products is at most 2 * 128 * 127 = 32512, so nothing saturates.
template <int rows>
[[gnu::always_inline]] inline void dot(const int8_t* a, int64_t lda, const int8_t* w,
                                       int64_t chunks, Int32x8 (&acc)[rows][2]) {
  const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) acc[r][0] = acc[r][1] = Int32x8{};
  for (int64_t c = 0; c < chunks; ++c) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const auto* address = reinterpret_cast<const __m256i*>(w + 64 * c + 32 * half);
      const __m256i weights = _mm256_load_si256(address);
      const __m256i magnitude = _mm256_abs_epi8(weights);
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) {
        int32_t four;
        __builtin_memcpy(&four, a + r * lda + tile_k * c, sizeof four);
        const __m256i x = _mm256_sign_epi8(_mm256_set1_epi32(four), weights);
        const __m256i pairs = _mm256_maddubs_epi16(magnitude, x);
        acc[r][half] =
            (Int32x8)_mm256_add_epi32((__m256i)acc[r][half], _mm256_madd_epi16(pairs, ones));
      }
    }
  }
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
