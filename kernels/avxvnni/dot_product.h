#pragma once
// The instructions of AVX-VNNI. With OCTET_EMULATE_ISAS, for tests on a processor that has them
// only as AVX-512 does (Zen 4, Ice Lake), in its encoding: the same sums.
#include <immintrin.h>

namespace octet::kernels {
namespace {

/// sum[i] += u[4 i] s[4 i] + .. + u[4 i + 3] s[4 i + 3], unsigned by signed bytes.
[[gnu::always_inline]] inline __m256i dpbusd(__m256i sum, __m256i u, __m256i s) {
#ifdef __AVX512VNNI__
  return _mm256_dpbusd_epi32(sum, u, s);
#else
  return _mm256_dpbusd_avx_epi32(sum, u, s);
#endif
}

/// sum[i] += a[2 i] b[2 i] + a[2 i + 1] b[2 i + 1], of int16.
[[gnu::always_inline]] inline __m256i dpwssd(__m256i sum, __m256i a, __m256i b) {
#ifdef __AVX512VNNI__
  return _mm256_dpwssd_epi32(sum, a, b);
#else
  return _mm256_dpwssd_avx_epi32(sum, a, b);
#endif
}

}  // namespace
}  // namespace octet::kernels
