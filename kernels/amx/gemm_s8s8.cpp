#include "kernels/amx/gemm_block.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

/// What multiply() does with the exact sums of a row and tile.
struct Write {
  static void store_row(const GemmS8& g, int64_t row, int64_t col, __mmask16 mask, __m512i sum) {
    const __m512 scale =
        _mm512_mul_ps(_mm512_set1_ps(g.a_scale[row]), _mm512_loadu_ps(g.w_scale + col));
    store(g, row, col, mask, _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale));
  }
  static void store_row(const GemmS8S32& g, int64_t row, int64_t col, __mmask16 mask, __m512i sum) {
    _mm512_mask_storeu_epi32(g.c + row * g.ldc + col, mask, sum);
  }
};

}  // namespace

// Few rows, which are bound by reading the weights and would leave most of a tile empty, come as
// they are (activation_layout()).
void gemm_s8s8_f32_32x32_amx(const GemmS8& g) {
  if (g.layout == ActivationLayout::rows) return gemm_s8s8_f32_12x32_avx512vnni(g);
  multiply<GemmS8, Write>(g);
}
void gemm_s8s8_s32_32x32_amx(const GemmS8S32& g) {
  if (g.layout == ActivationLayout::rows) return gemm_s8s8_s32_12x32_avx512vnni(g);
  multiply<GemmS8S32, Write>(g);
}

}  // namespace octet::kernels
