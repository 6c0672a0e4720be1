#pragma once
// From int32 sums to outputs: the roundings of kernels/types.h, the same in every kernel.
#include "kernels/cuda/kernels.h"

namespace octet::kernels::cuda {

__device__ inline float bfloat16_value(uint16_t bits) {
  return __uint_as_float(static_cast<uint32_t>(bits) << 16);
}

/// One scale a channel and a row.
__device__ inline float dequantize(const Linear& a, int64_t row, int64_t channel, int sum) {
  const float scale = a.x.scale[row] * static_cast<const float*>(a.scale)[channel];
  return static_cast<float>(sum) * scale;
}

/// Adds the sum of one group; groups come in rising order.
__device__ inline float add_group(const Linear& a, int64_t row, int64_t channel, int64_t groups,
                                  int64_t group, int sum, float value) {
  const auto* w = static_cast<const uint16_t*>(a.scale);
  const float w_scale = bfloat16_value(w[(channel / 16 * groups + group) * 16 + channel % 16]);
  return fmaf(static_cast<float>(sum), a.x.scale[row * groups + group] * w_scale, value);
}

__device__ inline float with_bias(const Linear& a, int64_t channel, float value) {
  return a.bias ? value + a.bias[channel] : value;
}

__device__ inline float silu_mul(float gate, float up) {
  return gate / (1.0f + expf(-gate)) * up;
}

}  // namespace octet::kernels::cuda
