#pragma once
// RMSNorm and quantization of rows by a block of threads. All kernels that quantize do it here.
// Those of norms have block_threads threads and one order, the CPU's (kernels/types.h), so that
// fused or not, the bits are the same; without a norm they do not depend on the threads.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/ptx.cuh"

namespace octet::kernels::cuda {

constexpr float largest_float = 3.402823466e38f;

/// Of what other blocks write, where missing_word is until then.
__device__ inline bool is_missing(const uint4& v) {
  return v.x == missing_word || v.y == missing_word || v.z == missing_word || v.w == missing_word;
}
__device__ inline bool is_missing(const float2& v) {
  return __float_as_uint(v.x) == missing_word || __float_as_uint(v.y) == missing_word;
}

template <class Value, class Combine>
__device__ inline Value combine_warp(Value value, Combine combine) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2)
    value = combine(value, __shfl_xor_sync(0xffffffffu, value, offset));
  return value;
}

/// Over the four lanes that have a row of an mma's result.
template <class Combine>
__device__ inline float combine_quad(float value, Combine combine) {
  value = combine(value, __shfl_xor_sync(0xffffffffu, value, 1));
  return combine(value, __shfl_xor_sync(0xffffffffu, value, 2));
}

/// Two values as fp16, and what that leaves over.
__device__ inline void split_terms(float x, float y, uint32_t& first, uint32_t& second) {
  first = pack_halves(x, y);
  const float2 rounded = unpack_halves(first);
  second = pack_halves(x - rounded.x, y - rounded.y);
}

/// The largest magnitude; infinity, which stays the largest, where a value is not finite. Bits of
/// magnitudes are in the order of these, with those of NaN last.
__device__ inline float absmax_of(const float4& v) {
  const auto magnitude = [](float x) { return __float_as_uint(x) & 0x7fffffffu; };
  const uint32_t largest =
      max(max(magnitude(v.x), magnitude(v.y)), max(magnitude(v.z), magnitude(v.w)));
  return __uint_as_float(min(largest, 0x7f800000u));
}

/// The same of one value, as bits.
__device__ inline uint32_t peak_of(float x) {
  return min(__float_as_uint(x) & 0x7fffffffu, 0x7f800000u);
}
/// Notes it for the row (RowSource::peaks). Who calls often has a place of its own, if it can.
__device__ inline void gather_peak(uint32_t* peaks, int64_t row, int place, uint32_t peak) {
  atomicMax(peaks + row * peak_places + place % peak_places, peak);
}

struct Larger {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};
struct Sum {
  __device__ float operator()(float a, float b) const { return a + b; }
};
/// Larger, of values that are not negative.
struct LargerMagnitude : Larger {};
__device__ inline float combine_warp(float value, LargerMagnitude) {
  return __uint_as_float(largest_of_warp(__float_as_uint(value)));
}

/// The same value in every thread. Has a barrier; nobody may still read `shared`.
template <class Combine, int warps>
__device__ inline float combine_block(float value, Combine combine, float (&shared)[warps]) {
  value = combine_warp(value, combine);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  sync_workers<32 * warps>();
  value = shared[0];
#pragma unroll
  for (int w = 1; w < warps; ++w) value = combine(value, shared[w]);
  return value;
}

/// kernels/quantize_groups.h: quantize_scale().
struct Quantizer {
  float scale = 0, inverse = 0;
  Quantizer() = default;
  __device__ explicit Quantizer(float absmax) {
    inverse = 127.0f / absmax;
    scale = absmax / 127.0f;
    if (inverse > largest_float) scale = inverse = 0.0f;
  }
  /// Rounded by an addition whose result has the integer in its low bits (sum_value()): conversions
  /// are slow.
  __device__ uint32_t operator()(const float4& v) const {
    const auto bits = [&](float x) {
      return __float_as_uint(__fadd_rn(__fmul_rn(x, inverse), 12582912.0f));
    };
    return __byte_perm(__byte_perm(bits(v.x), bits(v.y), 0x0040),
                       __byte_perm(bits(v.z), bits(v.w), 0x0040), 0x5410);
  }
  /// What the quantized values leave over.
  __device__ float4 rest(const float4& v) const {
    const auto left = [&](float x) { return x - scale * rintf(x * inverse); };
    return make_float4(left(v.x), left(v.y), left(v.z), left(v.w));
  }
};

