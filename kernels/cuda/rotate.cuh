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

/// Two neighbouring values of x, or zeros.
__device__ inline float2 read_pair(const float* x, bool there) {
  return there ? *reinterpret_cast<const float2*>(x) : make_float2(0, 0);
}

/// The cosines and sines of the dimensions that a lane has (RotatedHead).
struct RotaryAngles {
  float2 cosine, sine;
  /// angles: the row's (Embed::angles).
  __device__ RotaryAngles(const float* angles, int half) {
    const int i = 2 * (static_cast<int>(threadIdx.x) % 32);
    cosine = read_pair(angles + i, i < half);
    sine = read_pair(angles + half + i, i < half);
  }
};

/// Divides by a root, rounded once as division is, but faster: what a product with the nearest
/// reciprocal leaves over corrects it (Markstein 1990).
class RootDivision {
 public:
  __device__ explicit RootDivision(float root) : root_(root), inverse_(1.0f / root) {}
  __device__ float operator()(float x) const {
    const float quotient = x * inverse_;
    return fmaf(fmaf(-quotient, root_, x), inverse_, quotient);
  }

 private:
  float root_, inverse_;
};

/// A head, normalized where it has a norm and rotated, spread over a warp: each lane has the values
/// 2 lane and 2 lane + 1 of either half.
class RotatedHead {
  static_assert(max_head_dim <= 4 * 32);

 public:
  /// half: a multiple of 2.
  __device__ void read(const float* x, int half) {
    half_ = half;
    low_ = read_pair(x + first(), there());
    high_ = read_pair(x + half + first(), there());
  }
  /// The same of values that other blocks of the grid write, where missing_word is until then.
  __device__ void wait_for(const float* x, int half) {
    half_ = half;
    low_ = high_ = make_float2(0, 0);
    if (there()) {
      do {
        low_ = load_shared_by_all(reinterpret_cast<const float2*>(x + first()));
        high_ = load_shared_by_all(reinterpret_cast<const float2*>(x + half + first()));
      } while (is_missing(low_) || is_missing(high_));
    }
    __syncwarp();
  }
  /// norm: [head_dim] or null.
  __device__ void turn(const RotaryAngles& angles, const float* norm, float eps) {
    if (norm) normalize(norm, eps);
    rotate_pair(low_.x, high_.x, angles.cosine.x, angles.sine.x);
    rotate_pair(low_.y, high_.y, angles.cosine.y, angles.sine.y);
  }

  /// store(d, value) for each dimension that the lane holds.
  template <class Store>
  __device__ void each(Store store) const {
    if (!there()) return;
    store(first(), low_.x);
    store(first() + 1, low_.y);
    store(half_ + first(), high_.x);
    store(half_ + first() + 1, high_.y);
  }
  /// Whether the lane holds any; if not, they are zeros.
  __device__ bool there() const { return first() < half_; }
  __device__ float2 low() const { return low_; }
  __device__ float2 high() const { return high_; }

 private:
  __device__ static int first() { return 2 * (static_cast<int>(threadIdx.x) % 32); }

  /// In the order of RMSNorm (kernels/types.h), where lane t has values 4 t to 4 t + 3: here these
  /// are two lanes', those of the upper half sixteen lanes on.
  __device__ void normalize(const float* norm, float eps) {
    const auto of_four = [](const float2& two) {
      const float sum = two.x * two.x + two.y * two.y;
      return sum + __shfl_xor_sync(0xffffffffu, sum, 1);
    };
    float sum = of_four(low_) + of_four(high_);
#pragma unroll
    for (int lanes = 16; lanes > 1; lanes /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
    const RootDivision root(sqrtf(sum / static_cast<float>(2 * half_) + eps));
    const float2 of_low = read_pair(norm + first(), there()),
                 of_high = read_pair(norm + half_ + first(), there());
    low_ = make_float2(root(low_.x) * of_low.x, root(low_.y) * of_low.y);
    high_ = make_float2(root(high_.x) * of_high.x, root(high_.y) * of_high.y);
  }

  int half_ = 0;
  float2 low_, high_;
};

}  // namespace octet::kernels::cuda
