// int8 matrix multiplications for every ARMv8 processor: 16-bit products, in pairs.
#include "kernels/neon/gemm.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

struct Smull {
  /// 2 x 8 accumulators, 4 registers of activations, 2 of weights and the products of 32.
  static constexpr int most_rows = 2;

  template <int rows>
  [[gnu::always_inline]] static inline void dot(const int8_t* a, int64_t lda, const int8_t* w,
                                                int64_t chunks, int32x4_t (&acc)[rows][quads]) {
    // Lanes 0 and 1 of sum[r][h] belong to output 2 h, lanes 2 and 3 to output 2 h + 1.
    int32x4_t sum[rows][2 * quads];
#pragma GCC unroll 2
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
      for (int h = 0; h < 2 * quads; ++h) sum[r][h] = vdupq_n_s32(0);
    int64_t c = 0;
    for (; c + 2 <= chunks; c += 2) add_two(a + tile_k * c, lda, w + 64 * c, sum);
    if (c < chunks) add_one(a + tile_k * c, lda, w + 64 * c, sum);
#pragma GCC unroll 2
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
      for (int q = 0; q < quads; ++q) acc[r][q] = vpaddq_s32(sum[r][2 * q], sum[r][2 * q + 1]);
  }

 private:
  /// Two chunks. The sum of two products is at most 2 * 127 * 128 = 32512: it fits 16 bits.
  template <int rows>
  [[gnu::always_inline]] static inline void add_two(const int8_t* a, int64_t lda, const int8_t* w,
                                                    int32x4_t (&sum)[rows][2 * quads]) {
    int8x16_t x[rows][2];
#pragma GCC unroll 2
    for (int r = 0; r < rows; ++r) {
      x[r][0] = load_four(a + r * lda);
      x[r][1] = load_four(a + r * lda + tile_k);
    }
#pragma GCC unroll 4
    for (int q = 0; q < quads; ++q) {
      const int8x16_t first = vld1q_s8(w + 16 * q), second = vld1q_s8(w + 64 + 16 * q);
#pragma GCC unroll 2
      for (int r = 0; r < rows; ++r) {
        const int16x8_t low = vmlal_s8(vmull_s8(vget_low_s8(first), vget_low_s8(x[r][0])),
                                       vget_low_s8(second), vget_low_s8(x[r][1]));
        const int16x8_t high = vmlal_high_s8(vmull_high_s8(first, x[r][0]), second, x[r][1]);
        sum[r][2 * q] = vpadalq_s16(sum[r][2 * q], low);
        sum[r][2 * q + 1] = vpadalq_s16(sum[r][2 * q + 1], high);
      }
    }
  }
  template <int rows>
  [[gnu::always_inline]] static inline void add_one(const int8_t* a, int64_t lda, const int8_t* w,
                                                    int32x4_t (&sum)[rows][2 * quads]) {
    for (int r = 0; r < rows; ++r) {
      const int8x16_t x = load_four(a + r * lda);
      for (int q = 0; q < quads; ++q) {
        const int8x16_t weights = vld1q_s8(w + 16 * q);
        const int16x8_t low = vmull_s8(vget_low_s8(weights), vget_low_s8(x));
        sum[r][2 * q] = vpadalq_s16(sum[r][2 * q], low);
        sum[r][2 * q + 1] = vpadalq_s16(sum[r][2 * q + 1], vmull_high_s8(weights, x));
      }
    }
  }
};

}  // namespace

void gemm_s8s8_f32_2x16_neon(const GemmS8& g) {
  gemm<Smull>(g);
}
void gemm_s8s8_f32_g128_2x16_neon(const GemmS8Grouped& g) {
  gemm<Smull>(g);
}
void gemm_s8s8_s32_2x16_neon(const GemmS8S32& g) {
  gemm<Smull>(g);
}

}  // namespace octet::kernels
