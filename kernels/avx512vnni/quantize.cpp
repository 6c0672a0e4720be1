#include "kernels/avx512vnni/intrinsics.h"
#include "kernels/quantize_groups.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

constexpr int32_t infinity_bits = 0x7f800000;

/// Lanes [0, count) of 16; count may be beyond 16.
__mmask16 first_lanes(int64_t count) {
  return static_cast<__mmask16>((1u << (count > 16 ? 16 : count)) - 1);
}

/// The largest |x| as bits: magnitudes are ordered like integers, infinity and NaN above the rest.
int32_t absmax_bits(const float* x, int64_t k) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  __m512i max[4] = {};
  auto join = [&](__m512i& into, __m512 values) {
    into = _mm512_max_epi32(into, _mm512_and_si512(_mm512_castps_si512(values), magnitude));
  };
  int64_t i = 0;
  for (; i + 64 <= k; i += 64)
    for (int j = 0; j < 4; ++j) join(max[j], _mm512_loadu_ps(x + i + 16 * j));
  for (; i < k; i += 16) join(max[0], _mm512_maskz_loadu_ps(first_lanes(k - i), x + i));
  return _mm512_reduce_max_epi32(
      _mm512_max_epi32(_mm512_max_epi32(max[0], max[1]), _mm512_max_epi32(max[2], max[3])));
}

/// Quantizes k values that share a scale and pads to a multiple of 4. False if one is not finite.
bool quantize(const float* x, int64_t k, int8_t* q, float* scale, uint8_t activation_xor) {
  const int32_t bits = absmax_bits(x, k);
  if (bits >= infinity_bits) return false;
  const QuantizeScale s = quantize_scale(__builtin_bit_cast(float, bits));
  *scale = s.scale;
  const __m512 inverse = _mm512_set1_ps(s.inverse);
  const __m128i flip = _mm_set1_epi8(static_cast<char>(activation_xor));
  auto bytes = [&](__m512 values) {
    const __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(values, inverse));
    return _mm_xor_si128(_mm512_cvtepi32_epi8(rounded), flip);
  };
  int64_t i = 0;
  for (; i + 16 <= k; i += 16)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q + i), bytes(_mm512_loadu_ps(x + i)));
  if (i < k)
    _mm_mask_storeu_epi8(q + i, first_lanes(padded_k(k) - i),
                         bytes(_mm512_maskz_loadu_ps(first_lanes(k - i), x + i)));
  return true;
}

}  // namespace

bool quantize_f32_s16_avx512vnni(const QuantizeRow16& row) {
  const int32_t bits = absmax_bits(row.x, row.k);
  if (bits >= infinity_bits) return false;
  const QuantizeScale s = quantize_scale(__builtin_bit_cast(float, bits), kv_s16_levels);
  *row.scale = s.scale;
  const __m512 inverse = _mm512_set1_ps(s.inverse);
  for (int64_t i = 0; i < row.k; i += 16) {
    const __m512 values = _mm512_maskz_loadu_ps(first_lanes(row.k - i), row.x + i);
    _mm512_mask_cvtepi32_storeu_epi16(row.q + i, first_lanes(padded_k(row.k) - i),
                                      _mm512_cvtps_epi32(_mm512_mul_ps(values, inverse)));
  }
  return true;
}

bool quantize_f32_s8_avx512vnni(const QuantizeRow& row) {
  return quantize(row.x, row.k, row.q, row.scale, row.activation_xor);
}

bool quantize_f32_s8_g128_avx512vnni(const QuantizeRow& row) {
  return quantize_groups(row, [&](const float* x, int64_t k, int8_t* q, float* scale) {
    return quantize(x, k, q, scale, row.activation_xor);
  });
}

}  // namespace octet::kernels
