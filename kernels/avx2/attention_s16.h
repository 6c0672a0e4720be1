#pragma once
// Attention over an int16 cache on vectors of 32 bytes. MultiplyAdd(sum, a, b) gives, of int32,
// sum[i] + a[2 i] b[2 i] + a[2 i + 1] b[2 i + 1]: each instruction set has its own.
#include <immintrin.h>

#include "kernels/simd/attention_integer.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

using Arch = xsimd::fma3<xsimd::avx2>;
using Batch = xsimd::batch<float, Arch>;

/// 8 positions or dimensions at a time.
template <__m256i MultiplyAdd(__m256i, __m256i, __m256i)>
struct Product {
  using Cached = int16_t;
  using Factor = int16_t;
  using Operand = __m256i;
  using Sum [[gnu::vector_size(32)]] = int32_t;
  static constexpr int64_t depth = 2;

  static Sum zero() { return Sum{}; }
  static Operand load(const Cached* p, int64_t) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static Operand broadcast(const Factor* p) {
    int32_t two;
    __builtin_memcpy(&two, p, sizeof two);
    return _mm256_set1_epi32(two);
  }
  static void add(Sum& sum, Operand cached, Operand factors) {
    sum = (Sum)MultiplyAdd((__m256i)sum, cached, factors);
  }
  static Batch floats(Sum sum, int32_t) { return _mm256_cvtepi32_ps((__m256i)sum); }
};

template <__m256i MultiplyAdd(__m256i, __m256i, __m256i)>
struct Products : simd::Int16Products<Product<MultiplyAdd>, 2, 2> {
  static bool quantize(const float* q, int64_t head_dim, int16_t* to, float& scale) {
    return quantize_f32_s16_avx2({head_dim, q, to, &scale});
  }
  static void store(int16_t* to, Batch floats) {
    const __m256i q = _mm256_cvtps_epi32(floats);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1)));
  }
};

template <__m256i MultiplyAdd(__m256i, __m256i, __m256i)>
void attention_s16(const Attention& a) {
  simd::attention<Arch, simd::IntegerCache<Arch, Products<MultiplyAdd>>>(a);
}

}  // namespace
}  // namespace octet::kernels
