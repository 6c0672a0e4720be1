// Attention of single rows (decoding): bound by reading keys and values, and in short sequences by
// the time that one read takes. A block of threads has one split of the positions of a row and kv
// head (Dao et al. 2023, "Flash-Decoding"), whose groups of four warps take cache blocks in turns:
// a warp scores 16 positions, then adds up 32 dimensions of all 64 positions' values, so that
// between warps only maxima and weights go. Groups are merged in shared memory, splits by eights.
// What a row reads, and the order of every sum, follow from its length alone.
//
// A row's own key and value are taken from the multiplication before, rounded as the cache would:
// a row whose sequence has no other in this step needs no kernel that fills the cache, and all that
// it reads from there can be asked for before the kernels before have ended.
#include "kernels/cuda/attention_split_block.cuh"
#include "kernels/cuda/attention_split_f16.cuh"
#include "kernels/cuda/attention_split_s8.cuh"
#include "kernels/cuda/launch.cuh"

namespace octet::kernels::cuda {
namespace {

/// Of a thread: on sm_90 so few that a block of a multiplication finds room beside this one; on
/// sm_75 a block has a multiprocessor's shared memory for itself.
template <class Cache>
constexpr int split_registers(int groups) {
  if (code_architecture >= 90 && groups > 1) return Cache::registers_sm_90;
  return code_architecture < 80 ? 200 : 120;
}

template <template <int> class CacheOf, int groups>
__global__ void __maxnreg__(split_registers<CacheOf<groups>>(groups))
    attention_split_kernel(SplitAttention a) {
  using Cache = CacheOf<groups>;
  allow_next_kernel();
  const int kv_head = static_cast<int>(blockIdx.y), item = static_cast<int>(blockIdx.z);
  // The step was sent before its first kernel, so this needs no waiting.
  const int row = a.row_list ? a.row_list[item] : item;
  const StepRow step = a.step[row];
  const int length = step.position + 1;
  const SplitRange range(length, groups, static_cast<int>(blockIdx.x));
  if (range.split >= range.parts) return;

  const SplitPlace place;
  auto& shared = *dynamic_shared<typename Cache::Shared>();
  Cache cache(a, step, kv_head, shared);
  const int block = range.first + place.group;
  // Nor do positions that were cached before this step; the row's own is not read.
  const bool early =
      step.position == step.chunk_position || (block + 1) * int{kv_block} <= step.chunk_position;
  if (!early) wait_previous_kernels();
  if (block <= range.last) cache.ask_for_keys(block);
  commit_copies();
  if (block <= range.last) cache.ask_for_values(block);
  commit_copies();
  const typename Cache::Own own(a, row, kv_head);
  const bool stores_own = range.split == range.parts - 1;
  if (stores_own && threadIdx.x == 0) cache.note_own_block();
  if (early) wait_previous_kernels();
  own.prepare(shared);
  if (block <= range.last) cache.store_keys();
  wait_copies<1>();
  __syncthreads();
  SplitSoftmax<groups> softmax(shared.exchange);
  attend(cache, softmax, range, length);
  cache.store_results();
  softmax.store();
  __syncthreads();

  merge_results<4 * groups, false>(a, cache, shared.exchange, range, item, row, kv_head);
  if (stores_own) cache.store_own();
}

template <template <int> class CacheOf, int groups>
void launch_split(const SplitAttention& attention, const Queue& queue) {
  launch(
      attention_split_kernel<CacheOf, groups>,
      {dim3(extent(attention.splits), extent(attention.heads.num_kv_heads), extent(attention.rows)),
       groups * split_group_threads, sizeof(typename CacheOf<groups>::Shared)},
      queue, attention);
}

}  // namespace

void attention_split(const SplitAttention& attention, const Queue& queue) {
  const bool large = split_groups(queue.architecture, queue.shared_bytes) > 1;
  if (attention.int8)
    return large ? launch_split<CacheS8, 4>(attention, queue)
                 : launch_split<CacheS8, 1>(attention, queue);
  return large ? launch_split<CacheF16, 4>(attention, queue)
               : launch_split<CacheF16, 1>(attention, queue);
}

}  // namespace octet::kernels::cuda
