#include "kernels/amx/gemm_block.h"
#include "kernels/avx512vnni/group_scales.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

/// The fp32 values of a block while its groups are added up.
struct Values {
  alignas(64) float value[block_side][block_side];
};

/// values (=, +=) the sums of one group, scaled; after the last group they go to c.
struct AddGroup {
  const GemmS8Grouped* g;
  Block b;
  int64_t group;
  const Sums* sums;
  Values* values;

  [[gnu::always_inline]] void operator()(int64_t r) const {
    const int64_t groups = num_groups(g->k), row = b.row + r;
    for (int t = 0; t < b.col_tiles; ++t) {
      const int64_t at = ((b.tile + t) * groups + group) * tile_n;
      const __m512i sum = _mm512_add_epi32((__m512i)correction(load_sums(g->w_sum + at)),
                                           _mm512_load_si512(&sums->value[r][t * side]));
      const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(g->a_scale[row * groups + group]),
                                         load_bfloat16(g->w_scale + at));
      float* const value = &values->value[r][t * side];
      const __m512 before = group == 0 ? _mm512_setzero_ps() : _mm512_load_ps(value);
      const __m512 after = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, before);
      if (group + 1 < groups)
        _mm512_store_ps(value, after);
      else
        store(*g, row, (b.tile + t) * tile_n, b.mask(*g, t), after);
    }
  }
};

/// k = 0: no group, and nothing but the bias.
void store_zeros(const GemmS8Grouped& g) {
  for_each_panel(g, [&](const Block& b, int64_t, int64_t, int64_t) {
    for (int t = 0; t < b.col_tiles; ++t)
      for (int64_t r = 0; r < b.rows; ++r)
        store(g, b.row + r, (b.tile + t) * tile_n, b.mask(g, t), _mm512_setzero_ps());
  });
}

}  // namespace

void gemm_s8s8_f32_g128_32x32_amx(const GemmS8Grouped& g) {
  if (g.layout == ActivationLayout::rows) return gemm_s8s8_f32_g128_12x32_avx512vnni(g);
  if (g.k == 0) return store_zeros(g);
  constexpr int later_rows = block_side / (group_size / step_k);
  const Tiles tiles;
  Values values[panel_blocks];
  Sums sums[2];  // one that is made, one that is added
  Later<AddGroup> later;
  int64_t turn = 0;
  for_each_panel(g, [&](const Block& b, int64_t index, int64_t begin, int64_t size) {
    for (int64_t at = 0; at < size; at += group_size) {
      Sums& sum = sums[turn++ % 2];
      const int64_t k = size - at < group_size ? size - at : group_size;
      dot<later_rows>(g, b, begin + at, k, later, true, sum);
      later.start({&g, b, (begin + at) / group_size, &sum, &values[index]}, b.rows);
    }
  });
}

}  // namespace octet::kernels
