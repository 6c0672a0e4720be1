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

/// The first weights of a norm that a thread needs, which can be read before the rows are ready.
struct FirstNorms {
  static constexpr int held = 2;
  float4 weight[held];
  __device__ explicit FirstNorms(const RowSource& source) {
#pragma unroll
    for (int j = 0; j < held; ++j) {
      const int i = static_cast<int>(threadIdx.x) + j * block_threads;
      weight[j] = source.norm && i < source.k / 4 ? reinterpret_cast<const float4*>(source.norm)[i]
                                                  : make_float4(0, 0, 0, 0);
    }
  }
};

/// A row of the source, spread over a block of threads four values at a time. The first `held` of a
/// thread's stay in registers; the others are read again each time.
template <int held>
class SpreadRow {
 public:
  __device__ SpreadRow(const RowSource& source, int64_t row, const FirstNorms& first)
      : x_(reinterpret_cast<const float4*>(source.values + row * source.stride)),
        weight_(reinterpret_cast<const float4*>(source.norm)),
        quads_(static_cast<int>(source.k / 4)) {
#pragma unroll
    for (int j = 0; j < held; ++j) held_[j] = at(place(j));
    if (!weight_) return;
    float sum = 0;
    each(quads_,
         [&](int, const float4& v) { sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w; });
    sum = combine_block(sum, Sum());
    scale_ = 1.0f / sqrtf(sum / static_cast<float>(source.k) + source.eps);
    normed_ = true;
#pragma unroll
    for (int j = 0; j < held; ++j)
      if (place(j) < quads_)
        held_[j] = norm(held_[j], j < FirstNorms::held ? first.weight[j % FirstNorms::held]
                                                       : weight_[place(j)]);
  }

  /// visit(i, four values) for each of this thread's places below `count`, zeros behind the row.
  template <class Visit>
  __device__ void each(int count, Visit visit) const {
#pragma unroll
    for (int j = 0; j < held; ++j)
      if (place(j) < count) visit(place(j), held_[j]);
#pragma unroll 4
    for (int i = place(held); i < count; i += block_threads) {
      const float4 v = at(i);
      visit(i, normed_ && i < quads_ ? norm(v, weight_[i]) : v);
    }
  }
  __device__ int quads() const {
    return quads_;
  }

 private:
  __device__ static int place(int j) {
    return static_cast<int>(threadIdx.x) + j * block_threads;
  }
  __device__ float4 at(int i) const {
    return i < quads_ ? x_[i] : make_float4(0, 0, 0, 0);
  }
  __device__ float4 norm(const float4& v, const float4& w) const {
    return make_float4(v.x * scale_ * w.x, v.y * scale_ * w.y, v.z * scale_ * w.z,
                       v.w * scale_ * w.w);
  }

  const float4 *x_, *weight_;
  int quads_;
  bool normed_ = false;
  float scale_ = 1.0f;
  float4 held_[held];
};

__device__ inline float absmax_of(const float4& v) {
  return larger_magnitude(larger_magnitude(larger_magnitude(larger_magnitude(0.0f, v.x), v.y), v.z),
                          v.w);
}

/// Row `index` of the source to values [activation_stride(k)] and scale, which may be in shared or
/// in global memory. Ends with a barrier.
template <bool grouped, int held>
__device__ inline void quantize_row(const RowSource& source, int64_t index, const FirstNorms& first,
                                    int8_t* values, float* scale) {
  const SpreadRow<held> row(source, source.rows ? source.rows[index] : index, first);
  auto* words = reinterpret_cast<uint32_t*>(values);
  const int padded = static_cast<int>(activation_stride(source.k) / 4);
  const auto note = [&](float absmax) {
    if (absmax > largest_float) atomicMin(source.check.first_bad, source.check.number);
  };
  if constexpr (grouped) {
    // A warp's 32 lanes x 4 values are one group; all lanes take part in finding its maximum.
    row.each(static_cast<int>(ceil_div(padded, 32) * 32), [&](int i, const float4& v) {
      const float absmax = combine_warp(absmax_of(v), Larger());
      const Quantizer quantize(absmax);
      if (i < padded) words[i] = quantize(v);
      if (i % 32 != 0 || i >= row.quads()) return;
      scale[i / 32] = quantize.scale;
      note(absmax);
    });
  } else {
    float absmax = 0;
    row.each(row.quads(), [&](int, const float4& v) { absmax = fmaxf(absmax, absmax_of(v)); });
    absmax = combine_block(absmax, Larger());
    const Quantizer quantize(absmax);
    row.each(padded, [&](int i, const float4& v) { words[i] = quantize(v); });
    if (threadIdx.x == 0) {
      *scale = quantize.scale;
      note(absmax);
    }
  }
  __syncthreads();
}

}  // namespace octet::kernels::cuda
