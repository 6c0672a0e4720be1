#pragma once
// A tile of the decode multiplication that two warps share: their sums and outputs. sm_90.
#include "kernels/cuda/linear_output.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/quantize_row.cuh"

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

  /// Returns the largest magnitude of the lane's outputs of silu_mul, as bits.
  __device__ uint32_t store(const int2 (&sums)[columns]) const {
    uint32_t peak = 0;
#pragma unroll
    for (int column = 0; column < columns; ++column) {
      const int row = first_row() + 8 * column;
      if (row >= a_.rows) break;
      const float x_scale = a_.x.scale[row];
      const float of_first = with_bias(a_, bias_.x, dequantize(sums[column].x, x_scale, scale_.x)),
                  of_second = with_bias(a_, bias_.y, dequantize(sums[column].y, x_scale, scale_.y));
      peak = max(peak, put(row, of_first, of_second));
    }
    return peak;
  }
  /// The largest of a lane's row, of all its tiles, for Linear::peaks.
  __device__ static void gather(const Linear& a, uint32_t peak) {
    static_assert(columns == 1);
#pragma unroll
    for (int lanes = 4; lanes < 32; lanes *= 2)
      peak = max(peak, __shfl_xor_sync(0xffffffffu, peak, lanes));
    if (threadIdx.x % 32 < 4 && first_row() < a.rows)
      gather_peak(a.peaks, first_row(), static_cast<int>(blockIdx.x), peak);
  }

 private:
  __device__ static int channels() {
    return static_cast<int>(threadIdx.x) % 32 / 4;
  }
  __device__ static int first_row() {
    return static_cast<int>(threadIdx.x) % 4 * 2 + WarpPair::second();
  }
  __device__ uint32_t put(int row, float first, float second) const {
    float* out = a_.out + row * a_.out_stride;
    if (a_.output == Output::silu_mul) {
      const float value = silu_mul(first, second);
      out[channel_ / 2] = value;
      return peak_of(value);
    }
    auto* to = reinterpret_cast<float2*>(out + channel_);
    const float2 before = a_.output == Output::add ? *to : make_float2(0, 0);
    *to = a_.output == Output::add ? make_float2(before.x + first, before.y + second)
                                   : make_float2(first, second);
    return 0;
  }

  const Linear& a_;
  int64_t channel_;
  float2 scale_, bias_ = make_float2(0, 0);
};

}  // namespace octet::kernels::cuda
