#include "kernels/avx512vnni/intrinsics.h"
#include "kernels/simd/attention_integer.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

using Arch = xsimd::avx512f;
using Batch = xsimd::batch<float, Arch>;

/// vpdpwssd over 16 positions or dimensions at a time, two products a lane: twice what fma does.
struct Product {
  using Cached = int16_t;
  using Factor = int16_t;
  using Operand = __m512i;
  using Sum = Int32x16;
  static constexpr int64_t depth = 2;

  static Sum zero() { return Sum{}; }
  static Operand load(const Cached* p, int64_t) { return _mm512_loadu_si512(p); }
  static Operand broadcast(const Factor* p) {
    int32_t two;
    __builtin_memcpy(&two, p, sizeof two);
    return _mm512_set1_epi32(two);
  }
  static void add(Sum& sum, Operand cached, Operand factors) {
    sum = (Sum)_mm512_dpwssd_epi32((__m512i)sum, cached, factors);
  }
  static Batch floats(Sum sum, int32_t) { return _mm512_cvtepi32_ps((__m512i)sum); }
};

struct Products : simd::Int16Products<Product, 4, 2> {
  static bool quantize(const float* q, int64_t head_dim, Quantized* to, float& scale) {
    return quantize_f32_s16_avx512vnni({head_dim, q, to, &scale});
  }
  static void store(Factor* to, Batch floats) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                        _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(floats)));
  }
};

}  // namespace

[[gnu::flatten]] void attention_s16_6x64_avx512vnni(const Attention& a) {
  simd::attention<Arch, simd::IntegerCache<Arch, Products>>(a);
}

}  // namespace octet::kernels
