// What one thread can do with sdot: kernels/types.h.
#include "kernels/neon/peak.h"

#include "kernels/table.h"

namespace octet::kernels {

/// One sdot for 16 products.
uint64_t peak_int8_neon_dotprod(uint64_t iterations) {
  const int8x16_t a = vdupq_n_s8(3), w = vdupq_n_s8(-5);
  run_chains(iterations, vdupq_n_s32(0), [&](int32x4_t sum) { return vdotq_s32(sum, a, w); });
  return iterations * chains * 16 * 2;
}

}  // namespace octet::kernels
