#include "kernels/avx512vnni/gemm_block.h"
#include "kernels/avx512vnni/group_scales.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

/// Asks for the next tiles' sums and scales of a group, where they come from memory: they are read
/// where no prefetching by the processor follows (1 row: 2 % of a layer, 4 % of the head; asking
/// once for the two groups of a cache line gained half of that).
template <int tiles>
[[gnu::always_inline]] inline void bring_scales(const GemmS8Grouped& g,
                                                const Columns<tiles>& columns, int64_t group) {
#pragma GCC unroll 4
  for (int t = 0; t < tiles; ++t) {
    const int64_t at = ((columns.tile[t] + tiles) * num_groups(g.k) + group) * tile_n;
    _mm_prefetch(reinterpret_cast<const char*>(g.w_sum + at), _MM_HINT_T1);
    _mm_prefetch(reinterpret_cast<const char*>(g.w_scale + at), _MM_HINT_T1);
  }
}

template <int rows, int tiles>
void block(const GemmS8Grouped& g, int64_t row, int64_t tile, Ahead ahead) {
  const int64_t k = padded_k(g.k), groups = num_groups(g.k);
  const Columns<tiles> columns(g.n, tile);
  __m512 value[rows][tiles];
  for (int r = 0; r < rows; ++r)
    for (int t = 0; t < tiles; ++t) value[r][t] = _mm512_setzero_ps();
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t begin = group * group_size;
    const int64_t size = k - begin < group_size ? k - begin : group_size;
    Int32x16 start[tiles], acc[rows][tiles];
#pragma GCC unroll 4
    for (int t = 0; t < tiles; ++t)
      start[t] = correction(load_sums(g.w_sum + (columns.tile[t] * groups + group) * tile_n));
    if (ahead.stream) bring_scales(g, columns, group);
    const Cursor<rows, tiles> at(g, row, columns, begin);
    dot(at, size / tile_k, ahead, start, acc);
    // The first groups ask for the next columns' weights, a line a chunk.
    const int64_t lines = ahead.lines < size / tile_k ? ahead.lines : size / tile_k;
    ahead.from += 64 * lines;
    ahead.lines -= lines;
#pragma GCC unroll 4
    for (int t = 0; t < tiles; ++t) {
      const __m512 w_scale = load_bfloat16(g.w_scale + (columns.tile[t] * groups + group) * tile_n);
#pragma GCC unroll 12
      for (int r = 0; r < rows; ++r) {
        const __m512 scale =
            _mm512_mul_ps(_mm512_set1_ps(g.a_scale[(row + r) * groups + group]), w_scale);
        value[r][t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps((__m512i)acc[r][t]), scale, value[r][t]);
      }
    }
  }
  for (int r = 0; r < rows; ++r)
    for (int t = 0; t < tiles; ++t)
      store(g, row + r, columns.tile[t] * tile_n, columns.mask[t], value[r][t]);
}

}  // namespace

void gemm_s8s8_f32_g128_12x32_avx512vnni(const GemmS8Grouped& g) {
  for_each_shaped_block(g, [&](auto shape, int64_t row, int64_t tile, Ahead ahead) {
    block<shape.rows, shape.tiles>(g, row, tile, ahead);
  });
}

}  // namespace octet::kernels