/// Of int32 sums whose magnitude stays below 2^22: begun at sum_start, they are the bits of floats
/// around 1.5 * 2^23, so that an addition gives their value. Conversions are half as fast.
constexpr int sum_start = 0x4b400000;
__device__ inline float sum_value(int sum) {
  return __uint_as_float(static_cast<uint32_t>(sum)) - 12582912.0f;
}

/// kernels/types.h, Attention: the softmax's weights, which are not negative, as bytes.
struct WeightQuantizer {
  float scale = 0, inverse = 0;
  __device__ explicit WeightQuantizer(float largest) {
    inverse = 255.0f / largest;
    scale = largest / 255.0f;
    if (inverse > largest_float) scale = inverse = 0.0f;
  }
  __device__ uint32_t operator()(float weight) const {
    return __float_as_uint(weight * inverse + 12582912.0f) & 0xffu;  // as in sum_value()
  }
};

__device__ inline float sum_of_squares(const float4& v) {
  return (v.x * v.x + v.y * v.y) + (v.z * v.z + v.w * v.w);
}
/// RMSNorm's factor of a row with that sum of squares.
__device__ inline float norm_factor(float sum, const RowSource& source) {
  return 1.0f / sqrtf(sum / static_cast<float>(source.k) + source.eps);
}
__device__ inline float4 norm(const float4& v, float factor, const float4& weight) {
  return make_float4(v.x * factor * weight.x, v.y * factor * weight.y, v.z * factor * weight.z,
                     v.w * factor * weight.w);
}
__device__ inline const float4* source_row(const RowSource& source, int64_t index) {
  const int64_t row = source.rows ? source.rows[index] : index;
  return reinterpret_cast<const float4*>(source.values + row * source.stride);
}
__device__ inline void note_absmax(const FiniteCheck& check, float absmax) {
  if (absmax > largest_float) atomicMin(check.first_bad, check.number);
}

__device__ inline float4 operator+(const float4& a, const float4& b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}
__device__ inline float4 operator-(const float4& a, const float4& b) {
  return make_float4(a.x - b.x, a.y - b.y, a.z - b.z, a.w - b.w);
}
__device__ inline float4 operator*(const float4& v, float factor) {
  return make_float4(v.x * factor, v.y * factor, v.z * factor, v.w * factor);
}
/// A step of a Hadamard transform between this thread and another, whose values `other` are. sign:
/// 1 in the lower of the two, whose result is the sum; -1 in the upper.
__device__ inline float4 hadamard_step(const float4& v, const float4& other, float sign) {
  return make_float4(fmaf(v.x, sign, other.x), fmaf(v.y, sign, other.y), fmaf(v.z, sign, other.z),
                     fmaf(v.w, sign, other.w));
}
/// The steps of distance 1 to 64, as far as blocks of so many values have them: within four values,
/// then between a warp's lanes, which hold neighbours. Of several at a time, as lanes wait long for
/// each other.
template <int count>
__device__ inline void hadamard_of_warp(float4* (&values)[count], int block) {
#pragma unroll
  for (float4* v : values) {
    *v = make_float4(v->x + v->y, v->x - v->y, v->z + v->w, v->z - v->w);
    if (block > 2) *v = make_float4(v->x + v->z, v->y + v->w, v->x - v->z, v->y - v->w);
  }
#pragma unroll
  for (int lanes = 1; lanes < 32; lanes *= 2) {
    if (4 * lanes >= block) break;
    const float sign = threadIdx.x & lanes ? -1.0f : 1.0f;
    const auto exchange = [&](float x) { return __shfl_xor_sync(0xffffffffu, x, lanes); };
#pragma unroll
    for (float4* v : values)
      *v = hadamard_step(
          *v, make_float4(exchange(v->x), exchange(v->y), exchange(v->z), exchange(v->w)), sign);
  }
}
__device__ inline float4 hadamard_of_warp(float4 v, int block) {
  float4* values[] = {&v};
  hadamard_of_warp(values, block);
  return v;
}
/// The step between values that a thread has of both sides.
__device__ inline void hadamard_step_of(float4& low, float4& high) {
  const float4 before = low;
  low = before + high;
  high = before - high;
}

