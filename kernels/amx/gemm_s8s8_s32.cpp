#include "kernels/amx/gemm_block.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

struct Plain {
  static void store_row(const GemmS8S32& g, int64_t row, int64_t col, __mmask16 mask, __m512i sum) {
    _mm512_mask_storeu_epi32(g.c + row * g.ldc + col, mask, sum);
  }
};

}  // namespace

void gemm_s8s8_s32_32x32_amx(const GemmS8S32& g) {
  if (!packs_activations(Isa::amx, g.m)) return gemm_s8s8_s32_12x32_avx512vnni(g);
  multiply<GemmS8S32, Plain>(g);
}

}  // namespace octet::kernels
