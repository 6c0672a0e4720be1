#include "kernels/amx/gemm_block.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

void compute(const GemmS8& g, const Block& b) {
  Sums sums;
  dot(b.row_tiles, b.col_tiles, b.operands(g, 0), padded_k(g.k), b.ahead, sums);
  for (int t = 0; t < b.col_tiles; ++t) {
    const int64_t col = (b.tile + t) * tile_n;
    const __m512 w_scale = _mm512_loadu_ps(g.w_scale + col);
    const __m512i start = (__m512i)correction(_mm512_loadu_si512(g.w_sum + col));
    const __mmask16 mask = b.mask(g, t);
    for (int64_t row = b.first; row < b.end(); ++row) {
      const __m512i sum =
          _mm512_add_epi32(start, _mm512_load_si512(&sums.value[row - b.row][t * tile_n]));
      const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(g.a_scale[row]), w_scale);
      store(g, row, col, mask, _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale));
    }
  }
}

}  // namespace

void gemm_s8s8_f32_32x32_amx(const GemmS8& g) {
  // Few rows are bound by reading the weights, and would leave most of a tile empty.
  if (g.m < side) return gemm_s8s8_f32_12x32_avx512vnni(g);
  const Tiles tiles;
  for_each_tile_block(g, [&](const Block& block) { compute(g, block); });
}

}  // namespace octet::kernels