/// Rows of up to so many times four values a thread stay in registers, as the longest input of
/// the 1.5B, 8960, does. Short rows have kernels that leave room for more blocks.
constexpr int short_held = 2, long_held = 10;

/// Where one plane of a row goes, of `rows` of each plane.
struct PlaneRow {
  uint32_t* words;
  float* scale;
  __device__ PlaneRow(const QuantizedRows& out, int plane, int64_t rows, int64_t row,
                      int row_scales)
      : words(reinterpret_cast<uint32_t*>(out.values + (plane * rows + row) * out.stride)),
        scale(out.scale + (plane * rows + row) * row_scales) {}
  __device__ uint32_t* word(int i) const { return words + i; }
  static __device__ int64_t stride(int64_t k) { return activation_stride(k); }
};
/// The same where rows are tiled. Of each tiled_k values a lane has the four of its number
/// (spread_place()).
struct TiledRow {
  static constexpr int row_words = tiled_k / 4;
  static_assert(row_words == 32);
  uint32_t* words;
  float* scale;
  int first;  // the lane's word, as if its number were 0
  __device__ TiledRow(const QuantizedRows& out, int plane, int64_t rows, int64_t row,
                      int row_scales)
      : words(reinterpret_cast<uint32_t*>(out.values)),
        scale(out.scale + (plane * rows + row) * row_scales) {
    const auto tile = static_cast<int>(plane * ceil_div(rows, tiled_rows) + row / tiled_rows);
    const int of_tile = static_cast<int>(row % tiled_rows), lane = threadIdx.x % 32;
    first = tile * static_cast<int>(tiled_rows * out.stride / 4) + of_tile * row_words +
            tiled_place(of_tile, lane) - lane * tiled_rows;
  }
  __device__ uint32_t* word(int i) const { return words + (first + i * tiled_rows); }
  static __device__ int64_t stride(int64_t k) { return tiled_stride(k); }
};

/// Four values of a group, which a warp's lanes hold together, to each of the planes. All lanes
/// take part; there: whether place i of the row is one; `quads` of them have values.
template <class PlaneOf>
__device__ inline void quantize_group(const RowSource& source, int i, float4 v, bool there,
                                      int quads, PlaneOf plane_of) {
  for (int plane = 0; plane < source.planes; ++plane) {
    const float absmax = combine_warp(absmax_of(v), LargerMagnitude());
    const Quantizer quantize(absmax);
    const auto out = plane_of(plane);
    if (there) *out.word(i) = quantize(v);
    if (i % 32 == 0 && i < quads) {
      out.scale[i / 32] = quantize.scale;
      note_absmax(source.check, absmax);
    }
    v = quantize.rest(v);
  }
}

/// Place j of this thread in a row that a block of threads holds four values at a time: a warp has
/// 256 neighbouring values in two places a lane, then those of 256 times its number on.
template <int threads = block_threads>
__device__ inline int spread_place(int j) {
  const int thread = static_cast<int>(threadIdx.x);
  return j / 2 * 2 * threads + thread / 32 * 64 + j % 2 * 32 + thread % 32;
}

