#pragma once
// From int32 sums to outputs: the roundings of kernels/types.h, the same in every kernel.
#include "kernels/cuda/kernels.h"

namespace octet::kernels::cuda {

__device__ inline float bfloat16_value(uint16_t bits) {
  return __uint_as_float(static_cast<uint32_t>(bits) << 16);
}

/// scale: Linear::scale or Linear::rest_scale.
__device__ inline float channel_scale(const void* scale, int64_t channel) {
  return static_cast<const float*>(scale)[channel];
}
/// One scale a channel and a row.
__device__ inline float dequantize(int sum, float x_scale, float w_scale) {
  return static_cast<float>(sum) * (x_scale * w_scale);
}

__device__ inline float group_scale(const void* scale, int64_t channel, int64_t groups,
                                    int64_t group) {
  const auto* w = static_cast<const uint16_t*>(scale);
  return bfloat16_value(w[(channel / 16 * groups + group) * 16 + channel % 16]);
}
/// Adds the sum of one group; groups come in rising order.
__device__ inline float add_group(int sum, float x_scale, float w_scale, float value) {
  return fmaf(static_cast<float>(sum), x_scale * w_scale, value);
}

/// Without a bias nothing is added: a zero would turn -0 into 0.
__device__ inline float with_bias(const Linear& a, float bias, float value) {
  return a.bias ? value + bias : value;
}
__device__ inline float bias_of(const Linear& a, int64_t channel) {
  return a.bias ? a.bias[channel] : 0.0f;
}

/// The fast division and exponential err by some units in the last place (CUDA C++ Programming
/// Guide, "Intrinsic Functions"): exact ones took a fifth of a prefill multiplication's time.
__device__ inline float silu_mul(float gate, float up) {
  return __fdividef(gate, 1.0f + __expf(-gate)) * up;
}

}  // namespace octet::kernels::cuda
