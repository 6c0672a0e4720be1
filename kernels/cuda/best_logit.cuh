#pragma once
// Logits with their ids, in the order of the best.
#include "kernels/cuda/kernels.h"

namespace octet::kernels::cuda {

/// Larger is better: the logit, then the smaller id. 0 stands for none.
using Key = uint64_t;

__device__ inline Key key_of(float logit, int32_t id) {
  const uint32_t bits = __float_as_uint(logit);
  const uint32_t ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return static_cast<Key>(ordered) << 32 | ~static_cast<uint32_t>(id);
}
__device__ inline int32_t id_of(Key key) {
  return static_cast<int32_t>(~static_cast<uint32_t>(key));
}
__device__ inline Candidate candidate_of(Key key) {
  if (key == 0) return {-INFINITY, -1};
  const auto ordered = static_cast<uint32_t>(key >> 32);
  const uint32_t bits = ordered & 0x80000000u ? ordered & 0x7fffffffu : ~ordered;
  return {__uint_as_float(bits), id_of(key)};
}

/// left_out: a bit an id, or null.
__device__ inline bool is_left_out(const uint32_t* left_out, int32_t id) {
  return left_out && (left_out[id / 32] >> (id % 32) & 1) != 0;
}

struct LargerKey {
  __device__ Key operator()(Key a, Key b) const { return a > b ? a : b; }
};

}  // namespace octet::kernels::cuda