/// The first weights of a norm that a thread needs, which can be read before the rows are ready.
struct FirstNorms {
  static constexpr int held = 2;
  float4 weight[held];
  __device__ explicit FirstNorms(const RowSource& source) {
#pragma unroll
    for (int j = 0; j < held; ++j) {
      const int i = spread_place(j);
      weight[j] = source.norm && i < source.k / 4 ? reinterpret_cast<const float4*>(source.norm)[i]
                                                  : make_float4(0, 0, 0, 0);
    }
  }
};
/// The same in memory of exchange_bytes(), where each thread's places are those through which it
/// exchanges the normed row: it has read them by then.
struct NormsInMemory {
  struct {
    const float4* of_thread;
    __device__ const float4& operator[](int j) const { return of_thread[j * block_threads]; }
  } weight;
  __device__ NormsInMemory(const RowSource& source, float4* memory) : weight{memory + threadIdx.x} {
    if (threadIdx.x >= block_threads) return;
    const FirstNorms norms(source);
#pragma unroll
    for (int j = 0; j < FirstNorms::held; ++j)
      memory[j * block_threads + threadIdx.x] = norms.weight[j];
  }
};

/// A thread's first `held` places in a row of the source, to be asked for before other things are.
/// Zeros behind the row.
template <int held, int threads>
struct HeldPlaces {
  float4 value[held];
  HeldPlaces() = default;
  __device__ HeldPlaces(const RowSource& source, int64_t index) {
    const float4* x = source_row(source, index);
    const auto quads = static_cast<int>(source.k / 4);
#pragma unroll
    for (int j = 0; j < held; ++j) {
      const int i = spread_place<threads>(j);
      value[j] = i < quads ? x[i] : make_float4(0, 0, 0, 0);
    }
  }
};

/// The largest magnitude of a row that has peaks, which the four lanes of a row read together.
__device__ inline float absmax_of_quad(const RowSource& source, int row) {
  static_assert(peak_places == 4 * 4);
  const uint4 p = reinterpret_cast<const uint4*>(source.peaks + row * peak_places)[threadIdx.x % 4];
  return combine_quad(__uint_as_float(max(max(p.x, p.y), max(p.z, p.w))), Larger());
}

/// A row of the source that has peaks, or a slice of it, which `threads` hold, to `out`. Ends
/// without a barrier.
template <int held, int threads>
__device__ inline void quantize_peaked_row(const RowSource& source, const QuantizedRows& out) {
  __shared__ float shared[threads / 32];
  const HeldPlaces<held, threads> row(source, 0);
  uint32_t peak = 0;
  for (int i = static_cast<int>(threadIdx.x); i < source.peak_words / 4; i += threads) {
    const uint4 p = reinterpret_cast<const uint4*>(source.peaks)[i];
    peak = max(peak, max(max(p.x, p.y), max(p.z, p.w)));
  }
  const float absmax = combine_block(__uint_as_float(peak), LargerMagnitude(), shared);
  const Quantizer quantize(absmax);
#pragma unroll
  for (int j = 0; j < held; ++j) {
    const int i = spread_place<threads>(j);
    if (i < static_cast<int>(activation_stride(source.k) / 4))
      reinterpret_cast<uint32_t*>(out.values)[i] = quantize(row.value[j]);
  }
  if (threadIdx.x > 0) return;
  *out.scale = quantize.scale;
  note_absmax(source.check, absmax);
}

/// A row of the source, spread over a block of threads four values at a time. The first `held` of a
/// thread's places stay in registers; the others, if there may be any, are read again each time.
template <int held, bool all_held, int threads = block_threads>
class SpreadRow {
  static_assert(held % 2 == 0);
  static constexpr bool may_have_norm = threads == block_threads;

 public:
  /// exchanged: of exchange_bytes(threads), if rows are rotated in blocks over exchanged_hadamard.
  template <class Norms>
  __device__ SpreadRow(const RowSource& source, int64_t index, const Norms& norms,
                       float (&shared)[threads / 32], float4* exchanged)
      : x_(source_row(source, index)),
        weight_(reinterpret_cast<const float4*>(source.norm)),
        quads_(static_cast<int>(source.k / 4)) {
#pragma unroll
    for (int j = 0; j < held; ++j) held_[j] = at(place(j));
    prepare(source, norms, shared, exchanged);
  }
  /// Of a row without a norm that is not exchanged.
  __device__ explicit SpreadRow(const RowSource& source)
      : x_(source_row(source, 0)), weight_(nullptr), quads_(static_cast<int>(source.k / 4)) {
#pragma unroll
    for (int j = 0; j < held; ++j) held_[j] = at(place(j));
    if (source.hadamard > 1) rotate<false>(source, nullptr);
  }
  /// The same of a row that was asked for.
  __device__ SpreadRow(const RowSource& source, int64_t index,
                       const HeldPlaces<held, threads>& places, const FirstNorms& norms,
                       float (&shared)[threads / 32], float4* exchanged)
      : x_(source_row(source, index)),
        weight_(reinterpret_cast<const float4*>(source.norm)),
        quads_(static_cast<int>(source.k / 4)) {
#pragma unroll
    for (int j = 0; j < held; ++j) held_[j] = places.value[j];
    prepare(source, norms, shared, exchanged);
  }

