#include "kernels/amx/gemm_block.h"
#include "kernels/avx512vnni/group_scales.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

/// The fp32 values of a block while its groups are added up.
struct Values {
  alignas(64) float value[block_side][block_side];
};

/// values += the sums of one group, scaled.
void add_group(const GemmS8Grouped& g, const Block& b, int64_t group, const Sums& sums,
               Values& values) {
  const int64_t groups = num_groups(g.k);
  for (int t = 0; t < b.col_tiles; ++t) {
    const int64_t at = ((b.tile + t) * groups + group) * tile_n;
    const __m512 w_scale = load_bfloat16(g.w_scale + at);
    const __m512i start = (__m512i)correction(load_sums(g.w_sum + at));
    for (int64_t row = b.first; row < b.end(); ++row) {
      const int64_t r = row - b.row;
      float* value = &values.value[r][t * tile_n];
      const __m512i sum = _mm512_add_epi32(start, _mm512_load_si512(&sums.value[r][t * tile_n]));
      const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(g.a_scale[row * groups + group]), w_scale);
      _mm512_store_ps(value,
                      _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, _mm512_load_ps(value)));
    }
  }
}

void compute(const GemmS8Grouped& g, const Block& b) {
  const int64_t k = padded_k(g.k), groups = num_groups(g.k);
  Values values{};
  Ahead ahead{b.ahead.from, (b.ahead.lines + groups - 1) / groups};
  for (int64_t group = 0; group < groups; ++group, ahead.from += 64 * ahead.lines) {
    const int64_t begin = group * group_size;
    Sums sums;
    dot(b.row_tiles, b.col_tiles, b.operands(g, begin),
        k - begin < group_size ? k - begin : group_size, ahead, sums);
    add_group(g, b, group, sums, values);
  }
  for (int t = 0; t < b.col_tiles; ++t)
    for (int64_t row = b.first; row < b.end(); ++row)
      store(g, row, (b.tile + t) * tile_n, b.mask(g, t),
            _mm512_load_ps(&values.value[row - b.row][t * tile_n]));
}

}  // namespace

void gemm_s8s8_f32_g128_32x32_amx(const GemmS8Grouped& g) {
  if (g.m < side) return gemm_s8s8_f32_g128_12x32_avx512vnni(g);
  const Tiles tiles;
  for_each_tile_block(g, [&](const Block& block) { compute(g, block); });
}

}  // namespace octet::kernels
