#pragma once
// What a block of threads does with its split of a row, over a cache of either type.
#include "kernels/cuda/attention_split.cuh"

namespace octet::kernels::cuda {

/// One cache block, whose keys are in shared memory; its values when before_weights() has returned,
/// which runs while the group's warps exchange their maxima. first: of the group's.
template <int groups, class Cache, class BeforeWeights>
__device__ inline void attend_block(Cache& cache, SplitSoftmax<groups>& softmax, int block,
                                    bool first, int length, BeforeWeights before_weights) {
  const SplitPlace place;
  float x[2][2];
  cache.score(block, x);
  const int count = length - block * int{kv_block} - warp_positions * place.quarter;
#pragma unroll
  for (int i = 0; i < 4; ++i)
    if (cache.score_position(i / 2, i % 2) >= count) x[i / 2][i % 2] = -INFINITY;
  softmax.begin(x);
  cache.before_exchange(x);
  before_weights();
  const float before = softmax.end(x);
  if (!first) cache.scale_results(before);
  cache.store_weights(x, softmax.max());
  wait_copies<1>();
  sync_split_group();
  cache.add_values(block);
}

/// The group's cache blocks, one after another. The first is on its way; its keys have arrived.
template <int groups, class Cache>
__device__ inline void attend(Cache& cache, SplitSoftmax<groups>& softmax, const SplitRange& range,
                              int length) {
  const SplitPlace place;
#pragma unroll 1
  for (int block = range.first + place.group; block <= range.last; block += groups) {
    const bool again = block + groups <= range.last;
    attend_block(cache, softmax, block, block < range.first + groups, length, [&] {
      cache.store_values();
      sync_split_group();
      if (again) cache.ask_for_keys(block + groups);
      commit_copies();
    });
    if (!again) return;
    sync_split_group();
    cache.ask_for_values(block + groups);
    commit_copies();
    cache.store_keys();
    wait_copies<1>();
    sync_split_group();
  }
}

/// Two dimensions of a row's result.
template <bool awaited>
__device__ inline void store_result(const SplitPart& part, float* out) {
  const float factor = __fdividef(1.0f, part.sum);
  const float2 value = make_float2(part.value.x * factor, part.value.y * factor);
  auto* to = reinterpret_cast<float2*>(out);
  if constexpr (awaited)
    store_shared_by_all(to, value);
  else
    *to = value;
}

/// Behind a barrier: what the block's groups have becomes one, and with other splits' parts the
/// row's result, by so many warps. item: of the launch's rows. awaited: other blocks wait for the
/// result.
template <int warps, bool awaited, int groups, class Cache>
__device__ inline void merge_results(const SplitAttention& a, const Cache& cache,
                                     const SplitExchange<groups>& exchange, const SplitRange& range,
                                     int item, int row, int kv_head) {
  constexpr int tiles = split_tiles / warps, together = tiles < 2 ? tiles : 2,
                stride = split_part_words / 4;
  const SplitPlace place;
  const int head_dim = static_cast<int>(a.heads.head_dim);
  const int heads = static_cast<int>(a.heads.num_heads / a.heads.num_kv_heads);
  const GroupMerge<groups> merge(exchange);
  const int64_t slot = int64_t{item} * a.heads.num_kv_heads + kv_head;
  uint4* results =
      reinterpret_cast<uint4*>(a.partial) + slot * split_results(a.splits) * stride + place.lane;
  float* out = a.out + row * a.out_stride + (kv_head * heads + place.g) * head_dim;
#pragma unroll
  for (int t = 0; t < tiles; t += together) {
    const int tile = tiles * place.warp + t, d = 8 * tile + 2 * place.q;
    if (place.g >= heads || d >= head_dim) continue;
    const int there = together > 1 ? (head_dim - d + 7) / 8 : 1;
    SplitPart part[together];
#pragma unroll
    for (int i = 0; i < together; ++i)
      part[i] = merge.part(tile + i, [&](int group) { return cache.results(group); });
    uint4* of_tile = results + tile * split_tile_parts;
    if (range.parts > 1 && !merge_splits(of_tile, of_tile + a.splits * stride, range.split,
                                         range.parts, stride, there, part))
      continue;
#pragma unroll
    for (int i = 0; i < together; ++i)
      if (i < there) store_result<awaited>(part[i], out + d + 8 * i);
  }
}

}  // namespace octet::kernels::cuda