  /// visit(i, four values) for each of this thread's places below `count`, zeros behind the row.
  template <class Visit>
  __device__ void each(int count, Visit visit) const {
#pragma unroll
    for (int j = 0; j < held; ++j)
      if (place(j) < count) visit(place(j), held_[j]);
    if constexpr (!all_held)
#pragma unroll 4
      for (int j = held; j * threads < count; ++j) {
        const int i = place(j);
        if (i >= count) continue;
        const float4 v = at(i);
        visit(i, normed_ && i < quads_ ? norm(v, factor_, weight_[i]) : v);
      }
  }
  __device__ int quads() const {
    return quads_;
  }

 private:
  __device__ static int place(int j) {
    return spread_place<threads>(j);
  }
  template <class Norms>
  __device__ void prepare(const RowSource& source, const Norms& norms,
                          float (&shared)[threads / 32], float4* exchanged) {
    if constexpr (may_have_norm)
      if (weight_) normalize(source, norms, shared);
    if (source.hadamard > 1) rotate<true>(source, exchanged);
  }
  template <class Norms>
  __device__ void normalize(const RowSource& source, const Norms& norms,
                            float (&shared)[threads / 32]) {
    float sum = 0;
    each(quads_, [&](int, const float4& v) { sum += sum_of_squares(v); });
    factor_ = norm_factor(combine_block(sum, Sum(), shared), source);
    normed_ = true;
#pragma unroll
    for (int j = 0; j < held; ++j)
      if (place(j) < quads_)
        held_[j] =
            norm(held_[j], factor_,
                 j < FirstNorms::held ? norms.weight[j % FirstNorms::held] : weight_[place(j)]);
  }

  /// All of the row is held (can_rotate()). The step of distance 128 is between a lane's two
  /// places, that of 256 between neighbouring warps.
  template <bool exchanges>
  __device__ void rotate(const RowSource& source, float4* exchanged) {
    const int block = source.hadamard;
#pragma unroll
    for (int j = 0; j < held; j += 2) {
      if (j * threads >= quads_) break;
      float4 &low = held_[j], &high = held_[j + 1];
      float4* both[] = {&low, &high};
      hadamard_of_warp(both, block);
      if (block > 128) hadamard_step_of(low, high);
      if constexpr (exchanges)
        if (block > exchanged_hadamard) exchange(low, high, exchanged, j > 0);
      low = low * source.hadamard_scale;
      high = high * source.hadamard_scale;
    }
  }
  __device__ static void exchange(float4& low, float4& high, float4* exchanged, bool again) {
    const unsigned thread = threadIdx.x, other = thread ^ 32;
    const float sign = thread & 32 ? -1.0f : 1.0f;
    if (again) sync_neighbours();
    exchanged[thread] = low;
    exchanged[threads + thread] = high;
    sync_neighbours();
    low = hadamard_step(low, exchanged[other], sign);
    high = hadamard_step(high, exchanged[threads + other], sign);
  }

  __device__ float4 at(int i) const {
    return i < quads_ ? x_[i] : make_float4(0, 0, 0, 0);
  }

  const float4 *x_, *weight_;
  int quads_;
  bool normed_ = false;
  float factor_ = 1.0f;
  float4 held_[held];
};

