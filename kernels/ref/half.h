#pragma once
// IEEE 754 binary16 to and from binary32, bit by bit.
#include <cstdint>

namespace octet::kernels::ref {

inline float float_of_half(uint16_t half) {
  const uint32_t sign = uint32_t{half} >> 15 << 31;
  const uint32_t exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24, exact
    const float value = static_cast<float>(fraction) * 0x1p-24f;
    return __builtin_bit_cast(float, __builtin_bit_cast(uint32_t, value) | sign);
  }
  if (exponent == 31) {  // infinity or NaN, made quiet as the hardware does
    const uint32_t quiet = fraction ? 0x400000 : 0;
    return __builtin_bit_cast(float, sign | 0x7f800000 | fraction << 13 | quiet);
  }
  return __builtin_bit_cast(float, sign | (exponent + 127 - 15) << 23 | fraction << 13);
}

inline uint16_t half_of_float(float value) {
  const auto bits = __builtin_bit_cast(uint32_t, value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000)  // NaN: keep the upper bits, make it quiet
    return static_cast<uint16_t>(sign | 0x7e00 | (magnitude >> 13 & 0x1ff));
  if (magnitude >= 0x477ff000) return sign | 0x7c00;  // 65520 rounds to infinity
  if (magnitude < 0x38800000) {                       // below 2^-14: a multiple of 2^-24
    // 0.5f has its last bit at 2^-24, so the addition rounds there, to even.
    const float shifted = __builtin_bit_cast(float, magnitude) + 0.5f;
    const uint32_t fraction = __builtin_bit_cast(uint32_t, shifted) - 0x3f000000;
    return static_cast<uint16_t>(sign | fraction);
  }
  const uint32_t odd = magnitude >> 13 & 1;
  const uint32_t rounded = magnitude + 0xfff + odd;
  return static_cast<uint16_t>(sign | (rounded - (uint32_t{127 - 15} << 23)) >> 13);
}

}  // namespace octet::kernels::ref
