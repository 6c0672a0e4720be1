#pragma once
// What the decode multiplications of one row by teams of warps share (plan.h: by_teams). A team has
// a tile of 16 channels at a time, of which each warp multiplies some of K: one team's waiting,
// reading and adding up is hidden behind the others' products. sm_90.
#include "kernels/cuda/linear_groups.cuh"
#include "kernels/cuda/linear_slice.cuh"

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

/// The same of a row with groups: of each, [16 channels][4 groups].
class TeamGroups : public GroupProduct {
 public:
  /// A tile's chunks of a warp begin with the second half of a group where its number is odd.
  __device__ explicit TeamGroups(const TeamPlace& place)
      : GroupProduct(place.warp * team_chunks % 2), place_(place) {}
  __device__ void store(int* sums) const {
    const int g = place_.lane / 4, q = place_.lane % 4;
    if (q >= 2) return;
    const int4 own = of_two_channels();
    auto* const of_channel = reinterpret_cast<int2*>(sums) + (place_.warp * 16 + 2 * g) * 2 + q;
    of_channel[0] = make_int2(own.x, own.y);
    of_channel[2] = make_int2(own.z, own.w);
  }

  /// A channel's product, of groups in rising order (add_group()). w_scale: [group][16] from this
  /// channel on.
  __device__ static float product(const int* sums, const float* x_scale, const uint16_t* w_scale,
                                  int channel, int groups) {
    static_assert(team_chunks == 5);
    const auto* of_warps = reinterpret_cast<const int4*>(sums) + channel;
    float value = 0;
#pragma unroll
    for (int warp = 0, group = 0; warp < team_warps; warp += 2) {
      const int4 first = of_warps[warp * 16],
                 second = warp + 1 < team_warps ? of_warps[(warp + 1) * 16] : make_int4(0, 0, 0, 0);
      const auto add = [&](int sum) {
        if (group < groups)
          value = add_group(sum, x_scale[group], bfloat16_value(w_scale[group * 16]), value);
        ++group;
      };
      add(first.x);
      add(first.y);
      add(first.z + second.x);  // a half each
      if (warp + 1 == team_warps) break;
      add(second.y);
      add(second.z);
    }
    return value;
  }

 private:
  TeamPlace place_;
};

/// store_product() of one scale a row and channel.
__device__ inline float store_output(const Linear& a, int sum, float scale, float bias,
                                     float before, int channel, bool there) {
  return store_product(a, dequantize(sum, *a.x.scale, scale), bias, before, channel, there);
}

/// Zeros behind the row, up to `end`.
__device__ inline void clear_behind_row(const Linear& a, int end) {
  const int first = static_cast<int>(activation_stride(a.k)) / 16;
  for (int i = first + static_cast<int>(threadIdx.x); i < end / 16; i += row_teams * team_threads)
    reinterpret_cast<uint4*>(a.x.values)[i] = make_uint4(0, 0, 0, 0);
}

}  // namespace octet::kernels::cuda
