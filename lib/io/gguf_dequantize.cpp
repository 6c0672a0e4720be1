#include "lib/io/gguf_dequantize.h"

#include <cstring>

#include "lib/io/float_formats.h"

namespace octet {
namespace {

// A block of 32 values splits into halves: the low nibbles of `quants` are values 0 to 15, the
// high nibbles 16 to 31; bit i of `high_bits` is the fifth bit of value i.
//
// A block of 256 ("_k") has sub-blocks of 16 or 32 values with a small scale (and minimum) each,
// which the fp16 `scale` (and `minimum`) of the whole block multiplies.

struct BlockQ4_0 {
  static constexpr int values = 32;
  uint16_t scale;
  uint8_t quants[16];
};

struct BlockQ4_1 {
  static constexpr int values = 32;
  uint16_t scale, minimum;
  uint8_t quants[16];
};

struct BlockQ5_0 {
  static constexpr int values = 32;
  uint16_t scale;
  uint8_t high_bits[4];
  uint8_t quants[16];
};

struct BlockQ5_1 {
  static constexpr int values = 32;
  uint16_t scale, minimum;
  uint8_t high_bits[4];
  uint8_t quants[16];
};

struct BlockQ8_0 {
  static constexpr int values = 32;
  uint16_t scale;
  int8_t quants[32];
};

struct BlockQ2_K {
  static constexpr int values = 256;
  uint8_t scales[16];  // of 16 values: low nibble the scale, high nibble the minimum
  uint8_t quants[64];  // four planes of 2 bits for each half of the block
  uint16_t scale, minimum;
};

struct BlockQ3_K {
  static constexpr int values = 256;
  uint8_t high_bits[32];  // bit p of byte i: third bit of value 32 p + i
  uint8_t quants[64];     // as in BlockQ2_K
  uint8_t scales[12];     // 16 scales of 6 bits, offset 32
  uint16_t scale;
};

struct BlockQ4_K {
  static constexpr int values = 256;
  uint16_t scale, minimum;
  uint8_t scales[12];   // 8 scales and 8 minima of 6 bits
  uint8_t quants[128];  // 32 bytes for each 64 values: low nibbles the first 32
};

struct BlockQ5_K {
  static constexpr int values = 256;
  uint16_t scale, minimum;
  uint8_t scales[12];     // as in BlockQ4_K
  uint8_t high_bits[32];  // bit p of byte i: fifth bit of value 32 p + i
  uint8_t quants[128];    // as in BlockQ4_K
};

struct BlockQ6_K {
  static constexpr int values = 256;
  uint8_t low_bits[128];  // 64 bytes for each half of the block: nibbles of four runs of 32 values
  uint8_t high_bits[64];  // 32 bytes for each half: bits 4 and 5 of the four runs
  int8_t scales[16];      // of 16 values
  uint16_t scale;
};

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22 &&
              sizeof(BlockQ5_1) == 24 && sizeof(BlockQ8_0) == 34 && sizeof(BlockQ2_K) == 84 &&
              sizeof(BlockQ3_K) == 110 && sizeof(BlockQ4_K) == 144 && sizeof(BlockQ5_K) == 176 &&
              sizeof(BlockQ6_K) == 210);

void expand(const BlockQ4_0& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>((block.quants[i] & 15) - 8);
    out[i + 16] = scale * static_cast<float>((block.quants[i] >> 4) - 8);
  }
}

void expand(const BlockQ4_1& block, float* out) {
  const float scale = f16_to_f32(block.scale), minimum = f16_to_f32(block.minimum);
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>(block.quants[i] & 15) + minimum;
    out[i + 16] = scale * static_cast<float>(block.quants[i] >> 4) + minimum;
  }
}

/// The 5-bit numbers of a Q5 block, in order.
template <class Block>
void unpack_five_bits(const Block& block, uint8_t (&q)[32]) {
  for (int i = 0; i < 16; ++i) {
    const int low = block.high_bits[i / 8] >> (i % 8) & 1;
    const int high = block.high_bits[2 + i / 8] >> (i % 8) & 1;
    q[i] = static_cast<uint8_t>((block.quants[i] & 15) | low << 4);
    q[i + 16] = static_cast<uint8_t>(block.quants[i] >> 4 | high << 4);
  }
}

void expand(const BlockQ5_0& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  uint8_t q[32];
  unpack_five_bits(block, q);
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(q[i] - 16);
}

void expand(const BlockQ5_1& block, float* out) {
  const float scale = f16_to_f32(block.scale), minimum = f16_to_f32(block.minimum);
  uint8_t q[32];
  unpack_five_bits(block, q);
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(q[i]) + minimum;
}

void expand(const BlockQ8_0& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(block.quants[i]);
}

void expand(const BlockQ2_K& block, float* out) {
  const float scale = f16_to_f32(block.scale), minimum = f16_to_f32(block.minimum);
  for (int sub = 0; sub < 16; ++sub) {
    // Sub-blocks 2 p and 2 p + 1 of a half are the two runs of 16 bytes at plane p.
    const uint8_t* quants = block.quants + sub / 8 * 32 + sub % 2 * 16;
    const int shift = sub % 8 / 2 * 2;
    const float s = scale * static_cast<float>(block.scales[sub] & 15);
    const float m = minimum * static_cast<float>(block.scales[sub] >> 4);
    for (int i = 0; i < 16; ++i)
      out[16 * sub + i] = s * static_cast<float>(quants[i] >> shift & 3) - m;
  }
}

