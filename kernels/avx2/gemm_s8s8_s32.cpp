#include "kernels/avx2/gemm_block.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

template <int rows, int tiles>
void block(const GemmS8S32& g, int64_t row, int64_t tile, Ahead ahead) {
  Int32x8 acc[rows][2 * tiles];
  dot<rows, tiles>(g.a + row * g.lda, g.lda, Weights<tiles>(g, tile, ahead), 0,
                   padded_k(g.k) / tile_k, acc);
  for (int r = 0; r < rows; ++r)
    for (int half = 0; half < 2 * tiles; ++half) {
      const int64_t col = tile * tile_n + 8 * half;
      _mm256_maskstore_epi32(g.c + (row + r) * g.ldc + col, first_lanes(g.n - col),
                             (__m256i)acc[r][half]);
    }
}

}  // namespace

void gemm_s8s8_s32_4x16_avx2(const GemmS8S32& g) {
  for_each_shaped_block(g, [&](auto shape, int64_t row, int64_t tile, Ahead ahead) {
    block<shape.rows, shape.tiles>(g, row, tile, ahead);
  });
}

}  // namespace octet::kernels
