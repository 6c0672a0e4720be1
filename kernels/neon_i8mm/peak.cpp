// What one thread can do with smmla: kernels/types.h.
#include "kernels/neon/peak.h"

#include "kernels/table.h"

namespace octet::kernels {

/// One smmla for 32 products.
uint64_t peak_int8_neon_i8mm(uint64_t iterations) {
  const int8x16_t a = vdupq_n_s8(3), w = vdupq_n_s8(-5);
  run_chains(iterations, vdupq_n_s32(0), [&](int32x4_t sum) { return vmmlaq_s32(sum, a, w); });
  return iterations * chains * 32 * 2;
}

}  // namespace octet::kernels
