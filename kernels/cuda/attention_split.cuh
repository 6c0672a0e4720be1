#pragma once
// What split attention does alike over caches of either type.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/quantize_row.cuh"

namespace octet::kernels::cuda {

constexpr float log2_e = 1.44269504f;

__device__ inline uint4 load_words(const uint32_t (&words)[4]) {
  return *reinterpret_cast<const uint4*>(words);
}
__device__ inline void store_words(uint32_t (&words)[4], const uint4& v) {
  *reinterpret_cast<uint4*>(words) = v;
}

/// Where a thread is: lane 4 g + q of warp `warp`, which is the group's warp `quarter`. The lane
/// has head g, and positions or dimensions by q.
struct SplitPlace {
  int warp, group, quarter, lane, g, q;
  __device__ SplitPlace()
      : warp(static_cast<int>(threadIdx.x) / 32),
        group(warp / 4),
        quarter(warp % 4),
        lane(static_cast<int>(threadIdx.x) % 32),
        g(lane / 4),
        q(lane % 4) {}
};

/// What a block of threads has to do: cache blocks `first` to `last`, as split `split` of `parts`
/// (num_splits(), which divides longer numbers).
struct SplitRange {
  int split, parts, first, last;
  __device__ SplitRange(int length, int groups, int number) : split(number) {
    const auto size = static_cast<unsigned>(split_blocks(length, groups));
    constexpr auto positions = static_cast<unsigned>(kv_block);
    const unsigned blocks = (static_cast<unsigned>(length) + positions - 1) / positions;
    parts = static_cast<int>((blocks + size - 1) / size);
    first = split * static_cast<int>(size);
    last = static_cast<int>(min(first + size, blocks)) - 1;
  }
};

/// The row, kv head and cache of a block of threads.
class SplitRow {
 protected:
  __device__ SplitRow(const SplitAttention& a, const StepRow& step, int kv_head)
      : a_(a),
        blocks_(step.blocks),
        position_(step.position),
        takes_own_(step.position == step.chunk_position),
        kv_head_(kv_head),
        head_dim_(static_cast<int>(a.heads.head_dim)) {}

  __device__ int own_slot() const { return position_ % int{kv_block}; }
  __device__ bool is_own(int block) const {
    return takes_own_ && block == position_ / int{kv_block};
  }

  const SplitAttention& a_;
  std::byte* const* blocks_;
  int position_;
  bool takes_own_;  ///< the cache may not have the row's own key and value yet
  int kv_head_, head_dim_;
  SplitPlace place_;
};

/// The softmax of a lane's head over its group's positions so far. Scores have log2_e in them:
/// weights are powers of two.
template <int groups>
class SplitSoftmax {
 public:
  __device__ explicit SplitSoftmax(SplitExchange<groups>& exchange) : exchange_(exchange) {}

  /// Scores, -infinity where there is no position, become weights relative to the warp's largest.
  __device__ void begin(float (&x)[2][2]) {
    const float largest =
        combine_quad(fmaxf(fmaxf(x[0][0], x[0][1]), fmaxf(x[1][0], x[1][1])), Larger());
    warp_max_ = fmaxf(largest, -largest_float);  // the warp may have no position
    if (place_.q == 0) exchange_.maxima[place_.g][place_.warp] = warp_max_;
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i / 2][i % 2] = power_of_two(x[i / 2][i % 2] - warp_max_);
  }

  /// Behind a barrier of the group: relative to the largest of all so far. Returns the factor of
  /// what was added up before.
  __device__ float end(float (&x)[2][2]) {
    const float4 m =
        *reinterpret_cast<const float4*>(&exchange_.maxima[place_.g][4 * place_.group]);
    const float max = fmaxf(max_, fmaxf(fmaxf(m.x, m.y), fmaxf(m.z, m.w)));
    const float before = power_of_two(max_ - max), factor = power_of_two(warp_max_ - max);
    max_ = max;
    sum_ *= before;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      x[i / 2][i % 2] *= factor;
      sum_ += x[i / 2][i % 2];
    }
    return before;
  }
  __device__ float max() const {
    return max_;
  }

  /// For GroupMerge.
  __device__ void store() const {
    const float sum = combine_quad(sum_, Sum());
    if (place_.q > 0) return;
    exchange_.sums[place_.g][place_.warp] = sum;
    if (place_.quarter == 0) exchange_.group_maxima[place_.g][place_.group] = max_;
  }

 private:
  SplitExchange<groups>& exchange_;
  SplitPlace place_;
  float max_ = -INFINITY, sum_ = 0;  // the sum is of the lane's positions
  float warp_max_ = 0;
};

/// A part of a row's result, of two dimensions of a head: these, times the sum of weights relative
/// to the maximum, then maximum and sum. Parts of other blocks are there when none of their words
/// is missing_word any more: neither a barrier nor a counter is waited for.
struct SplitPart {
  float2 value;
  float max, sum;

  __device__ void store(uint4* to) const {
    store_shared_by_all(to, make_uint4(__float_as_uint(value.x), __float_as_uint(value.y),
                                       __float_as_uint(max), __float_as_uint(sum)));
  }
};

