#pragma once
// Where a block of positions lies in a KvCache (lib/model/kv_cache.h), which has the CPU's layout.
#include "kernels/cuda/kernels.h"

namespace octet::kernels::cuda {

struct CacheBlock {
  uint16_t* keys;    ///< [head_dim][64] fp16
  uint16_t* values;  ///< [64][head_dim]

  __device__ CacheBlock(const Heads& heads, std::byte* cache, int64_t block, int64_t kv_head) {
    const int64_t head_halves = kv_block * heads.head_dim;
    keys = reinterpret_cast<uint16_t*>(cache + block * heads.block_bytes) +
           (2 * heads.layer * heads.num_kv_heads + kv_head) * head_halves;
    values = keys + heads.num_kv_heads * head_halves;
  }
};

}  // namespace octet::kernels::cuda
