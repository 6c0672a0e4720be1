#pragma once
// RMSNorm and quantization of one row by a block of threads. All kernels that quantize do it here,
// with block_threads threads and in one order, so that fused or not, the bits are the same.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/ptx.cuh"

namespace octet::kernels::cuda {

constexpr float largest_float = 3.402823466e38f;

template <class Value, class Combine>
__device__ inline Value combine_warp(Value value, Combine combine) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2)
    value = combine(value, __shfl_xor_sync(0xffffffffu, value, offset));
  return value;
}

/// The same value in every thread. Has two barriers.
template <class Combine>
__device__ inline float combine_block(float value, Combine combine) {
  __shared__ float warp_values[block_warps];
  value = combine_warp(value, combine);
  __syncthreads();
  if (threadIdx.x % 32 == 0) warp_values[threadIdx.x / 32] = value;
  __syncthreads();
  value = warp_values[0];
#pragma unroll
  for (int i = 1; i < block_warps; ++i) value = combine(value, warp_values[i]);
  return value;
}

/// The larger of a and |b|; infinity, which stays the largest, where b is not finite.
__device__ inline float larger_magnitude(float a, float b) {
  const float magnitude = fabsf(b);
  return magnitude <= largest_float ? fmaxf(a, magnitude) : INFINITY;
}

struct Larger {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};
struct Sum {
  __device__ float operator()(float a, float b) const { return a + b; }
};

/// kernels/quantize_groups.h: quantize_scale().
struct Quantizer {
  float scale, inverse;
  __device__ explicit Quantizer(float absmax) {
    inverse = 127.0f / absmax;
    scale = absmax / 127.0f;
    if (inverse > largest_float) scale = inverse = 0.0f;
  }
  __device__ uint32_t operator()(const float4& v) const {
    const auto byte = [&](float x) {
      return static_cast<uint32_t>(static_cast<int>(rintf(x * inverse))) & 0xffu;
    };
    return byte(v.x) | byte(v.y) << 8 | byte(v.z) << 16 | byte(v.w) << 24;
  }
};

/// Row `index` of the source to values [activation_stride(k)] and scale, which may be in shared or
/// in global memory. Ends with a barrier.
template <bool grouped>
__device__ inline void quantize_row(const RowSource& source, int64_t index, int8_t* values,
                                    float* scale) {
  const int64_t row = source.rows ? source.rows[index] : index;
  const auto* x = reinterpret_cast<const float4*>(source.values + row * source.stride);
  const auto* weight = reinterpret_cast<const float4*>(source.norm);
  const int quads = static_cast<int>(source.k / 4), thread = static_cast<int>(threadIdx.x);
  float norm_scale = 1.0f;
  if (weight) {
    float sum = 0;
    for (int i = thread; i < quads; i += block_threads) {
      const float4 v = x[i];
      sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
    }
    sum = combine_block(sum, Sum());
    norm_scale = 1.0f / sqrtf(sum / static_cast<float>(source.k) + source.eps);
  }
  const auto load = [&](int i) {
    float4 v = x[i];
    if (weight) {
      const float4 w = weight[i];
      v = make_float4(v.x * norm_scale * w.x, v.y * norm_scale * w.y, v.z * norm_scale * w.z,
                      v.w * norm_scale * w.w);
    }
    return v;
  };
  const auto absmax_of = [](const float4& v) {
    return larger_magnitude(
        larger_magnitude(larger_magnitude(larger_magnitude(0.0f, v.x), v.y), v.z), v.w);
  };
  auto* words = reinterpret_cast<uint32_t*>(values);
  const int padded = static_cast<int>(activation_stride(source.k) / 4);
  const auto note = [&](float absmax) {
    if (absmax > largest_float) atomicMin(source.check.first_bad, source.check.number);
  };
  if constexpr (grouped) {
    // A warp's 32 lanes x 4 values are one group.
    for (int first = thread / 32 * 32; first < padded; first += block_threads) {
      const int i = first + thread % 32;
      const float4 v = i < quads ? load(i) : make_float4(0, 0, 0, 0);
      const float absmax = combine_warp(absmax_of(v), Larger());
      const Quantizer quantize(absmax);
      if (i < padded) words[i] = quantize(v);
      if (thread % 32 != 0 || first >= quads) continue;
      scale[first / 32] = quantize.scale;
      note(absmax);
    }
  } else {
    float absmax = 0;
    for (int i = thread; i < quads; i += block_threads) absmax = fmaxf(absmax, absmax_of(load(i)));
    absmax = combine_block(absmax, Larger());
    const Quantizer quantize(absmax);
    for (int i = thread; i < padded; i += block_threads) words[i] = i < quads ? quantize(load(i)) : 0;
    if (thread == 0) {
      *scale = quantize.scale;
      note(absmax);
    }
  }
  __syncthreads();
}

}  // namespace octet::kernels::cuda