/// Places from a tile's parts to the next's.
constexpr int split_tile_parts = 32;

/// Of a lane's head, behind a barrier: what its block's groups have as one.
template <int groups>
class GroupMerge {
 public:
  __device__ explicit GroupMerge(const SplitExchange<groups>& exchange) {
    const SplitPlace place;
    max_ = exchange.group_maxima[place.g][0];
#pragma unroll
    for (int i = 1; i < groups; ++i) max_ = fmaxf(max_, exchange.group_maxima[place.g][i]);
#pragma unroll
    for (int i = 0; i < groups; ++i) {
      const float4 s = *reinterpret_cast<const float4*>(&exchange.sums[place.g][4 * i]);
      factor_[i] = power_of_two(exchange.group_maxima[place.g][i] - max_);
      sum_ = fmaf(factor_[i], (s.x + s.y) + (s.z + s.w), sum_);
    }
  }
  /// results(i): group i's.
  template <class Results>
  __device__ SplitPart part(int tile, Results results) const {
    SplitPart all{make_float2(0, 0), max_, sum_};
#pragma unroll
    for (int i = 0; i < groups; ++i) {
      const float2 x = *reinterpret_cast<const float2*>(results(i)->values[tile][threadIdx.x % 32]);
      all.value =
          make_float2(fmaf(factor_[i], x.x, all.value.x), fmaf(factor_[i], x.y, all.value.y));
    }
    return all;
  }

 private:
  float max_, sum_ = 0, factor_[groups];
};

/// Of a tile, `own` behind `count` parts of other blocks, which are `read`.
__device__ inline SplitPart add_parts(const uint4 (&read)[merged_splits - 1],
                                      const SplitPart& own) {
  constexpr int most = merged_splits - 1;
  float max = own.max;
#pragma unroll
  for (int i = 0; i < most; ++i) max = fmaxf(max, __uint_as_float(read[i].z));
  SplitPart all{make_float2(0, 0), max, 0};
  const auto add = [&](float x, float y, float of_max, float of_sum) {
    const float factor = power_of_two(of_max - max);
    all.value = make_float2(fmaf(factor, x, all.value.x), fmaf(factor, y, all.value.y));
    all.sum = fmaf(factor, of_sum, all.sum);
  };
#pragma unroll
  for (int i = 0; i < most; ++i)
    add(__uint_as_float(read[i].x), __uint_as_float(read[i].y), __uint_as_float(read[i].z),
        __uint_as_float(read[i].w));
  add(own.value.x, own.value.y, own.max, own.sum);
  return all;
}

/// Each tile's `own` behind `count` parts of other blocks, fewer than merged_splits, which are
/// waited for and left missing. Only `there` of the tiles are.
template <int tiles>
__device__ inline void merge_parts(uint4* parts, int count, int stride, int there,
                                   SplitPart (&own)[tiles]) {
  constexpr int most = merged_splits - 1;
  uint4 read[tiles][most];
#pragma unroll
  for (int i = 0; i < tiles * most; ++i)
    read[i / most][i % most] = i % most < count && i / most < there
                                   ? make_uint4(missing_word, 0, 0, 0)
                                   : make_uint4(0, 0, __float_as_uint(-INFINITY), 0);
  bool missing = true;
#pragma unroll 1
  while (missing) {
    missing = false;
#pragma unroll
    for (int i = 0; i < tiles * most; ++i)
      if (is_missing(read[i / most][i % most]))
        read[i / most][i % most] =
            load_shared_by_all(parts + i / most * split_tile_parts + i % most * stride);
#pragma unroll
    for (int i = 0; i < tiles * most; ++i) missing |= is_missing(read[i / most][i % most]);
  }
#pragma unroll
  for (int i = 0; i < tiles * most; ++i)
    if (i % most < count && i / most < there)
      store_shared_by_all(parts + i / most * split_tile_parts + i % most * stride,
                          make_uint4(missing_word, missing_word, missing_word, missing_word));
#pragma unroll
  for (int t = 0; t < tiles; ++t) own[t] = add_parts(read[t], own[t]);
}

/// The last split of each eight merges them, and the last of all the results of these, `next`. So a
/// block waits only for blocks before it in the grid, which start before it, as the device starts
/// blocks in their order. Returns whether `part` is now the whole row's.
template <int tiles>
__device__ inline bool merge_splits(uint4* results, uint4* next, int split, int parts, int stride,
                                    int there, SplitPart (&part)[tiles]) {
  constexpr int width = merged_splits;
#pragma unroll 1
  while (true) {
    const int group = split / width, first = group * width, last = min(first + width, parts) - 1;
    if (split < last) {
#pragma unroll
      for (int t = 0; t < tiles; ++t)
        if (t < there) part[t].store(results + split * stride + t * split_tile_parts);
      return false;
    }
    merge_parts(results + first * stride, last - first, stride, there, part);
    if (parts <= width) return true;
    results = next;
    split = group;
    parts = (parts + width - 1) / width;
  }
}

}  // namespace octet::kernels::cuda
