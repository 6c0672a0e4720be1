#pragma once
// Heads as an int8 cache has them: a warp a head, four neighbouring dimensions a lane.
#include "kernels/cuda/rotate.cuh"

namespace octet::kernels::cuda {

/// The values of a Hadamard block of a head: the largest power of two that divides head_dim.
__device__ inline int head_block(int head_dim) {
  return head_dim & -head_dim;
}

/// float(1 / sqrt(block)), as the CPU has it.
__device__ inline float block_scale(int block) {
  float scale = 1.0f;
  for (; block >= 4; block /= 4) scale *= 0.5f;
  return block == 2 ? scale * 0.707106781f : scale;
}

/// A rotated head times its Hadamard blocks, which leave q k as it is and spread the outliers of
/// single dimensions over all (as the CPU's: lib/backends/cpu/cpu_attention.cpp). Each lane gets
/// its four dimensions, or zeros. row: the warp's own place for head_dim values.
__device__ inline float4 spread_head(const RotatedHead& head, int head_dim, float* row) {
  const int lane = threadIdx.x % 32, block = head_block(head_dim);
  head.each([&](int i, float value) { row[i] = value; });
  __syncwarp();
  const float4 v =
      4 * lane < head_dim ? reinterpret_cast<const float4*>(row)[lane] : make_float4(0, 0, 0, 0);
  return hadamard_of_warp(v, block) * block_scale(block);
}

/// Four values a lane.
struct QuantizedHead {
  uint32_t word;
  float scale;  ///< finite also where a value is not, which is noted
  __device__ QuantizedHead(const float4& v, const FiniteCheck& check) {
    const float absmax = combine_warp(absmax_of(v), LargerMagnitude());
    const Quantizer quantize(absmax);
    word = quantize(v);
    scale = absmax <= largest_float ? quantize.scale : 0.0f;
    if (threadIdx.x % 32 == 0) note_absmax(check, absmax);
  }
};

}  // namespace octet::kernels::cuda
