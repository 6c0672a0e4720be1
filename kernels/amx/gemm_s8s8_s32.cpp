#include "kernels/amx/gemm_block.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

void compute(const GemmS8S32& g, const Block& b) {
  Sums sums;
  dot(b.row_tiles, b.col_tiles, b.operands(g, 0), padded_k(g.k), b.ahead, sums);
  for (int t = 0; t < b.col_tiles; ++t) {
    const int64_t col = (b.tile + t) * tile_n;
    const __m512i start = (__m512i)correction(_mm512_loadu_si512(g.w_sum + col));
    for (int64_t row = b.first; row < b.end(); ++row) {
      const __m512i sum =
          _mm512_add_epi32(start, _mm512_load_si512(&sums.value[row - b.row][t * tile_n]));
      _mm512_mask_storeu_epi32(g.c + row * g.ldc + col, b.mask(g, t), sum);
    }
  }
}

}  // namespace

void gemm_s8s8_s32_32x32_amx(const GemmS8S32& g) {
  if (g.m < side) return gemm_s8s8_s32_12x32_avx512vnni(g);
  const Tiles tiles;
  for_each_tile_block(g, [&](const Block& block) { compute(g, block); });
}

}  // namespace octet::kernels
