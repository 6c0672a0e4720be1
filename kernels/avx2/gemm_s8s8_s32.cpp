#include "kernels/avx2/gemm_block.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

template <int rows>
void block(const GemmS8S32& g, int64_t row, int64_t tile) {
  const int64_t k = padded_k(g.k);
  Int32x8 acc[rows][2];
  dot<rows>(g.a + row * g.lda, g.lda, g.w + tile * tile_n * k, k / tile_k, acc);
  for (int r = 0; r < rows; ++r)
    for (int half = 0; half < 2; ++half) {
      const int64_t col = tile * tile_n + 8 * half;
      _mm256_maskstore_epi32(g.c + (row + r) * g.ldc + col, first_lanes(g.n - col),
                             (__m256i)acc[r][half]);
    }
}

}  // namespace

void gemm_s8s8_s32_4x16_avx2(const GemmS8S32& g) {
  for_each_block<block_rows, 1>(
      g, 0, padded_n(g.n) / tile_n,
      [&](auto shape, int64_t row, int64_t tile, Ahead) { block<shape.rows>(g, row, tile); });
}

}  // namespace octet::kernels
