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

}  // namespace octet::kernels::cuda
