#pragma once
// Scales and sums of the grouped scheme, 16 outputs at a time.
#include "kernels/avx512vnni/intrinsics.h"

namespace octet::kernels {
namespace {

/// 16 bfloat16 values as fp32.
inline __m512 load_bfloat16(const uint16_t* bits) {
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bits));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

inline __m512i load_sums(const int16_t* sums) {
  return _mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums)));
}

}  // namespace
}  // namespace octet::kernels
