// The best logits of a row, the sum of all weights, and the step that follows. Blocks choose among
// slices of the vocabulary, then one block among what they have chosen.
#include "kernels/cuda/best_logit.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/quantize_row.cuh"

namespace octet::kernels::cuda {
namespace {

/// What a block chooses from: a thread's first keys, read all at once, are looked at again.
template <class KeyAt>
class Keys {
 public:
  __device__ Keys(int64_t size, KeyAt key_at) : size_(size), key_at_(key_at) {
#pragma unroll
    for (int j = 0; j < held; ++j) {
      const int64_t i = threadIdx.x + int64_t{j} * block_threads;
      held_[j] = i < size ? key_at(i) : Key{0};
    }
  }
  /// visit(key) for those of this thread.
  template <class Visit>
  __device__ void for_each(Visit visit) const {
#pragma unroll
    for (int j = 0; j < held; ++j) visit(held_[j]);
    for (int64_t i = threadIdx.x + held * block_threads; i < size_; i += block_threads)
      visit(key_at_(i));
  }
  __device__ Key best() const {
    Key best = 0;
    for_each([&](Key key) { best = LargerKey()(best, key); });
    return best;
  }

 private:
  static constexpr int held = 16;
  int64_t size_;
  KeyAt key_at_;
  Key held_[held];
};

__device__ int rank_among(Key key, const Key* keys, int count) {
  int rank = 0;
#pragma unroll 8
  for (int i = 0; i < count; ++i) rank += keys[i] > key;
  return rank;
}

/// Where keys lie whose order a block finds out.
struct Chosen {
  static constexpr int room = 2048;
  Key keys[room];
  int count;
  Key floor;
};

/// All keys from the floor on.
template <class KeyAt>
__device__ void choose(const Keys<KeyAt>& keys, Key floor, Chosen& chosen) {
  if (threadIdx.x == 0) chosen.count = 0;
  __syncthreads();
  keys.for_each([&](Key key) {
    if (key < floor) return;
    const int place = atomicAdd(&chosen.count, 1);
    if (place < Chosen::room) chosen.keys[place] = key;
  });
  __syncthreads();
}

/// The `count`th best of the keys for which there was room.
__device__ Key higher_floor(Chosen& chosen, int count) {
  for (int i = static_cast<int>(threadIdx.x); i < Chosen::room; i += block_threads)
    if (rank_among(chosen.keys[i], chosen.keys, Chosen::room) == count - 1)
      chosen.floor = chosen.keys[i];
  __syncthreads();
  return chosen.floor;
}

/// put(place, key) for places from 0 to count: the best in order, then 0. floor: above 0, and not
/// above the `count`th best, if there are so many.
template <class KeyAt, class Put>
__device__ void select(const Keys<KeyAt>& keys, Key floor, int count, Put put) {
  __shared__ Chosen chosen;
  choose(keys, floor, chosen);
  while (chosen.count > Chosen::room) choose(keys, higher_floor(chosen, count), chosen);
  const int found = chosen.count;
  for (int i = static_cast<int>(threadIdx.x); i < found; i += block_threads)
    if (const int rank = rank_among(chosen.keys[i], chosen.keys, found); rank < count)
      put(rank, chosen.keys[i]);
  for (int i = found + static_cast<int>(threadIdx.x); i < count; i += block_threads) put(i, Key{0});
}

/// The same, where `many` are wanted, or for the best alone, which is returned. In each warp there
/// are so many threads with a key from its floor on that all warps together have `count` from the
/// least of these on.
template <bool many, class KeyAt, class Put>
__device__ Key best_of(const Keys<KeyAt>& keys, int count, Put put) {
  __shared__ Key bests[block_warps], floors[block_warps];
  Key own = keys.best(), best = combine_warp(own, LargerKey()), floor = best;
  if constexpr (many)
    for (int found = 1; found * block_warps < count; ++found) {
      if (own == floor) own = 0;
      floor = combine_warp(own, LargerKey());
    }
  if (threadIdx.x % 32 == 0) {
    bests[threadIdx.x / 32] = best;
    floors[threadIdx.x / 32] = floor;
  }
  __syncthreads();
  for (int warp = 0; warp < block_warps; ++warp) {
    best = LargerKey()(best, bests[warp]);
    floor = floors[warp] < floor ? floors[warp] : floor;
  }
  if constexpr (many)
    select(keys, LargerKey()(floor, 1), count, put);
  else if (threadIdx.x == 0)
    put(0, best);
  return best;
}

__device__ float sum_of_block(float value) {
  __shared__ float of_warps[block_warps];
  return combine_block(value, Sum(), of_warps);
}

/// exp((logit - best) / temperature)
__device__ float weight(Key key, float best, float temperature) {
  return key == 0 ? 0.0f : __expf((candidate_of(key).logit - best) * (1 / temperature));
}

/// The row of the next step, by one thread.
__device__ void follow(const Top& a, int64_t row, StepRow step, int32_t turn, int32_t id) {
  step.id = id;
  ++step.position;
  ++step.chunk_position;
  a.step[row] = step;
  a.turns[row] = turn ^ 1;
  if (row == 0) *a.first_bad = none_bad;
}

/// Pieces of 32 ids in turns: which are good depends on where they stand in the vocabulary.
__device__ int64_t id_in_slice(int64_t i) {
  return (i / 32 * top_blocks + blockIdx.x) * 32 + i % 32;
}

/// Of the slice; relative to its best.
template <class KeyAt>
__device__ void add_weights(const Top& a, int64_t row, const Keys<KeyAt>& keys, float best) {
  float sum = 0;
  keys.for_each([&](Key key) { sum += weight(key, best, a.temperatures[row]); });
  sum = sum_of_block(sum);
  if (threadIdx.x == 0) a.partial_weights[row * top_blocks + blockIdx.x] = sum;
}

template <bool many>
__global__ void __launch_bounds__(block_threads, 1) top_of_slice_kernel(Top a) {
  allow_next_kernel();
  wait_previous_kernels();
  const int64_t row = blockIdx.y;
  const float* logits = a.logits + row * a.stride;
  const Keys keys(ceil_div(a.vocab, 32 * top_blocks) * 32, [&](int64_t i) {
    const auto id = static_cast<int32_t>(id_in_slice(i));
    return id >= a.vocab || is_left_out(a.left_out, id) ? Key{0} : key_of(logits[id], id);
  });
  Key* const partial = a.partial + row * max_top * top_blocks + blockIdx.x;
  const Key best = best_of<many>(keys, static_cast<int>(a.count),
                                 [&](int place, Key key) { partial[place * top_blocks] = key; });
  if (many && a.temperatures) add_weights(a, row, keys, candidate_of(best).logit);
}

/// Of all slices, of which these are the best.
__device__ float total_weight(const Top& a, int64_t row, const Key* slices, float best) {
  static_assert(top_blocks <= block_threads);
  const unsigned slice = threadIdx.x;
  float of_slice = 0;
  if (slice < top_blocks)
    of_slice = a.partial_weights[row * top_blocks + slice] *
               weight(slices[slice], best, a.temperatures[row]);
  return sum_of_block(of_slice);
}

template <bool many>
__global__ void __launch_bounds__(block_threads, 1) top_kernel(Top a) {
  allow_next_kernel();
  wait_previous_kernels();
  const int64_t row = blockIdx.x;
  const Key* partial = a.partial + row * max_top * top_blocks;
  const int32_t turn = a.turns[row];
  const TopResults results = a.results[turn];
  if (row == 0 && threadIdx.x == 0) *results.first_bad = *a.first_bad;
  const Keys keys(top_blocks * a.count, [&](int64_t i) { return partial[i]; });
  const Key best = best_of<many>(keys, static_cast<int>(a.count), [&](int place, Key key) {
    results.best[row * max_top + place] = candidate_of(key);
  });
  if (many && a.temperatures) {
    const float weight = total_weight(a, row, partial, candidate_of(best).logit);
    if (threadIdx.x == 0) results.weights[row] = weight;
  }
  if (a.step && threadIdx.x == 0) follow(a, row, a.step[row], turn, id_of(best));
}

/// Where the multiplication has found the best itself (Linear::best); by one thread.
__global__ void best_kernel(Top a) {
  allow_next_kernel();
  // Nothing of this step changes these.
  const int32_t turn = a.turns[0];
  const StepRow step = a.step ? a.step[0] : StepRow{};
  wait_previous_kernels();
  const Key best = *a.best;
  const TopResults results = a.results[turn];
  *results.first_bad = *a.first_bad;
  results.best[0] = candidate_of(best);
  *a.best = 0;
  if (a.step) follow(a, 0, step, turn, id_of(best));
}

}  // namespace

void top(const Top& top, const Queue& queue) {
  if (top.best) return launch(best_kernel, {dim3(1), 1}, queue, top);
  const bool many = top.count > 1;
  launch(many ? top_of_slice_kernel<true> : top_of_slice_kernel<false>,
         {dim3(top_blocks, extent(top.rows)), block_threads}, queue, top);
  launch(many ? top_kernel<true> : top_kernel<false>, {dim3(extent(top.rows)), block_threads},
         queue, top);
}

}  // namespace octet::kernels::cuda