void expand(const BlockQ3_K& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  for (int sub = 0; sub < 16; ++sub) {
    // Low 4 bits: bytes 0 to 7, first all low nibbles, then all high ones. High 2 bits: bytes 8 to
    // 11, four to a byte, scales 4 apart in one byte.
    const int low = block.scales[sub % 8] >> sub / 8 * 4 & 15;
    const int high = block.scales[8 + sub % 4] >> sub / 4 * 2 & 3;
    const float s = scale * static_cast<float>((low | high << 4) - 32);
    const uint8_t* quants = block.quants + sub / 8 * 32 + sub % 2 * 16;
    const uint8_t* high_bits = block.high_bits + sub % 2 * 16;
    const int shift = sub % 8 / 2 * 2;
    for (int i = 0; i < 16; ++i) {
      const int q = (quants[i] >> shift & 3) | (high_bits[i] >> sub / 2 & 1) << 2;
      out[16 * sub + i] = s * static_cast<float>(q - 4);
    }
  }
}

struct ScaleAndMinimum {
  int scale, minimum;
};

/// Number `sub` of the 8 pairs of 6 bits in the 12 bytes of a Q4_K or Q5_K block: the first four
/// pairs fill the low 6 bits of bytes 0 to 7; the last four have their low 4 bits in bytes 8 to 11
/// and their high 2 bits on top of the first ones.
ScaleAndMinimum six_bit_pair(const uint8_t (&packed)[12], int sub) {
  if (sub < 4) return {packed[sub] & 63, packed[sub + 4] & 63};
  return {(packed[sub + 4] & 15) | packed[sub - 4] >> 6 << 4,
          packed[sub + 4] >> 4 | packed[sub] >> 6 << 4};
}

void expand(const BlockQ4_K& block, float* out) {
  const float scale = f16_to_f32(block.scale), minimum = f16_to_f32(block.minimum);
  for (int sub = 0; sub < 8; ++sub) {
    const auto [six_scale, six_minimum] = six_bit_pair(block.scales, sub);
    const float s = scale * static_cast<float>(six_scale);
    const float m = minimum * static_cast<float>(six_minimum);
    const uint8_t* quants = block.quants + sub / 2 * 32;
    const int shift = sub % 2 * 4;
    for (int i = 0; i < 32; ++i)
      out[32 * sub + i] = s * static_cast<float>(quants[i] >> shift & 15) - m;
  }
}

void expand(const BlockQ5_K& block, float* out) {
  const float scale = f16_to_f32(block.scale), minimum = f16_to_f32(block.minimum);
  for (int sub = 0; sub < 8; ++sub) {
    const auto [six_scale, six_minimum] = six_bit_pair(block.scales, sub);
    const float s = scale * static_cast<float>(six_scale);
    const float m = minimum * static_cast<float>(six_minimum);
    const uint8_t* quants = block.quants + sub / 2 * 32;
    const int shift = sub % 2 * 4;
    for (int i = 0; i < 32; ++i) {
      const int q = (quants[i] >> shift & 15) | (block.high_bits[i] >> sub & 1) << 4;
      out[32 * sub + i] = s * static_cast<float>(q) - m;
    }
  }
}

void expand(const BlockQ6_K& block, float* out) {
  const float scale = f16_to_f32(block.scale);
  for (int sub = 0; sub < 16; ++sub) {
    const int half = sub / 8, run = sub % 8 / 2, offset = sub % 2 * 16;
    const uint8_t* low_bits = block.low_bits + half * 64 + run % 2 * 32 + offset;
    const uint8_t* high_bits = block.high_bits + half * 32 + offset;
    const float s = scale * static_cast<float>(block.scales[sub]);
    for (int i = 0; i < 16; ++i) {
      const int q = (low_bits[i] >> run / 2 * 4 & 15) | (high_bits[i] >> run * 2 & 3) << 4;
      out[16 * sub + i] = s * static_cast<float>(q - 32);
    }
  }
}

template <class Block>
void dequantize(const std::byte* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count / Block::values; ++i) {
    Block block;
    std::memcpy(&block, blocks + i * static_cast<int64_t>(sizeof block), sizeof block);
    expand(block, out + i * Block::values);
  }
}

}  // namespace

void dequantize_q4_0(const std::byte* blocks, int64_t count, float* out) {
  dequantize<BlockQ4_0>(blocks, count, out);
}
void dequantize_q4_1(const std::byte* blocks, int64_t count, float* out) {
  dequantize<BlockQ4_1>(blocks, count, out);
}
void dequantize_q5_0(const std::byte* blocks, int64_t count, float* out) {
  dequantize<BlockQ5_0>(blocks, count, out);
}
void dequantize_q5_1(const std::byte* blocks, int64_t count, float* out) {
  dequantize<BlockQ5_1>(blocks, count, out);
}
void dequantize_q8_0(const std::byte* blocks, int64_t count, float* out) {
  dequantize<BlockQ8_0>(blocks, count, out);
}
void dequantize_q2_k(const std::byte* blocks, int64_t count, float* out) {
  dequantize<BlockQ2_K>(blocks, count, out);
}
void dequantize_q3_k(const std::byte* blocks, int64_t count, float* out) {
  dequantize<BlockQ3_K>(blocks, count, out);
}
void dequantize_q4_k(const std::byte* blocks, int64_t count, float* out) {
  dequantize<BlockQ4_K>(blocks, count, out);
}
void dequantize_q5_k(const std::byte* blocks, int64_t count, float* out) {
  dequantize<BlockQ5_K>(blocks, count, out);
}
void dequantize_q6_k(const std::byte* blocks, int64_t count, float* out) {
  dequantize<BlockQ6_K>(blocks, count, out);
}

}  // namespace octet
