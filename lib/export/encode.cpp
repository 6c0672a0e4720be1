#include "lib/export/encode.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "lib/core/cpu.h"
#include "lib/io/float_formats.h"

namespace octet {
namespace {

constexpr float largest_f16 = 65504.0f;

bool to_f32(const float* values, int64_t count, std::byte* out) {
  std::memcpy(out, values, static_cast<size_t>(count) * sizeof(float));
  return true;
}

bool to_f16(const float* values, int64_t count, std::byte* out) {
  active_kernels().convert_f32_f16(values, reinterpret_cast<uint16_t*>(out), count);
  return std::all_of(values, values + count,
                     [](float value) { return std::fabs(value) <= largest_f16; });
}

/// Round to nearest, half to even.
bool to_bf16(const float* values, int64_t count, std::byte* out) {
  bool fits = true;
  for (int64_t i = 0; i < count; ++i) {
    const auto bits = std::bit_cast<uint32_t>(values[i]);
    const auto half = static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    std::memcpy(out + 2 * i, &half, 2);
    fits &= (half & 0x7f80) != 0x7f80;
  }
  return fits;
}

/// Blocks of 32: d = absmax / 127 as fp16, then rint(x / d) as int8 (ggml's Q8_0).
bool to_q8_0(const float* values, int64_t count, std::byte* out) {
  bool fits = true;
  for (; count > 0; count -= 32, values += 32) {
    float absmax = 0;
    for (int i = 0; i < 32; ++i) absmax = std::max(absmax, std::fabs(values[i]));
    const float d = absmax / 127;
    uint16_t half = 0;
    fits &= to_f16(&d, 1, reinterpret_cast<std::byte*>(&half));
    std::memcpy(out, &half, 2);
    out += 2;
    // By the scale as it was before rounding, as ggml does: never beyond 127. A scale that fp16 has
    // as 0 makes all values 0.
    const float inverse = half != 0 ? 1 / d : 0;
    for (int i = 0; i < 32; ++i)
      *out++ = static_cast<std::byte>(static_cast<int8_t>(std::nearbyint(values[i] * inverse)));
  }
  return fits;
}

}  // namespace

const Encoding encode_f32{"F32", 0, 1, 4, to_f32}, encode_f16{"F16", 1, 1, 2, to_f16},
    encode_bf16{"BF16", 30, 1, 2, to_bf16}, encode_q8_0{nullptr, 8, 32, 34, to_q8_0};

}  // namespace octet
