#include "kernels/avx2/gemm_block.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

void write(const GemmS8& g, int64_t row, int64_t col, Int32x8 sum) {
  const __m256 scale =
      _mm256_mul_ps(_mm256_set1_ps(g.a_scale[row]), _mm256_loadu_ps(g.w_scale + col));
  store(g, row, col, _mm256_mul_ps(_mm256_cvtepi32_ps((__m256i)sum), scale));
}

void write(const GemmS8S32& g, int64_t row, int64_t col, Int32x8 sum) {
  _mm256_maskstore_epi32(g.c + row * g.ldc + col, first_lanes(g.n - col), (__m256i)sum);
}

template <int rows, int tiles, class Gemm>
void block(const Gemm& g, int64_t row, int64_t tile, Ahead ahead) {
  Int32x8 acc[rows][2 * tiles];
  dot<rows, tiles>(g.a + row * g.lda, g.lda, Weights<tiles>(g, tile, ahead), 0,
                   padded_k(g.k) / tile_k, acc);
  for (int r = 0; r < rows; ++r)
    for (int half = 0; half < 2 * tiles; ++half)
      write(g, row + r, tile * tile_n + 8 * half, acc[r][half]);
}

template <class Gemm>
void gemm(const Gemm& g) {
  for_each_shaped_block(g, [&](auto shape, int64_t row, int64_t tile, Ahead ahead) {
    block<shape.rows, shape.tiles>(g, row, tile, ahead);
  });
}

}  // namespace

void gemm_s8s8_f32_4x16_avx2(const GemmS8& g) {
  gemm(g);
}
void gemm_s8s8_s32_4x16_avx2(const GemmS8S32& g) {
  gemm(g);
}

}  // namespace octet::kernels
