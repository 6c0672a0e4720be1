#include <immintrin.h>

#include "kernels/simd/attention_integer.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

using Arch = xsimd::fma3<xsimd::avx2>;
using Batch = xsimd::batch<float, Arch>;

/// vpmaddwd over 8 positions or dimensions at a time: bytes become 16 bits wide as they are loaded,
/// since vpmaddubsw would saturate (255 * 127 * 2 > 32767).
struct Product {
  using Cached = int8_t;
  using Factor = int16_t;
  using Int32x8 [[gnu::vector_size(32)]] = int32_t;
  /// Four outputs in each half.
  struct Operand {
    __m256i half[2];
  };
  /// Each output as the sum of two neighbours.
  struct Sum {
    Int32x8 half[2];
  };
  static constexpr int64_t depth = tile_k;

  static Sum zero() { return {}; }
  static Operand load(const Cached* p, int64_t) {
    const auto* at = reinterpret_cast<const __m128i*>(p);
    return {_mm256_cvtepi8_epi16(_mm_loadu_si128(at)),
            _mm256_cvtepi8_epi16(_mm_loadu_si128(at + 1))};
  }
  static Operand broadcast(const Factor* p) {
    int64_t four;
    __builtin_memcpy(&four, p, sizeof four);
    const __m256i factors = _mm256_set1_epi64x(four);
    return {factors, factors};
  }
  static void add(Sum& sum, const Operand& cached, const Operand& factors) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i)
      sum.half[i] = (Int32x8)_mm256_add_epi32((__m256i)sum.half[i],
                                              _mm256_madd_epi16(cached.half[i], factors.half[i]));
  }
  static Batch floats(const Sum& sum, int32_t) {
    // hadd works in each 128 bits alone: 0 1 4 5, 2 3 6 7.
    const __m256i pairs = _mm256_hadd_epi32((__m256i)sum.half[0], (__m256i)sum.half[1]);
    return _mm256_cvtepi32_ps(_mm256_permute4x64_epi64(pairs, 0xd8));
  }
};

struct Products : simd::Int8Products {
  using Factor = Product::Factor;
  using Keys = Product;
  using Values = Product;
  static constexpr int32_t key_offset = 0, value_offset = 0;
  static constexpr int key_width = 1, value_width = 1;

  static bool quantize(const float* q, int64_t head_dim, Quantized* to, float& scale) {
    return quantize_f32_s8_avx2({head_dim, q, to, &scale, 0});
  }
  static void store(Factor* to, Batch floats) {
    const __m256i q = _mm256_cvtps_epi32(floats);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1)));
  }
};

}  // namespace

[[gnu::flatten]] void attention_s8_6x8_avx2(const Attention& a) {
  simd::attention<Arch, simd::IntegerCache<Arch, Products>>(a);
}

}  // namespace octet::kernels
