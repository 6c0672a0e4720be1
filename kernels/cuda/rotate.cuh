#pragma once
// RMSNorm of heads (Qwen3) and RoPE.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/quantize_row.cuh"

namespace octet::kernels::cuda {

/// Two dimensions that are half a head apart, turned.
__device__ inline void rotate_pair(float& low, float& high, float cosine, float sine) {
  const float before = low;
  low = before * cosine - high * sine;
  high = high * cosine + before * sine;
}

/// The cosines and sines of the dimensions that a lane has (RotatedHead).
struct RotaryAngles {
  static constexpr int held = max_head_dim / 2 / 32;
  float cosine[held], sine[held];
  /// angles: the row's (Embed::angles).
  __device__ RotaryAngles(const float* angles, int half) {
#pragma unroll
    for (int j = 0; j < held; ++j) {
      const int i = min(static_cast<int>(threadIdx.x) % 32 + 32 * j, half - 1);
      cosine[j] = angles[i];
      sine[j] = angles[half + i];
    }
  }
};

/// A head, normalized where it has a norm and rotated, spread over a warp: each lane has the values
/// i, i + 32, ... of either half.
class RotatedHead {
  static constexpr int lane_values = max_head_dim / 2 / 32;

 public:
  __device__ void read(const float* x, int half) {
    half_ = half;
#pragma unroll
    for (int j = 0; j < lane_values; ++j) {
      const int i = static_cast<int>(threadIdx.x) % 32 + 32 * j;
      low_[j] = i < half ? x[i] : 0.0f;
      high_[j] = i < half ? x[half + i] : 0.0f;
    }
  }
  /// norm: [head_dim] or null.
  __device__ void turn(const RotaryAngles& angles, const float* norm, float eps) {
    if (norm) normalize(norm, eps);
#pragma unroll
    for (int j = 0; j < lane_values; ++j)
      rotate_pair(low_[j], high_[j], angles.cosine[j], angles.sine[j]);
  }

  /// store(d, value) for each dimension that the lane holds.
  template <class Store>
  __device__ void each(Store store) const {
#pragma unroll
    for (int j = 0; j < lane_values; ++j) {
      const int i = static_cast<int>(threadIdx.x) % 32 + 32 * j;
      if (i >= half_) return;
      store(i, low_[j]);
      store(half_ + i, high_[j]);
    }
  }

 private:
  __device__ void normalize(const float* norm, float eps) {
    float sum = 0;
#pragma unroll
    for (int j = 0; j < lane_values; ++j) sum += low_[j] * low_[j] + high_[j] * high_[j];
    const float scale =
        1.0f / sqrtf(combine_warp(sum, Sum()) / static_cast<float>(2 * half_) + eps);
#pragma unroll
    for (int j = 0; j < lane_values; ++j) {
      const int i = static_cast<int>(threadIdx.x) % 32 + 32 * j;
      if (i >= half_) break;
      low_[j] = low_[j] * scale * norm[i];
      high_[j] = high_[j] * scale * norm[half_ + i];
    }
  }

  int half_ = 0;
  float low_[lane_values], high_[lane_values];
};

}  // namespace octet::kernels::cuda
