#pragma once
// What split attention does alike over caches of either type.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/quantize_row.cuh"

namespace octet::kernels::cuda {

/// Floats that the warps of a group share: 16 a thread.
constexpr int group_scores = 16 * split_group_threads;

constexpr float log2_e = 1.44269504f;

/// What this thread has of a cache block. Its group's four warps share out the dimensions, 32 each.
struct SplitPlace {
  int warp, g, q;  // lane 4 g + q of the group's warp
  __device__ SplitPlace()
      : warp(static_cast<int>(threadIdx.x) / 32 % 4),
        g(static_cast<int>(threadIdx.x) % 32 / 4),
        q(static_cast<int>(threadIdx.x) % 4) {}
  /// fp16 keys: piece 4 s + i has positions 8 g to 8 g + 7 of this dimension.
  __device__ int key_dim(int piece) const { return 32 * warp + piece / 4 * 16 + 4 * q + piece % 4; }
  /// fp16 values: piece 4 t + r has dimensions value_dim() to value_dim() + 3 of this position.
  __device__ int value_dim() const { return 32 * warp + 4 * g; }
  __device__ int value_position(int piece) const {
    return 16 * q + piece / 4 * 2 + piece % 2 * 8 + piece % 4 / 2;
  }
  /// The position of score [j][e] (Scores).
  __device__ int score_position(int j, int e) const { return 16 * q + 8 * e + j; }
};

__device__ inline uint32_t word_of(const uint4& v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

/// A group's cache blocks, one after another. A lane has head g and dimensions 8 q to 8 q + 7 of
/// its warp's.
class SplitGroup {
 public:
  __device__ SplitGroup(const SplitAttention& a, const StepRow& step, int64_t kv_head)
      : a_(a),
        step_(step),
        kv_head_(kv_head),
        head_dim_(static_cast<int>(a.heads.head_dim)),
        length_(step.position + 1) {}

  /// What the group has, to [heads][split_row(head_dim)].
  __device__ void store(int heads, float* results) const {
    const float sum = combine_quad(sum_, Sum());
    float* head = results + place_.g * split_row(head_dim_);
    if (place_.g >= heads) return;
    const int d = 32 * place_.warp + 8 * place_.q;
    if (d < head_dim_) {
      auto* to = reinterpret_cast<float4*>(head + d);
      to[0] = make_float4(result(0, 0), result(1, 0), result(2, 0), result(3, 0));
      to[1] = make_float4(result(0, 1), result(1, 1), result(2, 1), result(3, 1));
    }
    if (place_.warp > 0 || place_.q > 0) return;
    *reinterpret_cast<float2*>(head + head_dim_) = make_float2(max_, sum);
  }

 protected:
  /// Softmax weights, from all warps' scores, times scale(j, e), relative to the largest so far.
  /// The scale has log2_e in it: weights are powers of two.
  template <class Scale>
  __device__ void weigh(int block, const float4* scores, Scale scale) {
    float block_max = -INFINITY;
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        const float4 s = scores[(4 * w + p) * 32 + threadIdx.x % 32];
        sum = make_float4(sum.x + s.x, sum.y + s.y, sum.z + s.z, sum.w + s.w);
      }
      weight_[2 * p][0] = sum.x;
      weight_[2 * p][1] = sum.y;
      weight_[2 * p + 1][0] = sum.z;
      weight_[2 * p + 1][1] = sum.w;
    }
    const int count = length_ - block * int{kv_block};
#pragma unroll
    for (int j = 0; j < 8; ++j)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        weight_[j][e] =
            place_.score_position(j, e) < count ? weight_[j][e] * scale(j, e) : -INFINITY;
        block_max = fmaxf(block_max, weight_[j][e]);
      }
    const float max = fmaxf(max_, combine_quad(block_max, Larger()));
    const float factor = power_of_two(max_ - max);
    max_ = max;
    sum_ *= factor;
#pragma unroll
    for (int j = 0; j < 8; ++j)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        weight_[j][e] = power_of_two(weight_[j][e] - max);
        sum_ += weight_[j][e];
      }
#pragma unroll
    for (int n = 0; n < 4; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) out_[n][i] *= factor;
  }

  __device__ bool is_own(int block) const {
    return block == step_.position / int{kv_block};
  }
  __device__ int own_slot() const {
    return step_.position % int{kv_block};
  }

  const SplitAttention& a_;
  const StepRow& step_;
  int64_t kv_head_;
  int head_dim_, length_;
  SplitPlace place_;
  float weight_[8][2];
  float max_ = -INFINITY, sum_ = 0;  // of the lane's head; the sum is of the lane's positions
  /// [dimension][of neighbours], and what is to be added to these.
  float out_[4][4] = {};

 private:
  __device__ float result(int n, int e) const {
    return out_[n][e] + out_[n][2 + e];
  }
};

}  // namespace octet::kernels::cuda
