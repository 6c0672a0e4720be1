#pragma once
// RMSNorm and quantization of rows by a block of threads. All kernels that quantize do it here,
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

/// Each of `values`, combined over the block, in every thread. Has a barrier; nobody may still read
/// `shared`.
template <int count, class Combine>
__device__ inline void combine_block(float (&values)[count], Combine combine,
                                     float (&shared)[count][block_warps]) {
#pragma unroll
  for (int i = 0; i < count; ++i) {
    values[i] = combine_warp(values[i], combine);
    if (threadIdx.x % 32 == 0) shared[i][threadIdx.x / 32] = values[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < count; ++i) {
    values[i] = shared[i][0];
#pragma unroll
    for (int w = 1; w < block_warps; ++w) values[i] = combine(values[i], shared[i][w]);
  }
}

/// The larger of a and |b|; infinity, which stays the largest, where b is not finite.
__device__ inline float larger_magnitude(float a, float b) {
  const float magnitude = fabsf(b);
  return magnitude <= largest_float ? fmaxf(a, magnitude) : INFINITY;
}
__device__ inline float absmax_of(const float4& v) {
  return larger_magnitude(larger_magnitude(larger_magnitude(larger_magnitude(0.0f, v.x), v.y), v.z),
                          v.w);
}

struct Larger {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};
struct Sum {
  __device__ float operator()(float a, float b) const { return a + b; }
};

/// kernels/quantize_groups.h: quantize_scale().
struct Quantizer {
  float scale = 0, inverse = 0;
  Quantizer() = default;
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
  /// What the quantized values leave over.
  __device__ float4 rest(const float4& v) const {
    const auto left = [&](float x) { return x - scale * rintf(x * inverse); };
    return make_float4(left(v.x), left(v.y), left(v.z), left(v.w));
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

/// Rows of the source, each spread over the block of threads four values at a time, so that one
/// barrier does for all of them. The first `held` of a thread's places in a row stay in registers;
/// the others are read again each time.
template <int rows, int held>
class SpreadRows {
 public:
  /// Rows first to first + count - 1, and zeros for those behind.
  __device__ SpreadRows(const RowSource& source, int64_t first, int count, const FirstNorms& norms,
                        float (&shared)[rows][block_warps])
      : weight_(reinterpret_cast<const float4*>(source.norm)),
        quads_(static_cast<int>(source.k / 4)) {
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      const int64_t index = first + (r < count ? r : 0);
      const int64_t row = source.rows ? source.rows[index] : index;
      x_[r] = r < count ? reinterpret_cast<const float4*>(source.values + row * source.stride)
                        : nullptr;
    }
#pragma unroll
    for (int r = 0; r < rows; ++r)
#pragma unroll
      for (int j = 0; j < held; ++j) held_[r][j] = at(r, place(j));
    if (weight_) normalize(source, norms, shared);
  }

  /// visit(i, four values) for each of this thread's places below `count` of row r, zeros behind
  /// the row.
  template <class Visit>
  __device__ void each(int r, int count, Visit visit) const {
#pragma unroll
    for (int j = 0; j < held; ++j)
      if (place(j) < count) visit(place(j), held_[r][j]);
#pragma unroll 4
    for (int i = place(held); i < count; i += block_threads) {
      const float4 v = at(r, i);
      visit(i, normed_ && i < quads_ ? norm(r, v, weight_[i]) : v);
    }
  }
  __device__ int quads() const {
    return quads_;
  }

 private:
  __device__ void normalize(const RowSource& source, const FirstNorms& norms,
                            float (&shared)[rows][block_warps]) {
    float sum[rows] = {};
#pragma unroll
    for (int r = 0; r < rows; ++r)
      each(r, quads_,
           [&](int, const float4& v) { sum[r] += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w; });
    combine_block(sum, Sum(), shared);
    normed_ = true;
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      scale_[r] = 1.0f / sqrtf(sum[r] / static_cast<float>(source.k) + source.eps);
#pragma unroll
      for (int j = 0; j < held; ++j)
        if (place(j) < quads_)
          held_[r][j] =
              norm(r, held_[r][j],
                   j < FirstNorms::held ? norms.weight[j % FirstNorms::held] : weight_[place(j)]);
    }
  }
  __device__ static int place(int j) {
    return static_cast<int>(threadIdx.x) + j * block_threads;
  }
  __device__ float4 at(int r, int i) const {
    return x_[r] && i < quads_ ? x_[r][i] : make_float4(0, 0, 0, 0);
  }
  __device__ float4 norm(int r, const float4& v, const float4& w) const {
    return make_float4(v.x * scale_[r] * w.x, v.y * scale_[r] * w.y, v.z * scale_[r] * w.z,
                       v.w * scale_[r] * w.w);
  }

  const float4 *x_[rows], *weight_;
  int quads_;
  bool normed_ = false;
  float scale_[rows] = {};
  float4 held_[rows][held];
};

/// Rows first to first + count - 1 of the source, count <= rows, to the same rows of `out`; with
/// two planes what is left over to those `out_rows` further. `out` may be in shared or in global
/// memory. Ends with a barrier.
template <bool grouped, int rows, int held>
__device__ inline void quantize_rows_of_block(const RowSource& source, int64_t first, int count,
                                              const FirstNorms& norms, const QuantizedRows& out,
                                              int64_t out_rows) {
  __shared__ float shared[3][rows][block_warps];
  const SpreadRows<rows, held> spread(source, first, count, norms, shared[0]);
  const int padded = static_cast<int>(activation_stride(source.k) / 4);
  const int row_scales = grouped ? static_cast<int>(num_groups(source.k)) : 1;
  const auto note = [&](float absmax) {
    if (absmax > largest_float) atomicMin(source.check.first_bad, source.check.number);
  };
  const auto words_of = [&](int r, int plane) {
    return reinterpret_cast<uint32_t*>(out.values + (plane * out_rows + first + r) * out.stride);
  };
  const auto scale_of = [&](int r, int plane) {
    return out.scale + (plane * out_rows + first + r) * row_scales;
  };
  if constexpr (grouped) {
    // A warp's 32 lanes x 4 values are one group; all lanes take part in finding its maximum.
    const int visited = static_cast<int>(ceil_div(padded, 32) * 32);
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      if (r >= count) break;
      spread.each(r, visited, [&](int i, float4 v) {
        for (int plane = 0; plane < source.planes; ++plane) {
          const float absmax = combine_warp(absmax_of(v), Larger());
          const Quantizer quantize(absmax);
          if (i < padded) words_of(r, plane)[i] = quantize(v);
          if (i % 32 == 0 && i < spread.quads()) {
            scale_of(r, plane)[i / 32] = quantize.scale;
            note(absmax);
          }
          v = quantize.rest(v);
        }
      });
    }
  } else {
    Quantizer quantize[rows];
    const auto quantize_plane = [&](int plane, auto value_of) {
      float absmax[rows] = {};
#pragma unroll
      for (int r = 0; r < rows; ++r)
        spread.each(r, spread.quads(), [&](int, const float4& v) {
          absmax[r] = fmaxf(absmax[r], absmax_of(value_of(r, v)));
        });
      combine_block(absmax, Larger(), shared[1 + plane]);
#pragma unroll
      for (int r = 0; r < rows; ++r) {
        if (r >= count) break;
        const Quantizer of_row(absmax[r]);
        spread.each(r, padded, [&](int i, const float4& v) {
          words_of(r, plane)[i] = of_row(value_of(r, v));
        });
        quantize[r] = of_row;
        if (threadIdx.x > 0) continue;
        *scale_of(r, plane) = of_row.scale;
        note(absmax[r]);
      }
    };
    quantize_plane(0, [](int, const float4& v) { return v; });
    if (source.planes > 1)
      quantize_plane(1, [before = quantize](int r, const float4& v) { return before[r].rest(v); });
  }
  __syncthreads();
}

}  // namespace octet::kernels::cuda