/// A slice of a row of the source without a norm, which `threads` hold, to `out`; if it is rotated,
/// in blocks that a warp has. absmax_of_row(the slice's). Ends without a barrier.
template <int held, int threads, class AbsmaxOfRow>
__device__ inline void quantize_slice(const RowSource& source, const QuantizedRows& out,
                                      const AbsmaxOfRow& absmax_of_row) {
  __shared__ float shared[threads / 32];
  const SpreadRow<held, true, threads> row(source);
  float absmax = 0;
  row.each(row.quads(), [&](int, const float4& v) { absmax = fmaxf(absmax, absmax_of(v)); });
  absmax = absmax_of_row(combine_block(absmax, LargerMagnitude(), shared));
  const Quantizer quantize(absmax);
  row.each(static_cast<int>(activation_stride(source.k) / 4), [&](int i, const float4& v) {
    reinterpret_cast<uint32_t*>(out.values)[i] = quantize(v);
  });
  if (threadIdx.x > 0) return;
  *out.scale = quantize.scale;
  note_absmax(source.check, absmax);
}

/// The largest magnitude of a row that one block of threads has whole.
struct WholeRow {
  __device__ float operator()(float absmax, int /*plane*/) const { return absmax; }
};

/// The row of the source that a block of threads has, to row `index` of `out`, which has `rows` of
/// each plane and may be in shared or in global memory. absmax_of_row(the block's, plane): where
/// others have more of the row, over these too. Ends with a barrier.
template <bool grouped, class Place, int held, bool all_held, int threads, class AbsmaxOfRow>
__device__ inline void quantize_spread_row(const RowSource& source,
                                           const SpreadRow<held, all_held, threads>& row,
                                           int64_t index, int64_t rows, const QuantizedRows& out,
                                           float (&shared)[3][threads / 32],
                                           const AbsmaxOfRow& absmax_of_row) {
  const int padded = static_cast<int>(Place::stride(source.k) / 4);
  const int row_scales = grouped ? static_cast<int>(num_groups(source.k)) : 1;
  const auto plane_of = [&](int plane) { return Place(out, plane, rows, index, row_scales); };
  if constexpr (grouped) {
    row.each(static_cast<int>(ceil_div(padded, 32) * 32), [&](int i, const float4& v) {
      quantize_group(source, i, v, i < padded, row.quads(), plane_of);
    });
  } else {
    const auto quantize_plane = [&](int plane, auto value_of) {
      float absmax = 0;
      row.each(row.quads(),
               [&](int, const float4& v) { absmax = fmaxf(absmax, absmax_of(value_of(v))); });
      absmax = absmax_of_row(combine_block(absmax, LargerMagnitude(), shared[1 + plane]), plane);
      const Quantizer quantize(absmax);
      const Place to = plane_of(plane);
      row.each(padded, [&](int i, const float4& v) { *to.word(i) = quantize(value_of(v)); });
      if (threadIdx.x == block_threads - 1) {  // has few values, if any
        *to.scale = quantize.scale;
        note_absmax(source.check, absmax);
      }
      return quantize;
    };
    const Quantizer first = quantize_plane(0, [](const float4& v) { return v; });
    if (source.planes > 1) quantize_plane(1, [&](const float4& v) { return first.rest(v); });
  }
  sync_workers<threads>();
}

/// Row `index` of the source, by a block of threads, to the same row of `out`. exchanged: of
/// exchange_bytes(), if the source is rotated.
template <bool grouped, int held, bool all_held, class Place = PlaneRow,
          class AbsmaxOfRow = WholeRow, int threads = block_threads, class Norms>
__device__ inline void quantize_row(const RowSource& source, int64_t index, int64_t rows,
                                    const Norms& norms, float4* exchanged, const QuantizedRows& out,
                                    const AbsmaxOfRow& absmax_of_row = {}) {
  __shared__ float shared[3][threads / 32];
  const SpreadRow<held, all_held, threads> row(source, index, norms, shared[0], exchanged);
  quantize_spread_row<grouped, Place>(source, row, index, rows, out, shared, absmax_of_row);
}

}  // namespace octet::kernels::cuda
