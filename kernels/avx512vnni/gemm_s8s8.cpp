#include "kernels/avx512vnni/gemm_block.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

template <int rows, int tiles>
void write(const GemmS8& g, int64_t row, const Columns<tiles>& columns,
           const Int32x16 (&acc)[rows][tiles]) {
#pragma GCC unroll 4
  for (int t = 0; t < tiles; ++t) {
    const int64_t col = columns.tile[t] * tile_n;
    const __m512 w_scale = _mm512_loadu_ps(g.w_scale + col);
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r) {
      const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(g.a_scale[row + r]), w_scale);
      store(g, row + r, col, columns.mask[t],
            _mm512_mul_ps(_mm512_cvtepi32_ps((__m512i)acc[r][t]), scale));
    }
  }
}

template <int rows, int tiles>
void write(const GemmS8S32& g, int64_t row, const Columns<tiles>& columns,
           const Int32x16 (&acc)[rows][tiles]) {
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int t = 0; t < tiles; ++t)
      _mm512_mask_storeu_epi32(g.c + (row + r) * g.ldc + columns.tile[t] * tile_n, columns.mask[t],
                               (__m512i)acc[r][t]);
}

template <int rows, int tiles, class Gemm>
void block(const Gemm& g, int64_t row, int64_t tile, Ahead ahead) {
  const Columns<tiles> columns(g.n, tile);
  Int32x16 acc[rows][tiles];
  multiply<rows, tiles>(g, row, columns, ahead, acc);
  write(g, row, columns, acc);
}

template <class Gemm>
void gemm(const Gemm& g) {
  const auto one_block = [&](auto shape, int64_t row, int64_t tile, Ahead ahead) {
    block<shape.rows, shape.tiles>(g, row, tile, ahead);
  };
  if (g.m <= few_rows) return for_few_rows(g, one_block);
  for_each_block<block_rows, block_tiles>(g, 0, padded_n(g.n) / tile_n, one_block);
}

}  // namespace

void gemm_s8s8_f32_12x32_avx512vnni(const GemmS8& g) {
  gemm(g);
}
void gemm_s8s8_s32_12x32_avx512vnni(const GemmS8S32& g) {
  gemm(g);
}

}  // namespace octet::kernels
