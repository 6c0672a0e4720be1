#include "kernels/avx2/gemm.h"
#include "kernels/avxvnni/dot_product.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

/// vpdpbusd: activations are the unsigned side, with 128 added to them.
struct Dpbusd {
  /// 6 x 2 accumulators, two registers of weights and one of activations out of 16.
  static constexpr int most_rows = 6;
  /// 2 rows with two tiles are 5 % slower (Emerald Rapids, 1, 4 and 8 threads).
  static constexpr int few_rows = 1;
  /// -128 * (sum of w), which takes the products of that 128 off again.
  static Int32x8 start(const int32_t* w_sum) {
    return start(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w_sum)));
  }
  static Int32x8 start(const int16_t* w_sum) {
    return start(_mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w_sum))));
  }
  static Int32x8 start(__m256i w_sum) {
    return (Int32x8)_mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32(w_sum, 7));
  }

  template <int rows, int tiles>
  [[gnu::always_inline]] static void add_chunk(const int8_t* a, int64_t lda,
                                               const Weights<tiles>& w, int64_t c,
                                               Int32x8 (&acc)[rows][2 * tiles]) {
    __m256i weights[2 * tiles];
#pragma GCC unroll 8
    for (int i = 0; i < 2 * tiles; ++i) weights[i] = w.load(c, i);
#pragma GCC unroll 6
    for (int r = 0; r < rows; ++r) {
      int32_t four;
      __builtin_memcpy(&four, a + r * lda + tile_k * c, sizeof four);
      const __m256i x = _mm256_set1_epi32(four);
#pragma GCC unroll 8
      for (int i = 0; i < 2 * tiles; ++i)
        acc[r][i] = (Int32x8)dpbusd((__m256i)acc[r][i], x, weights[i]);
    }
  }
};

}  // namespace

void gemm_s8s8_f32_6x16_avxvnni(const GemmS8& g) {
  gemm<Dpbusd>(g);
}
void gemm_s8s8_f32_g128_6x16_avxvnni(const GemmS8Grouped& g) {
  gemm<Dpbusd>(g);
}
void gemm_s8s8_s32_6x16_avxvnni(const GemmS8S32& g) {
  gemm<Dpbusd>(g);
}

}  // namespace octet::kernels
