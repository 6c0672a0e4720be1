// int8 matrix multiplications with smmla (ARMv8.6 I8MM): 32 products an instruction, two rows of
// activations with two outputs over 8 values of K.
#include "kernels/neon/gemm.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

struct Smmla {
  /// 3 pairs of rows x 8 pairs of outputs: 24 accumulators, 3 registers of activations and 4 of
  /// weights of 32.
  static constexpr int most_rows = 6;

  template <int rows>
  [[gnu::always_inline]] static inline void dot(const int8_t* a, int64_t lda, const int8_t* w,
                                                int64_t chunks, int32x4_t (&acc)[rows][quads]) {
    // sum[p][h]: rows 2 p and 2 p + 1 with outputs 2 h and 2 h + 1, row by row.
    constexpr int pairs = (rows + 1) / 2;
    int32x4_t sum[pairs][2 * quads];
#pragma GCC unroll 3
    for (int p = 0; p < pairs; ++p)
#pragma GCC unroll 8
      for (int h = 0; h < 2 * quads; ++h) sum[p][h] = vdupq_n_s32(0);
    // The last row of an odd number is a pair with itself.
    const int8_t* row[2 * pairs];
#pragma GCC unroll 6
    for (int r = 0; r < 2 * pairs; ++r) row[r] = a + (r < rows ? r : rows - 1) * lda;
    int8x16_t x[pairs];
    int64_t c = 0;
    for (; c + 2 <= chunks; c += 2) {
#pragma GCC unroll 3
      for (int p = 0; p < pairs; ++p)
        x[p] = vcombine_s8(vld1_s8(row[2 * p] + tile_k * c), vld1_s8(row[2 * p + 1] + tile_k * c));
#pragma GCC unroll 4
      for (int q = 0; q < quads; ++q)
        add(x, vld1q_s8(w + 64 * c + 16 * q), vld1q_s8(w + 64 * (c + 1) + 16 * q), q, sum);
    }
    if (c < chunks) {
      // Half of the 8 values: they meet zeros.
      for (int p = 0; p < pairs; ++p)
        x[p] = vcombine_s8(vget_low_s8(load_four(row[2 * p] + tile_k * c)),
                           vget_low_s8(load_four(row[2 * p + 1] + tile_k * c)));
      for (int q = 0; q < quads; ++q) add(x, vld1q_s8(w + 64 * c + 16 * q), vdupq_n_s8(0), q, sum);
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
      for (int q = 0; q < quads; ++q) {
        const int64x2_t left = vreinterpretq_s64_s32(sum[r / 2][2 * q]);
        const int64x2_t right = vreinterpretq_s64_s32(sum[r / 2][2 * q + 1]);
        acc[r][q] =
            vreinterpretq_s32_s64(r % 2 == 0 ? vzip1q_s64(left, right) : vzip2q_s64(left, right));
      }
  }

 private:
  /// Products of all rows with outputs 4 q to 4 q + 3, of which `first` and `second` hold two
  /// chunks: zipped, they are 8 values of two outputs each.
  template <int pairs>
  [[gnu::always_inline]] static inline void add(const int8x16_t (&x)[pairs], int8x16_t first,
                                                int8x16_t second, int q,
                                                int32x4_t (&sum)[pairs][2 * quads]) {
    const int32x4_t a = vreinterpretq_s32_s8(first), b = vreinterpretq_s32_s8(second);
    const int8x16_t left = vreinterpretq_s8_s32(vzip1q_s32(a, b));
    const int8x16_t right = vreinterpretq_s8_s32(vzip2q_s32(a, b));
#pragma GCC unroll 3
    for (int p = 0; p < pairs; ++p) {
      sum[p][2 * q] = vmmlaq_s32(sum[p][2 * q], x[p], left);
      sum[p][2 * q + 1] = vmmlaq_s32(sum[p][2 * q + 1], x[p], right);
    }
  }
};

/// One row would leave half of each smmla empty; up to three, the zips cost as much as it saves.
template <class Gemm>
void gemm_or(void (*few_rows)(const Gemm&), const Gemm& g) {
  if (g.m <= 3) return few_rows(g);
  gemm<Smmla>(g);
}

}  // namespace

void gemm_s8s8_f32_6x16_neon_i8mm(const GemmS8& g) {
  gemm_or(gemm_s8s8_f32_4x16_neon_dotprod, g);
}
void gemm_s8s8_f32_g128_6x16_neon_i8mm(const GemmS8Grouped& g) {
  gemm_or(gemm_s8s8_f32_g128_4x16_neon_dotprod, g);
}
void gemm_s8s8_s32_6x16_neon_i8mm(const GemmS8S32& g) {
  gemm_or(gemm_s8s8_s32_4x16_neon_dotprod, g);
}

}  // namespace octet::kernels
