#pragma once
// Attention over an int8 cache with vpdpbusd. All of it has internal linkage.
#include "kernels/avx512vnni/intrinsics.h"
#include "kernels/simd/attention_integer.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

using Arch = xsimd::avx512f;
using Batch = xsimd::batch<float, Arch>;

/// vpdpbusd over 16 positions or dimensions at a time.
struct Product {
  using Cached = int8_t;
  using Factor = int8_t;
  using Operand = __m512i;
  using Sum = Int32x16;
  static constexpr int64_t depth = tile_k;

  static Sum zero() { return Sum{}; }
  static Operand load(const Cached* p, int64_t) { return _mm512_loadu_si512(p); }
  static Operand broadcast(const Factor* p) {
    int32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
  }
};

struct Products : simd::Int8Products {
  using Factor = Product::Factor;
  static constexpr int32_t key_offset = 128, value_offset = 0;
  static constexpr int key_width = 4, value_width = 2;

  /// Keys are the unsigned side: the cache has 128 added to them.
  struct Keys : Product {
    static void add(Sum& sum, Operand keys, Operand queries) {
      sum = (Sum)_mm512_dpbusd_epi32((__m512i)sum, keys, queries);
    }
    static Batch floats(Sum sum, int32_t offset) {
      return _mm512_cvtepi32_ps(_mm512_sub_epi32((__m512i)sum, _mm512_set1_epi32(offset)));
    }
  };
  /// Weights are, as they are not negative.
  struct Values : Product {
    static void add(Sum& sum, Operand values, Operand weights) {
      sum = (Sum)_mm512_dpbusd_epi32((__m512i)sum, weights, values);
    }
    static Batch floats(Sum sum, int32_t) { return _mm512_cvtepi32_ps((__m512i)sum); }
  };

  static bool quantize(const float* q, int64_t head_dim, Quantized* to, float& scale) {
    return quantize_f32_s8_avx512vnni({head_dim, q, to, &scale, 0});
  }
  static void store(Factor* to, Batch floats) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(floats)));
  }
};

using Cache = simd::IntegerCache<Arch, Products>;

}  // namespace
}  // namespace octet::kernels
