#include <immintrin.h>

#include "kernels/quantize_groups.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

constexpr int32_t infinity_bits = 0x7f800000;

/// Lanes [0, count) of 8; count may be beyond 8.
__m256i first_lanes(int64_t count) {
  const int lanes = static_cast<int>(count > 8 ? 8 : count);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/// The largest |x| as bits: magnitudes are ordered like integers, infinity and NaN above the rest.
int32_t absmax_bits(const float* x, int64_t k) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i max[4] = {};
  auto join = [&](__m256i& into, __m256 values) {
    into = _mm256_max_epi32(into, _mm256_and_si256(_mm256_castps_si256(values), magnitude));
  };
  int64_t i = 0;
  for (; i + 32 <= k; i += 32)
    for (int j = 0; j < 4; ++j) join(max[j], _mm256_loadu_ps(x + i + 8 * j));
  for (; i < k; i += 8) join(max[0], _mm256_maskload_ps(x + i, first_lanes(k - i)));
  const __m256i all =
      _mm256_max_epi32(_mm256_max_epi32(max[0], max[1]), _mm256_max_epi32(max[2], max[3]));
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
  return _mm_cvtsi128_si32(m);
}

/// rint(x * inverse) of 32 values as bytes.
__m256i round32(const __m256 (&x)[4], __m256 inverse) {
  __m256i q[4];
  for (int j = 0; j < 4; ++j) q[j] = _mm256_cvtps_epi32(_mm256_mul_ps(x[j], inverse));
  const __m256i bytes =
      _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
  // The packs work in each half alone: put the groups of four back in order.
  return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/// Quantizes k values that share a scale and pads to a multiple of 4. False if one is not finite.
bool quantize(const float* x, int64_t k, int8_t* q, float* scale, uint8_t activation_xor) {
  const int32_t bits = absmax_bits(x, k);
  if (bits >= infinity_bits) return false;
  const QuantizeScale s = quantize_scale(__builtin_bit_cast(float, bits));
  *scale = s.scale;
  const __m256 inverse = _mm256_set1_ps(s.inverse);
  const __m256i flip = _mm256_set1_epi8(static_cast<char>(activation_xor));
  int64_t i = 0;
  for (; i + 32 <= k; i += 32) {
    __m256 values[4];
    for (int j = 0; j < 4; ++j) values[j] = _mm256_loadu_ps(x + i + 8 * j);
    const __m256i bytes = _mm256_xor_si256(round32(values, inverse), flip);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + i), bytes);
  }
  if (i < k) {
    __m256 values[4] = {};
    for (int j = 0; i + 8 * j < k; ++j)
      values[j] = _mm256_maskload_ps(x + i + 8 * j, first_lanes(k - i - 8 * j));
    alignas(32) int8_t bytes[32];
    _mm256_store_si256(reinterpret_cast<__m256i*>(bytes),
                       _mm256_xor_si256(round32(values, inverse), flip));
    __builtin_memcpy(q + i, bytes, static_cast<size_t>(padded_k(k) - i));
  }
  return true;
}

}  // namespace

bool quantize_f32_s16_avx2(const QuantizeRow16& row) {
  const int32_t bits = absmax_bits(row.x, row.k);
  if (bits >= infinity_bits) return false;
  const QuantizeScale s = quantize_scale(__builtin_bit_cast(float, bits), kv_s16_levels);
  *row.scale = s.scale;
  const __m256 inverse = _mm256_set1_ps(s.inverse);
  for (int64_t i = 0; i < row.k; i += 8) {
    const __m256 values = _mm256_maskload_ps(row.x + i, first_lanes(row.k - i));
    const __m256i q = _mm256_cvtps_epi32(_mm256_mul_ps(values, inverse));
    alignas(16) int16_t words[8];
    _mm_store_si128(reinterpret_cast<__m128i*>(words),
                    _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1)));
    const int64_t left = padded_k(row.k) - i < 8 ? padded_k(row.k) - i : 8;
    __builtin_memcpy(row.q + i, words, static_cast<size_t>(left) * sizeof(int16_t));
  }
  return true;
}

bool quantize_f32_s8_avx2(const QuantizeRow& row) {
  return quantize(row.x, row.k, row.q, row.scale, row.activation_xor);
}

bool quantize_f32_s8_g128_avx2(const QuantizeRow& row) {
  return quantize_groups(row, [&](const float* x, int64_t k, int8_t* q, float* scale) {
    return quantize(x, k, q, scale, row.activation_xor);
  });
}

}  // namespace octet::kernels
