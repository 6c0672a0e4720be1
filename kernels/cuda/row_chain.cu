// What a layer does for one row up to gate and up, as one kernel, before sm_80. No part of a kernel
// runs beside the one before there; but blocks of one grid do. So behind the blocks that multiply
// q, k and v come those of split attention, which have keys and values in shared memory by the time
// these are there, and behind them those of o and of gate and up, which have their first weights.
// Values that blocks wait for are their own flags, as splits' results are (SplitPart). A block
// waits only for blocks before it in the grid, which start before it, as the device starts blocks
// in their order.
#include <algorithm>

#include "kernels/cuda/attention_split_block.cuh"
#include "kernels/cuda/attention_split_f16.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_row_ahead.cuh"

namespace octet::kernels::cuda {
namespace {

struct Parameters {
  RowParameters qkv;
  SplitAttention attention;
  RowParameters following[2];
  int attention_rows;  // of blocks
};

/// Leaves a kv head's q, k and v missing again.
__device__ inline void clear_heads(const SplitAttention& a, int kv_head) {
  const int head_dim = static_cast<int>(a.heads.head_dim), thread = static_cast<int>(threadIdx.x);
  const int q = static_cast<int>(a.heads.num_heads / a.heads.num_kv_heads) * head_dim;
  const auto clear = [&](const float* values, int count) {
    for (int i = thread; i < count; i += block_threads)
      const_cast<float*>(values)[i] = __uint_as_float(missing_word);
  };
  clear(a.qkv.q + kv_head * q, q);
  clear(a.qkv.k + kv_head * head_dim, head_dim);
  clear(a.qkv.v + kv_head * head_dim, head_dim);
}

/// The first four warps are a split's group. The others help it: with queries and keys, and they
/// bring its next cache block, for which it has no registers, and merge.
__device__ inline bool is_of_group() {
  return threadIdx.x < split_group_threads;
}

/// The split's cache blocks, one after another. The first is in shared memory.
__device__ inline void attend_with_help(CacheF16<1>& cache, SplitSoftmax<1>& softmax,
                                        const SplitRange& range, int length) {
#pragma unroll 1
  for (int block = range.first;; ++block) {
    attend_block(cache, softmax, block, block == range.first, length, [] { sync_split_group(); });
    if (block == range.last) return;
    sync_helped();
    sync_helped();
  }
}
__device__ inline void help_to_attend(CacheF16<1>& cache, const SplitRange& range) {
#pragma unroll 1
  for (int block = range.first + 1; block <= range.last; ++block) {
    cache.ask_for_keys(block);
    cache.ask_for_values(block);
    sync_helped();
    cache.store_keys();
    cache.store_values();
    sync_helped();
  }
}

__device__ inline void attend_row(const SplitAttention& a, int split, int kv_head) {
  using Cache = CacheF16<1>;
  const StepRow step = a.step[0];
  const int length = step.position + 1;
  const SplitRange range(length, 1, split);
  if (range.split >= range.parts) return;

  auto& shared = *dynamic_shared<Cache::Shared>();
  Cache cache(a, step, kv_head, shared);
  if (is_of_group()) {
    cache.ask_for_keys(range.first);
    cache.store_keys();
  } else {
    cache.ask_for_values(range.first);
    cache.store_values();
  }
  const bool stores_own = range.split == range.parts - 1;
  if (stores_own && threadIdx.x == 0) cache.note_own_block();
  const OwnHeadsF16<block_warps, true> own(a, 0, kv_head);
  own.prepare(shared);
  __syncthreads();
  if (is_of_group()) {
    SplitSoftmax<1> softmax(shared.exchange);
    attend_with_help(cache, softmax, range, length);
    cache.store_results();
    softmax.store();
  } else {
    help_to_attend(cache, range);
  }
  __syncthreads();
  merge_results<block_warps, true>(a, cache, shared.exchange, range, 0, 0, kv_head);
  if (!stores_own) return;
  cache.store_own();
  // All parts are there, so that all splits have read them.
  __syncthreads();
  clear_heads(a, kv_head);
}

template <int unit_chunks, bool waits, bool copies>
__device__ inline void multiply(const RowParameters& p) {
  if (static_cast<int>(blockIdx.x) < p.blocks)
    multiply_row_ahead<block_warps, unit_chunks, short_held, chain_residents,
                       RowLinks<waits, copies>>(p);
}

/// Rows of blocks: one multiplies q, k and v, then some attend, then one has o, and one gate and
/// up.
template <int unit_chunks>
__global__ void __launch_bounds__(block_threads, chain_residents)
    row_chain_kernel(const __grid_constant__ Parameters p) {
  if constexpr (code_architecture < 80) {
    if (blockIdx.y == 0) return multiply<unit_chunks, false, true>(p.qkv);
    const int after = static_cast<int>(blockIdx.y) - 1 - p.attention_rows;
    if (after == 0) return multiply<unit_chunks, true, true>(p.following[0]);
    if (after > 0) return multiply<unit_chunks, true, false>(p.following[1]);
    const auto splits = static_cast<unsigned>(p.attention.splits),
               number = (blockIdx.y - 1) * gridDim.x + blockIdx.x;
    if (number >= splits * static_cast<unsigned>(p.attention.heads.num_kv_heads)) return;
    attend_row(p.attention, static_cast<int>(number % splits), static_cast<int>(number / splits));
  }
}

RowParameters chain_parameters(const ChainedLinear& task, const RowPlan& plan) {
  RowParameters parameters = row_parameters(task.linear, task.source, plan);
  parameters.copy = task.copy;
  parameters.readers = task.readers;
  parameters.blocks = plan.blocks;
  return parameters;
}

}  // namespace

void row_chain(const RowChain& chain, const Queue& queue) {
  const auto plan_of = [&](const ChainedLinear& task) {
    return plan_chained(task.linear.n_tiles, task.linear.k, task.source.norm != nullptr,
                        queue.multiprocessors, queue.shared_bytes);
  };
  const RowPlan first = plan_of(chain.qkv);
  Parameters parameters{chain_parameters(chain.qkv, first), chain.attention, {}, 0};
  int blocks = first.blocks;
  for (int i = 0; i < chain.num_following; ++i) {
    const RowPlan plan = plan_of(chain.following[i]);
    parameters.following[i] = chain_parameters(chain.following[i], plan);
    blocks = std::max(blocks, plan.blocks);
  }
  const int64_t attend = chain.attention.splits * chain.attention.heads.num_kv_heads;
  parameters.attention_rows = static_cast<int>(ceil_div(attend, blocks));
  const int rows = 1 + parameters.attention_rows + chain.num_following;
  launch(first.unit_chunks == 2 ? row_chain_kernel<2> : row_chain_kernel<3>,
         {dim3(extent(blocks), extent(rows)), block_threads, first.shared_bytes}, queue,
         parameters);
}

}  // namespace octet::kernels::cuda
