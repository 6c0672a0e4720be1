// int8 matrix multiplications with sdot (ARMv8.2 dot product): 16 products an instruction, four
// bytes of a row of activations with those of four outputs, as the packed weights lie.
#include "kernels/neon/gemm.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

struct Sdot {
  /// 4 x 4 accumulators, 4 registers of activations and the weights of a chunk: 20 loads for 64
  /// sdot.
  static constexpr int most_rows = 4;

  template <int rows>
  [[gnu::always_inline]] static inline void dot(const int8_t* a, int64_t lda, const int8_t* w,
                                                int64_t chunks, int32x4_t (&acc)[rows][quads]) {
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
      for (int q = 0; q < quads; ++q) acc[r][q] = vdupq_n_s32(0);
    int64_t c = 0;
    int8x16_t x[rows];
    for (; c + 4 <= chunks; c += 4) {
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) x[r] = vld1q_s8(a + r * lda + tile_k * c);
      add_chunk<0>(x, w + 64 * c, acc);
      add_chunk<1>(x, w + 64 * (c + 1), acc);
      add_chunk<2>(x, w + 64 * (c + 2), acc);
      add_chunk<3>(x, w + 64 * (c + 3), acc);
    }
    for (; c < chunks; ++c) {
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) x[r] = load_four(a + r * lda + tile_k * c);
      add_chunk<0>(x, w + 64 * c, acc);
    }
  }

 private:
  /// acc[r] += products of bytes 4 lane to 4 lane + 3 of x[r] with the chunk w.
  template <int lane, int rows>
  [[gnu::always_inline]] static inline void add_chunk(const int8x16_t (&x)[rows], const int8_t* w,
                                                      int32x4_t (&acc)[rows][quads]) {
#pragma GCC unroll 4
    for (int q = 0; q < quads; ++q) {
      const int8x16_t weights = vld1q_s8(w + 16 * q);
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) acc[r][q] = vdotq_laneq_s32(acc[r][q], weights, x[r], lane);
    }
  }
};

}  // namespace

void gemm_s8s8_f32_4x16_neon_dotprod(const GemmS8& g) {
  gemm<Sdot>(g);
}
void gemm_s8s8_f32_g128_4x16_neon_dotprod(const GemmS8Grouped& g) {
  gemm<Sdot>(g);
}
void gemm_s8s8_s32_4x16_neon_dotprod(const GemmS8S32& g) {
  gemm<Sdot>(g);
}

}  // namespace octet::kernels
