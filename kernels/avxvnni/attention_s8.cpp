#include "kernels/avxvnni/dot_product.h"
#include "kernels/simd/attention_integer.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

using Arch = xsimd::fma3<xsimd::avx2>;
using Batch = xsimd::batch<float, Arch>;

/// vpdpbusd over 8 positions or dimensions at a time.
struct Product {
  using Cached = int8_t;
  using Factor = int8_t;
  using Operand = __m256i;
  using Sum [[gnu::vector_size(32)]] = int32_t;
  static constexpr int64_t depth = tile_k;

  static Sum zero() { return Sum{}; }
  static Operand load(const Cached* p, int64_t) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static Operand broadcast(const Factor* p) {
    int32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return _mm256_set1_epi32(four);
  }
};

struct Products : simd::Int8Products {
  using Factor = Product::Factor;
  static constexpr int32_t key_offset = 128, value_offset = 0;
  static constexpr int key_width = 2, value_width = 2;

  /// Keys are the unsigned side: the cache has 128 added to them.
  struct Keys : Product {
    static void add(Sum& sum, Operand keys, Operand queries) {
      sum = (Sum)dpbusd((__m256i)sum, keys, queries);
    }
    static Batch floats(Sum sum, int32_t offset) {
      return _mm256_cvtepi32_ps(_mm256_sub_epi32((__m256i)sum, _mm256_set1_epi32(offset)));
    }
  };
  /// Weights are, as they are not negative.
  struct Values : Product {
    static void add(Sum& sum, Operand values, Operand weights) {
      sum = (Sum)dpbusd((__m256i)sum, weights, values);
    }
    static Batch floats(Sum sum, int32_t) { return _mm256_cvtepi32_ps((__m256i)sum); }
  };

  static bool quantize(const float* q, int64_t head_dim, Quantized* to, float& scale) {
    return quantize_f32_s8_avx2({head_dim, q, to, &scale, 0});
  }
  static void store(Factor* to, Batch floats) {
    const __m256i q = _mm256_cvtps_epi32(floats);
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(words, words));
  }
};

}  // namespace

[[gnu::flatten]] void attention_s8_6x16_avxvnni(const Attention& a) {
  simd::attention<Arch, simd::IntegerCache<Arch, Products>>(a);
}

}  // namespace octet::kernels
