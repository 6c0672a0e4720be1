#pragma once
// Outputs of one row of a decode multiplication, a channel a lane.
#include "kernels/cuda/linear_output.cuh"
#include "kernels/cuda/quantize_row.cuh"

namespace octet::kernels::cuda {

/// What the output of a channel is added to.
__device__ inline float before_output(const Linear& a, int channel) {
  return a.output == Output::add ? a.out[channel] : 0.0f;
}
/// A lane's output from its product; 0 if it has none. before: what it is added to. All lanes take
/// part; those of a gate and its up are neighbours.
__device__ inline float store_product(const Linear& a, float product, float bias, float before,
                                      int channel, bool there) {
  float value = with_bias(a, bias, product);
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

}  // namespace octet::kernels::cuda
