#pragma once
// A tile of the decode multiplication that two warps share: their sums and outputs. sm_90.
#include "kernels/cuda/linear_output.cuh"
#include "kernels/cuda/ptx.cuh"

namespace octet::kernels::cuda {

/// Two warps that share a tile: each multiplies half of K, and has the outputs of every other row.
struct WarpPair {
  static constexpr int count = block_warps / 2;
  __device__ static int number() { return static_cast<int>(threadIdx.x) / 64; }
  /// The second: it has odd rows.
  __device__ static int second() { return static_cast<int>(threadIdx.x) / 32 % 2; }

  /// Of sums [4]: of rows 2 q and 2 q + 1 of two channels. Returns this warp's rows'.
  template <int columns>
  __device__ static void exchange(const int (&sums)[columns][4], int2* shared,
                                  int2 (&own)[columns]) {
    int2* const of_pair = shared + number() * 64 * columns + threadIdx.x % 32;
    const int warp = second();
    sync_pair();  // the last are read
#pragma unroll
    for (int c = 0; c < columns; ++c)
      of_pair[(2 * c + warp) * 32] =
          warp ? make_int2(sums[c][0], sums[c][2]) : make_int2(sums[c][1], sums[c][3]);
    sync_pair();
#pragma unroll
    for (int c = 0; c < columns; ++c) {
      const int2 other = of_pair[(2 * c + 1 - warp) * 32];
      own[c] = warp ? make_int2(sums[c][1] + other.x, sums[c][3] + other.y)
                    : make_int2(sums[c][0] + other.x, sums[c][2] + other.y);
    }
  }
};

/// A tile's outputs from the sums of a pair of warps. A lane has channels 2 g and 2 g + 1 in one
/// row of each column, 2 q or, of the second warp, 2 q + 1, where it is lane 4 g + q.
template <int columns>
class PairOutputs {
 public:
  /// constants: of the tile; not read later.
  __device__ PairOutputs(const Linear& a, int64_t tile, const char* constants, int scale_bytes)
      : a_(a), channel_(tile * 16 + channels() * 2) {
    scale_ = reinterpret_cast<const float2*>(constants)[channels()];
    if (a.bias) bias_ = reinterpret_cast<const float2*>(constants + scale_bytes)[channels()];
  }

  __device__ void store(const int2 (&sums)[columns]) const {
#pragma unroll
    for (int column = 0; column < columns; ++column) {
      const int row = 8 * column + static_cast<int>(threadIdx.x) % 4 * 2 + WarpPair::second();
      if (row >= a_.rows) return;
      const float x_scale = a_.x.scale[row];
      put(row, with_bias(a_, bias_.x, dequantize(sums[column].x, x_scale, scale_.x)),
          with_bias(a_, bias_.y, dequantize(sums[column].y, x_scale, scale_.y)));
    }
  }

 private:
  __device__ static int channels() {
    return static_cast<int>(threadIdx.x) % 32 / 4;
  }
  __device__ void put(int row, float first, float second) const {
    float* out = a_.out + row * a_.out_stride;
    if (a_.output == Output::silu_mul) {
      out[channel_ / 2] = silu_mul(first, second);
      return;
    }
    auto* to = reinterpret_cast<float2*>(out + channel_);
    const float2 before = a_.output == Output::add ? *to : make_float2(0, 0);
    *to = a_.output == Output::add ? make_float2(before.x + first, before.y + second)
                                   : make_float2(first, second);
  }

  const Linear& a_;
  int64_t channel_;
  float2 scale_, bias_ = make_float2(0, 0);
};

}  // namespace octet::kernels::cuda
