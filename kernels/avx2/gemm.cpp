#include "kernels/avx2/gemm.h"

#include "kernels/table.h"

namespace octet::kernels {
namespace {

/// vpmaddubsw multiplies unsigned by signed and saturates at 16 bits. As |w| * (a with the sign of
/// w) a pair of products is at most 2 * 128 * 127 = 32512, so nothing saturates.
struct Maddubs {
  /// 4 x 2 accumulators. With 5 or 6 rows GCC 12 runs out of registers: 115 and 120 instead of 135
  /// billion operations a second (Zen 4, one thread).
  static constexpr int most_rows = 4;
  /// 2 rows from memory, two Zen 3 threads: 36 GB/s, with one tile 31, with four 38 (but 16
  /// accumulators); 3 rows 33 and 31, 4 no difference.
  static constexpr int few_rows = 2;
  static Int32x8 start(const void*) { return Int32x8{}; }

  template <int rows, int tiles>
  [[gnu::always_inline]] static void add_chunk(const int8_t* a, int64_t lda,
                                               const Weights<tiles>& w, int64_t c,
                                               Int32x8 (&acc)[rows][2 * tiles]) {
    const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 8
    for (int i = 0; i < 2 * tiles; ++i) {
      __m256i weights = w.load(c, i);
      asm("" : "+x"(weights));  // else GCC 12 stores it and reads it from there
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
};

}  // namespace

void gemm_s8s8_f32_4x16_avx2(const GemmS8& g) {
  gemm<Maddubs>(g);
}
void gemm_s8s8_f32_g128_4x16_avx2(const GemmS8Grouped& g) {
  gemm<Maddubs>(g);
}
void gemm_s8s8_s32_4x16_avx2(const GemmS8S32& g) {
  gemm<Maddubs>(g);
}

}  // namespace octet::kernels
