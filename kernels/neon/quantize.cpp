#include <arm_neon.h>

#include <cstddef>

#include "kernels/quantize_groups.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

constexpr uint32_t infinity_bits = 0x7f800000;

/// The largest |x| as bits: magnitudes are ordered like integers, infinity and NaN above the rest.
uint32_t absmax_bits(const float* x, int64_t k) {
  uint32x4_t max[4] = {};
  int64_t i = 0;
  for (; i + 16 <= k; i += 16)
    for (int j = 0; j < 4; ++j) {
      const float32x4_t magnitudes = vabsq_f32(vld1q_f32(x + i + 4 * j));
      max[j] = vmaxq_u32(max[j], vreinterpretq_u32_f32(magnitudes));
    }
  uint32_t largest = vmaxvq_u32(vmaxq_u32(vmaxq_u32(max[0], max[1]), vmaxq_u32(max[2], max[3])));
  for (; i < k; ++i) {
    const auto bits = __builtin_bit_cast(uint32_t, __builtin_fabsf(x[i]));
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

/// rint(x * inverse) of 16 values as bytes.
int8x16_t round16(const float* x, float inverse) {
  int16x4_t q[4];
  for (int j = 0; j < 4; ++j)
    q[j] = vmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4 * j), inverse)));
  return vcombine_s8(vmovn_s16(vcombine_s16(q[0], q[1])), vmovn_s16(vcombine_s16(q[2], q[3])));
}

/// Quantizes k values that share a scale and pads to a multiple of 4. False if one is not finite.
bool quantize(const float* x, int64_t k, int8_t* q, float* scale, uint8_t activation_xor) {
  const uint32_t bits = absmax_bits(x, k);
  if (bits >= infinity_bits) return false;
  const QuantizeScale s = quantize_scale(__builtin_bit_cast(float, bits));
  *scale = s.scale;
  const int8x16_t flip = vreinterpretq_s8_u8(vdupq_n_u8(activation_xor));
  int64_t i = 0;
  for (; i + 16 <= k; i += 16) vst1q_s8(q + i, veorq_s8(round16(x + i, s.inverse), flip));
  if (i < k) {
    float rest[16] = {};
    __builtin_memcpy(rest, x + i, static_cast<size_t>(k - i) * sizeof(float));
    int8_t bytes[16];
    vst1q_s8(bytes, veorq_s8(round16(rest, s.inverse), flip));
    __builtin_memcpy(q + i, bytes, static_cast<size_t>(padded_k(k) - i));
  }
  return true;
}

}  // namespace

bool quantize_f32_s16_neon(const QuantizeRow16& row) {
  const uint32_t bits = absmax_bits(row.x, row.k);
  if (bits >= infinity_bits) return false;
  const QuantizeScale s = quantize_scale(__builtin_bit_cast(float, bits), kv_s16_levels);
  *row.scale = s.scale;
  for (int64_t i = 0; i < row.k; i += 4) {
    float rest[4] = {};
    if (row.k - i < 4) __builtin_memcpy(rest, row.x + i, static_cast<size_t>(row.k - i) * 4);
    const float32x4_t values = vld1q_f32(row.k - i < 4 ? rest : row.x + i);
    vst1_s16(row.q + i, vmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(values, s.inverse))));
  }
  return true;
}

bool quantize_f32_s8_neon(const QuantizeRow& row) {
  return quantize(row.x, row.k, row.q, row.scale, row.activation_xor);
}

bool quantize_f32_s8_g128_neon(const QuantizeRow& row) {
  return quantize_groups(row, [&](const float* x, int64_t k, int8_t* q, float* scale) {
    return quantize(x, k, q, scale, row.activation_xor);
  });
}

}  // namespace octet::kernels
