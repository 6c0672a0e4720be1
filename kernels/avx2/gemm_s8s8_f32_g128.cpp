#include "kernels/avx2/gemm_block.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

/// 8 bfloat16 values as fp32.
__m256 load_bfloat16(const uint16_t* bits) {
  const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bits));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

template <int rows, int tiles>
void block(const GemmS8Grouped& g, int64_t row, int64_t tile, Ahead ahead) {
  const int64_t k = padded_k(g.k), groups = num_groups(g.k);
  const Weights<tiles> weights(g, tile, ahead);
  __m256 value[rows][2 * tiles];
  for (int r = 0; r < rows; ++r)
    for (int i = 0; i < 2 * tiles; ++i) value[r][i] = _mm256_setzero_ps();
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t begin = group * group_size;
    const int64_t end = k - begin < group_size ? k : begin + group_size;
    Int32x8 acc[rows][2 * tiles];
    dot<rows, tiles>(g.a + row * g.lda, g.lda, weights, begin / tile_k, end / tile_k, acc);
#pragma GCC unroll 8
    for (int i = 0; i < 2 * tiles; ++i) {
      const int64_t at = ((tile + i / 2) * groups + group) * tile_n + i % 2 * 8;
      const __m256 scales = load_bfloat16(g.w_scale + at);
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) {
        const __m256 scale =
            _mm256_mul_ps(_mm256_set1_ps(g.a_scale[(row + r) * groups + group]), scales);
        value[r][i] = _mm256_fmadd_ps(_mm256_cvtepi32_ps((__m256i)acc[r][i]), scale, value[r][i]);
      }
    }
  }
  for (int r = 0; r < rows; ++r)
    for (int i = 0; i < 2 * tiles; ++i) store(g, row + r, tile * tile_n + 8 * i, value[r][i]);
}

}  // namespace

void gemm_s8s8_f32_g128_4x16_avx2(const GemmS8Grouped& g) {
  for_each_shaped_block(g, [&](auto shape, int64_t row, int64_t tile, Ahead ahead) {
    block<shape.rows, shape.tiles>(g, row, tile, ahead);
  });
}

}  // namespace octet::kernels
