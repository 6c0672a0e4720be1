#pragma once
// What the decode multiplications of one row by teams of warps share (plan.h: by_teams). A team has
// a tile of 16 channels at a time, of which each warp multiplies some of K: one team's waiting,
// reading and adding up is hidden behind the others' products. sm_90.
#include "kernels/cuda/linear_output.cuh"
#include "kernels/cuda/linear_slice.cuh"
#include "kernels/cuda/quantize_row.cuh"

namespace octet::kernels::cuda {

/// Where a thread is.
struct TeamPlace {
  int team, warp, lane;  // the warp's number in its team
  __device__ explicit TeamPlace(unsigned thread = threadIdx.x)
      : team(static_cast<int>(thread / team_threads)),
        warp(static_cast<int>(thread / 32 % team_warps)),
        lane(static_cast<int>(thread % 32)) {}
};

/// The sums of a team's warps, of which row 0 is the row's.
using TeamSums = WarpSums<team_warps>;

/// A warp's sums of a tile.
class TeamProduct {
 public:
  /// += a chunk's weights x its values, which only the lanes that have row 0 of mma's eight read.
  __device__ void add(const uint4& first, const uint4& second, const uint4* values, int lane) {
    const uint4 x = lane < 4 ? *values : make_uint4(0, 0, 0, 0);
    mma_s8(even_, first, x.x, x.y);
    mma_s8(odd_, second, x.z, x.w);
  }
  /// To its place among the team's.
  __device__ void store(int* sums, const TeamPlace& place) const {
    if (place.lane % 4 == 0)
      reinterpret_cast<int4*>(sums)[place.warp * 8 + place.lane / 4] =
          make_int4(even_[0] + odd_[0], even_[1] + odd_[1], even_[2] + odd_[2], even_[3] + odd_[3]);
  }

 private:
  int even_[4] = {}, odd_[4] = {};
};

/// A lane's output, of one channel; 0 if it has none. before: what it is added to. All lanes take
/// part; those of a gate and its up are neighbours.
__device__ inline float store_output(const Linear& a, int sum, float scale, float bias,
                                     float before, int channel, bool there) {
  float value = with_bias(a, bias, dequantize(sum, *a.x.scale, scale));
  int to = channel;
  if (a.output == Output::silu_mul) {
    value = silu_mul(value, __shfl_xor_sync(0xffffffffu, value, 1));
    there &= channel % 2 == 0;
    to /= 2;
  }
  if (a.output == Output::add) value = before + value;
  if (!there) return 0;
  a.out[to] = value;
  return value;
}
__device__ inline float before_output(const Linear& a, int channel) {
  return a.output == Output::add ? a.out[channel] : 0.0f;
}

/// Zeros behind the row, up to `end`.
__device__ inline void clear_behind_row(const Linear& a, int end) {
  const int first = static_cast<int>(activation_stride(a.k)) / 16;
  for (int i = first + static_cast<int>(threadIdx.x); i < end / 16; i += row_teams * team_threads)
    reinterpret_cast<uint4*>(a.x.values)[i] = make_uint4(0, 0, 0, 0);
}

}  // namespace octet::kernels::cuda
