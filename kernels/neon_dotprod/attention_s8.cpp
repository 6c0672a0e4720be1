#include "kernels/simd/attention_integer.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

using Arch = xsimd::neon64;
using Batch = xsimd::batch<float, Arch>;

/// sdot and udot over 4 positions or dimensions at a time.
struct Product {
  using Cached = int8_t;
  using Factor = int8_t;
  static constexpr int64_t depth = tile_k;

  static int8x16_t load_four_times(const Factor* p) {
    int32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
  }
};

struct Products : simd::Int8Products {
  using Factor = Product::Factor;
  static constexpr int32_t key_offset = 0, value_offset = 128;
  static constexpr int key_width = 4, value_width = 2;

  struct Keys : Product {
    using Operand = int8x16_t;
    using Sum = int32x4_t;

    static Sum zero() { return vdupq_n_s32(0); }
    static Operand load(const Cached* p, int64_t) { return vld1q_s8(p); }
    static Operand broadcast(const Factor* p) { return load_four_times(p); }
    static void add(Sum& sum, Operand keys, Operand queries) {
      sum = vdotq_s32(sum, keys, queries);
    }
    static Batch floats(Sum sum, int32_t) { return vcvtq_f32_s32(sum); }
  };
  /// Weights go up to 255, so values are made unsigned too, by adding 128.
  struct Values : Product {
    using Operand = uint8x16_t;
    using Sum = uint32x4_t;

    static Sum zero() { return vdupq_n_u32(0); }
    static Operand load(const Cached* p, int64_t) {
      return veorq_u8(vreinterpretq_u8_s8(vld1q_s8(p)), vdupq_n_u8(0x80));
    }
    static Operand broadcast(const Factor* p) { return vreinterpretq_u8_s8(load_four_times(p)); }
    static void add(Sum& sum, Operand values, Operand weights) {
      sum = vdotq_u32(sum, values, weights);
    }
    static Batch floats(Sum sum, int32_t offset) {
      return vcvtq_f32_s32(vsubq_s32(vreinterpretq_s32_u32(sum), vdupq_n_s32(offset)));
    }
  };

  static bool quantize(const float* q, int64_t head_dim, Quantized* to, float& scale) {
    return quantize_f32_s8_neon({head_dim, q, to, &scale, 0});
  }
  static void store(Factor* to, Batch floats) {
    const int16x4_t words = vmovn_s32(vcvtnq_s32_f32(floats));
    const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
    const int32_t four = vget_lane_s32(vreinterpret_s32_s8(bytes), 0);
    __builtin_memcpy(to, &four, sizeof four);
  }
  static int32_t sum(const Factor* weights) {
    int32_t sum = 0;
    for (int64_t i = 0; i < kv_block; i += 16)
      sum += vaddlvq_u8(vreinterpretq_u8_s8(vld1q_s8(weights + i)));
    return sum;
  }
};

}  // namespace

[[gnu::flatten]] void attention_s8_6x16_neon_dotprod(const Attention& a) {
  simd::attention<Arch, simd::IntegerCache<Arch, Products>>(a);
}

}  // namespace octet::kernels
