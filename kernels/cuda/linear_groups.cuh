#pragma once
// Sums of one row's groups in the decode multiplication: each is a column of mma's result, which
// has columns for eight rows, so that a warp converts and scales nothing while it multiplies.
#include "kernels/cuda/linear_lane_output.cuh"
#include "kernels/cuda/ptx.cuh"

namespace octet::kernels::cuda {

/// A warp's sums of the groups of its chunks (column_of_chunk()).
class GroupProduct {
 public:
  /// odd: 1 where the first chunk is the second half of a group.
  __device__ explicit GroupProduct(int odd)
      : first_(static_cast<int>(threadIdx.x) % 32 / 4 * 2 - odd) {}
  /// += chunk c's weights x its values, which only the lanes of its group's column read.
  __device__ void add(int c, const uint4& first, const uint4& second, const uint4* values) {
    const bool own = static_cast<unsigned>(c - first_) < 2;
    const uint4 x = own ? *values : make_uint4(0, 0, 0, 0);
    mma_s8(even_, first, x.x, x.y);
    mma_s8(odd_, second, x.z, x.w);
  }
  /// Lane 4 g + q has columns 2 q and 2 q + 1 of channel 2 g, then of channel 2 g + 1.
  __device__ int4 of_two_channels() const {
    return make_int4(even_[0] + odd_[0], even_[1] + odd_[1], even_[2] + odd_[2],
                     even_[3] + odd_[3]);
  }

 private:
  int first_;  // chunk of this lane's column
  int even_[4] = {}, odd_[4] = {};
};

/// Two neighbouring channels' scales.
__device__ inline float2 bfloat16_values(uint32_t pair) {
  return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
}

}  // namespace octet::kernels::cuda
