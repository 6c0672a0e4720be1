#include "kernels/avx2/gemm_block.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

/// 8 bfloat16 values as fp32.
__m256 load_bfloat16(const uint16_t* bits) {
  const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bits));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

template <int rows>
void block(const GemmS8Grouped& g, int64_t row, int64_t tile) {
  const int64_t k = padded_k(g.k), groups = num_groups(g.k);
  const int8_t* a = g.a + row * g.lda;
  const int8_t* w = g.w + tile * tile_n * k;
  __m256 value[rows][2];
  for (int r = 0; r < rows; ++r) value[r][0] = value[r][1] = _mm256_setzero_ps();
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t begin = group * group_size;
    const int64_t size = k - begin < group_size ? k - begin : group_size;
    Int32x8 acc[rows][2];
    dot<rows>(a + begin, g.lda, w + begin * tile_n, size / tile_k, acc);
    const uint16_t* w_scale = g.w_scale + (tile * groups + group) * tile_n;
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m256 scales = load_bfloat16(w_scale + 8 * half);
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) {
        const __m256 scale =
            _mm256_mul_ps(_mm256_set1_ps(g.a_scale[(row + r) * groups + group]), scales);
        value[r][half] =
            _mm256_fmadd_ps(_mm256_cvtepi32_ps((__m256i)acc[r][half]), scale, value[r][half]);
      }
    }
  }
  for (int r = 0; r < rows; ++r)
    for (int half = 0; half < 2; ++half)
      store(g, row + r, tile * tile_n + 8 * half, value[r][half]);
}

}  // namespace

void gemm_s8s8_f32_g128_4x16_avx2(const GemmS8Grouped& g) {
  for_each_block<block_rows, 1>(
      g, 0, padded_n(g.n) / tile_n,
      [&](auto shape, int64_t row, int64_t tile, Ahead) { block<shape.rows>(g, row, tile); });
}

}  // namespace octet::kernels
