// The best ids of a row of logits, and the step that follows. Each pass over the values, most of
// them in registers, finds the best that comes after the last one found; blocks do so for slices of
// the vocabulary, then one block for their results.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/quantize_row.cuh"

namespace octet::kernels::cuda {
namespace {

/// Larger is better: the logit, then the smaller id. 0 stands for none.
using Key = unsigned long long;

__device__ Key key_of(float logit, int32_t id) {
  const uint32_t bits = __float_as_uint(logit);
  const uint32_t ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return static_cast<Key>(ordered) << 32 | ~static_cast<uint32_t>(id);
}
__device__ Candidate candidate_of(Key key) {
  if (key == 0) return {-INFINITY, -1};
  const auto ordered = static_cast<uint32_t>(key >> 32);
  const uint32_t bits = ordered & 0x80000000u ? ordered & 0x7fffffffu : ~ordered;
  return {__uint_as_float(bits), static_cast<int32_t>(~static_cast<uint32_t>(key))};
}

__device__ bool is_left_out(const Top& a, int32_t id) {
  return a.left_out && (a.left_out[id / 32] >> (id % 32) & 1) != 0;
}

struct LargerKey {
  __device__ Key operator()(Key a, Key b) const { return a > b ? a : b; }
};

/// A thread's first keys of those that a block chooses from, read all at once: each of up to
/// max_top passes looks at them again.
constexpr int held_keys = 16;

/// out[0 .. count) = the best of the keys key_at(0 .. size), of which the first is returned.
template <class KeyAt>
__device__ Key select(int64_t size, int64_t count, Candidate* out, KeyAt key_at) {
  __shared__ Key warp_keys[block_warps];
  Key held[held_keys];
#pragma unroll
  for (int j = 0; j < held_keys; ++j) {
    const int64_t i = threadIdx.x + int64_t{j} * block_threads;
    held[j] = i < size ? key_at(i) : Key{0};
  }
  Key last = ~Key{0}, first = 0;
  for (int64_t found = 0; found < count; ++found) {
    Key best = 0;
    const auto look_at = [&](Key key) {
      if (key < last && key > best) best = key;
    };
#pragma unroll
    for (int j = 0; j < held_keys; ++j) look_at(held[j]);
    for (int64_t i = threadIdx.x + held_keys * block_threads; i < size; i += block_threads)
      look_at(key_at(i));
    best = combine_warp(best, LargerKey());
    __syncthreads();
    if (threadIdx.x % 32 == 0) warp_keys[threadIdx.x / 32] = best;
    __syncthreads();
    for (int i = 0; i < block_warps; ++i) best = LargerKey()(best, warp_keys[i]);
    if (threadIdx.x == 0) out[found] = candidate_of(best);
    if (found == 0) first = best;
    last = best;
  }
  return first;
}

/// The row of the next step, by one thread.
__device__ void follow(const Top& a, int64_t row, int32_t id) {
  StepRow& step = a.step[row];
  step.id = id;
  ++step.position;
  ++step.chunk_position;
  a.turns[row] ^= 1;
  if (row == 0) *a.first_bad = none_bad;
}

__global__ void __launch_bounds__(block_threads) top_of_slice_kernel(Top a) {
  allow_next_kernel();
  wait_previous_kernels();
  const int64_t slice = ceil_div(a.vocab, top_blocks), first = blockIdx.x * slice, row = blockIdx.y;
  const float* logits = a.logits + row * a.stride;
  select(max(min(slice, a.vocab - first), int64_t{0}), a.count,
         a.partial + (row * top_blocks + blockIdx.x) * max_top, [&](int64_t i) {
           const auto id = static_cast<int32_t>(first + i);
           return is_left_out(a, id) ? Key{0} : key_of(logits[id], id);
         });
}

__global__ void __launch_bounds__(block_threads) top_kernel(Top a) {
  allow_next_kernel();
  wait_previous_kernels();
  const int64_t row = blockIdx.x;
  const Candidate* partial = a.partial + row * top_blocks * max_top;
  const TopResults results = a.results[a.turns[row]];
  if (row == 0 && threadIdx.x == 0) *results.first_bad = *a.first_bad;
  const Key best =
      select(top_blocks * a.count, a.count, results.best + row * max_top, [&](int64_t i) {
        const Candidate c = partial[i / a.count * max_top + i % a.count];
        return c.id < 0 ? Key{0} : key_of(c.logit, c.id);
      });
  if (a.step && threadIdx.x == 0) follow(a, row, candidate_of(best).id);
}

}  // namespace

void top(const Top& top, const Queue& queue) {
  launch(top_of_slice_kernel, {dim3(top_blocks, extent(top.rows)), block_threads}, queue, top);
  launch(top_kernel, {dim3(extent(top.rows)), block_threads}, queue, top);
}

}  // namespace octet::kernels::cuda
