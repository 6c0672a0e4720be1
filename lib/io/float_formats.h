#pragma once
// 16-bit floats to fp32, exactly, without branches so that loops over them vectorize.
#include <bit>
#include <cstdint>

namespace octet {

inline float bf16_to_f32(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

/// IEEE 754 binary16, subnormals, infinities and NaN included.
inline float f16_to_f32(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t magnitude = bits & 0x7fff;
  // The exponent's bias is 15 there, 127 here; the largest exponent means infinity or NaN in both.
  const uint32_t rebias = magnitude >= 0x7c00 ? 224u << 23 : 112u << 23;
  const uint32_t normal = (magnitude << 13) + rebias;
  // Below 2^-14 the value is magnitude * 2^-24. Not by way of an fp32 subnormal, which a caller
  // may have told the processor to flush.
  const float small = static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f;
  const uint32_t value = magnitude < 0x0400 ? std::bit_cast<uint32_t>(small) : normal;
  return std::bit_cast<float>(sign | value);
}

}  // namespace octet
