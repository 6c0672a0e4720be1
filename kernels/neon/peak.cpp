// What one thread can do with ARMv8's NEON: kernels/types.h.
#include "kernels/neon/peak.h"

#include "kernels/table.h"

namespace octet::kernels {

/// The three instructions that the multiplications spend on 16 products of a row: smull, smlal,
/// sadalp.
uint64_t peak_int8_neon(uint64_t iterations) {
  const int8x8_t w = vdup_n_s8(-5);
  run_chains(iterations, vdupq_n_s32(0), [w, a = vdup_n_s8(3)](int32x4_t sum) mutable {
    asm volatile("" : "+w"(a));  // a new value for the compiler: the products are not reused
    return vpadalq_s16(sum, vmlal_s8(vmull_s8(a, w), a, w));
  });
  return iterations * chains * 16 * 2;
}

uint64_t peak_fp32_neon(uint64_t iterations) {
  const float32x4_t factor = vdupq_n_f32(0.5f), summand = vdupq_n_f32(1.0f);
  run_chains(iterations, vdupq_n_f32(0),
             [&](float32x4_t sum) { return vfmaq_f32(sum, factor, summand); });
  return iterations * chains * 4 * 2;
}

uint64_t read_sum_neon(const void* data, uint64_t bytes) {
  const auto* words = static_cast<const uint64_t*>(data);
  uint64x2_t sum[8] = {};
  for (uint64_t i = 0; i < bytes / sizeof(uint64_t); i += 16)
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) sum[j] = vaddq_u64(sum[j], vld1q_u64(words + i + 2 * j));
  for (int j = 1; j < 8; ++j) sum[0] = vaddq_u64(sum[0], sum[j]);
  return vaddvq_u64(sum[0]);
}

}  // namespace octet::kernels
