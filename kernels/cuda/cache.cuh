#pragma once
// Where keys and values lie in a block of positions (lib/model/kv_pool.h), which has the CPU's
// layout.
#include "kernels/cuda/kernels.h"

namespace octet::kernels::cuda {

struct CacheBlock {
  uint16_t* keys;    ///< [head_dim][64] fp16
  uint16_t* values;  ///< [64][head_dim]

  __device__ CacheBlock(const Heads& heads, std::byte* const* blocks, int64_t block,
                        int64_t kv_head) {
    const int64_t head_halves = kv_block * heads.head_dim;
    keys = reinterpret_cast<uint16_t*>(blocks[block]) +
           (2 * heads.layer * heads.num_kv_heads + kv_head) * head_halves;
    values = keys + heads.num_kv_heads * head_halves;
  }
};

/// The same of an int8 cache (kernels/types.h), with p = padded_n(head_dim). Nothing is added to
/// keys. Words are four values.
struct CacheBlockS8 {
  uint32_t* keys;                    ///< [p / 4][64]
  uint32_t* values;                  ///< [64 / 4][p]: four positions of a dimension
  float *key_scales, *value_scales;  ///< [64]

  __device__ CacheBlockS8(const Heads& heads, std::byte* const* blocks, int64_t block,
                          int64_t kv_head) {
    const int64_t head_bytes = kv_s8_bytes(heads.head_dim), scales = kv_scales(heads.head_dim);
    std::byte* key = blocks[block] + (2 * heads.layer * heads.num_kv_heads + kv_head) * head_bytes;
    std::byte* value = key + heads.num_kv_heads * head_bytes;
    keys = reinterpret_cast<uint32_t*>(key);
    values = reinterpret_cast<uint32_t*>(value);
    key_scales = reinterpret_cast<float*>(key + scales);
    value_scales = reinterpret_cast<float*>(value + scales);
  }

  /// A warp stores the key of position `slot`, four dimensions a lane.
  __device__ void store_key(int slot, int head_dim, uint32_t word, float scale) const {
    const int lane = threadIdx.x % 32;
    if (4 * lane < head_dim) keys[lane * kv_block + slot] = word;
    if (lane == 0) key_scales[slot] = scale;
  }
  __device__ void store_value(int slot, int head_dim, uint32_t word, float scale) const {
    const int lane = threadIdx.x % 32;
    auto* bytes = reinterpret_cast<uint8_t*>(values + slot / 4 * padded_n(head_dim) + 4 * lane);
    if (4 * lane < head_dim)
      for (int i = 0; i < 4; ++i)
        bytes[4 * i + slot % 4] = static_cast<uint8_t>(word >> (8 * i) & 0xffu);
    if (lane == 0) value_scales[slot] = scale;
  }
};

}  // namespace octet::kernels::cuda
