#include "kernels/avx512vnni/gemm_block.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

template <int rows, int tiles>
void block(const GemmS8S32& g, int64_t row, int64_t tile, Ahead ahead) {
  const Columns<tiles> columns(g.n, tile);
  Int32x16 acc[rows][tiles];
  multiply<rows, tiles>(g, row, columns, ahead, acc);
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int t = 0; t < tiles; ++t)
      _mm512_mask_storeu_epi32(g.c + (row + r) * g.ldc + columns.tile[t] * tile_n, columns.mask[t],
                               (__m512i)acc[r][t]);
}

}  // namespace

void gemm_s8s8_s32_12x32_avx512vnni(const GemmS8S32& g) {
  for_each_shaped_block(g, [&](auto shape, int64_t row, int64_t tile, Ahead ahead) {
    block<shape.rows, shape.tiles>(g, row, tile, ahead);
  });
}

}  // namespace octet::kernels
