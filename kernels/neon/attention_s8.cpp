#include "kernels/simd/attention_integer.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

using Arch = xsimd::neon64;
using Batch = xsimd::batch<float, Arch>;

/// smlal over 4 positions or dimensions at a time: bytes become 16 bits wide as they are loaded,
/// since weights go up to 255. Of six rows of values one sum is on the stack, beside 23 others and
/// 6 outputs in registers.
struct Product {
  using Cached = int8_t;
  using Factor = int16_t;
  /// Two outputs in each half.
  struct Operand {
    int16x8_t half[2];
  };
  /// Each output as the sum of four neighbours.
  struct Sum {
    int32x4_t output[4];
  };
  static constexpr int64_t depth = tile_k;

  static Sum zero() { return {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)}; }
  static Operand load(const Cached* p, int64_t) {
    const int8x16_t bytes = vld1q_s8(p);
    return {vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)};
  }
  static Operand broadcast(const Factor* p) {
    int64_t four;
    __builtin_memcpy(&four, p, sizeof four);
    const int16x8_t factors = vreinterpretq_s16_s64(vdupq_n_s64(four));
    return {factors, factors};
  }
  static void add(Sum& sum, const Operand& cached, const Operand& factors) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      sum.output[2 * i] =
          vmlal_s16(sum.output[2 * i], vget_low_s16(cached.half[i]), vget_low_s16(factors.half[i]));
      sum.output[2 * i + 1] =
          vmlal_high_s16(sum.output[2 * i + 1], cached.half[i], factors.half[i]);
    }
  }
  static Batch floats(const Sum& sum, int32_t) {
    return vcvtq_f32_s32(vpaddq_s32(vpaddq_s32(sum.output[0], sum.output[1]),
                                    vpaddq_s32(sum.output[2], sum.output[3])));
  }
};

struct Products : simd::Int8Products {
  using Factor = Product::Factor;
  using Keys = Product;
  using Values = Product;
  static constexpr int32_t key_offset = 0, value_offset = 0;
  static constexpr int key_width = 1, value_width = 1;

  static bool quantize(const float* q, int64_t head_dim, Quantized* to, float& scale) {
    return quantize_f32_s8_neon({head_dim, q, to, &scale, 0});
  }
  static void store(Factor* to, Batch floats) { vst1_s16(to, vmovn_s32(vcvtnq_s32_f32(floats))); }
};

}  // namespace

[[gnu::flatten]] void attention_s8_6x4_neon(const Attention& a) {
  simd::attention<Arch, simd::IntegerCache<Arch, Products>>(a);
}

}  // namespace octet::kernels
