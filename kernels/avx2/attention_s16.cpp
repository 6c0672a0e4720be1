#include <immintrin.h>

#include "kernels/simd/attention_integer.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

using Arch = xsimd::fma3<xsimd::avx2>;
using Batch = xsimd::batch<float, Arch>;

/// vpmaddwd over 8 positions or dimensions at a time.
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
    sum = (Sum)_mm256_add_epi32((__m256i)sum, _mm256_madd_epi16(cached, factors));
  }
  static Batch floats(Sum sum, int32_t = 0) { return _mm256_cvtepi32_ps((__m256i)sum); }
};

struct Products : simd::Int16Products<Product, 2, 2> {
  static bool quantize(const float* q, int64_t head_dim, Quantized* to, float& scale) {
    return quantize_f32_s16_avx2({head_dim, q, to, &scale});
  }
  static void store(Factor* to, Batch floats) {
    const __m256i q = _mm256_cvtps_epi32(floats);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1)));
  }
};

}  // namespace

[[gnu::flatten]] void attention_s16_6x16_avx2(const Attention& a) {
  simd::attention<Arch, simd::IntegerCache<Arch, Products>>(a);
}

}  // namespace octet::kernels
