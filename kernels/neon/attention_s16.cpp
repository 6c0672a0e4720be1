#include "kernels/simd/attention_integer.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

using Arch = xsimd::neon64;
using Batch = xsimd::batch<float, Arch>;

/// smlal over 4 positions or dimensions at a time.
struct Product {
  using Cached = int16_t;
  using Factor = int16_t;
  using Operand = int16x8_t;
  /// Each output as the sum of two neighbours.
  struct Sum {
    int32x4_t output[2];
  };
  static constexpr int64_t depth = 2;

  static Sum zero() { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }
  static Operand load(const Cached* p, int64_t) { return vld1q_s16(p); }
  static Operand broadcast(const Factor* p) {
    int32_t two;
    __builtin_memcpy(&two, p, sizeof two);
    return vreinterpretq_s16_s32(vdupq_n_s32(two));
  }
  static void add(Sum& sum, Operand cached, Operand factors) {
    sum.output[0] = vmlal_s16(sum.output[0], vget_low_s16(cached), vget_low_s16(factors));
    sum.output[1] = vmlal_high_s16(sum.output[1], cached, factors);
  }
  static Batch floats(const Sum& sum, int32_t) {
    return vcvtq_f32_s32(vpaddq_s32(sum.output[0], sum.output[1]));
  }
};

struct Products : simd::Int16Products<Product, 1, 1> {
  static bool quantize(const float* q, int64_t head_dim, Quantized* to, float& scale) {
    return quantize_f32_s16_neon({head_dim, q, to, &scale});
  }
  static void store(Factor* to, Batch floats) { vst1_s16(to, vmovn_s32(vcvtnq_s32_f32(floats))); }
};

}  // namespace

[[gnu::flatten]] void attention_s16_6x4_neon(const Attention& a) {
  simd::attention<Arch, simd::IntegerCache<Arch, Products>>(a);
}

}  // namespace octet::kernels
