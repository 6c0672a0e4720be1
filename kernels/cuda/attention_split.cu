// Attention of single rows (decoding): bound by reading keys and values, and in short sequences by
// the time that one read takes. A block of threads has one split of the positions of a row and kv
// head (Dao et al. 2023, "Flash-Decoding"), and asks for a whole cache block at once: each thread
// for eight pieces of 16 bytes of the keys and eight of the values. Whichever block of a row and kv
// head comes last merges the splits. What a row reads, and the order of every sum, follow from its
// length alone.
#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/quantize_row.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr int warps = split_threads / 32;
/// Of 16 bytes, that a thread has of a cache block's keys or values.
constexpr int pieces = int{kv_block * max_head_dim} / 8 / split_threads;
/// Dimensions of a cache block's keys that the threads read at a time: 8 threads have one.
constexpr int key_rows = split_threads / 8;

/// Eight halves as floats.
struct Eight {
  float value[8];
  __device__ explicit Eight(const uint4& halves) {
    const uint32_t word[4] = {halves.x, halves.y, halves.z, halves.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 two = unpack_halves(word[i]);
      value[2 * i] = two.x;
      value[2 * i + 1] = two.y;
    }
  }
};

__device__ inline void store_eight(float* to, const float (&v)[8]) {
  reinterpret_cast<float4*>(to)[0] = make_float4(v[0], v[1], v[2], v[3]);
  reinterpret_cast<float4*>(to)[1] = make_float4(v[4], v[5], v[6], v[7]);
}

/// Keys and values of a cache block on their way to this thread: of the keys, positions 8 (t % 8)
/// to 8 (t % 8) + 7 of each 16th dimension; of the values, eight dimensions of each n-th position.
struct Loaded {
  uint4 keys[pieces], values[pieces];
};

/// Which of a cache block's values a thread has. A position takes head_dim / 8 threads.
struct ValuePlace {
  int threads_a_row, rows, slot, piece;
  __device__ explicit ValuePlace(int head_dim)
      : threads_a_row(head_dim / 8),
        rows(split_threads / threads_a_row),
        slot(static_cast<int>(threadIdx.x) / threads_a_row),
        piece(static_cast<int>(threadIdx.x) % threads_a_row) {}
  __device__ int position(int i) const { return slot + rows * i; }
  /// Threads that are left over have none.
  __device__ bool there(int i, int count) const { return slot < rows && position(i) < count; }
};

__device__ inline void load_keys(const CacheBlock& cached, int head_dim, Loaded& loaded) {
#pragma unroll
  for (int i = 0; i < pieces; ++i) {
    const int d = static_cast<int>(threadIdx.x) / 8 + key_rows * i, first = threadIdx.x % 8 * 8;
    loaded.keys[i] =
        d < head_dim
            ? load_streaming(reinterpret_cast<const uint4*>(cached.keys + d * kv_block + first))
            : make_uint4(0, 0, 0, 0);
  }
}

__device__ inline void load_values(const CacheBlock& cached, int head_dim, int count,
                                   Loaded& loaded) {
  const ValuePlace place(head_dim);
#pragma unroll
  for (int i = 0; i < pieces; ++i)
    loaded.values[i] = place.there(i, count)
                           ? load_streaming(reinterpret_cast<const uint4*>(
                                 cached.values + place.position(i) * head_dim + 8 * place.piece))
                           : make_uint4(0, 0, 0, 0);
}

/// Shared memory of a block of threads (split_shared_bytes()).
template <int group>
struct Shared {
  float*
      parts;  // sums of threads, to be added: [key_rows][group][64], later [slot][group][head_dim]
  float* q;   // [head_dim][group]
  float* weights;             // [64][group]
  float *max, *sum, *factor;  // [group]

  __device__ Shared(float* memory, int head_dim)
      : parts(memory),
        q(parts + 8 * split_threads * group),
        weights(q + head_dim * group),
        max(weights + kv_block * group),
        sum(max + group),
        factor(sum + group) {}
};

/// This thread's share of the scores: the sums over its dimensions.
template <int group>
__device__ inline void score(const Loaded& loaded, int head_dim, const Shared<group>& shared) {
  const int slot = static_cast<int>(threadIdx.x) / 8, first = threadIdx.x % 8 * 8;
  float scores[group][8] = {};
#pragma unroll
  for (int i = 0; i < pieces; ++i) {
    const int d = slot + key_rows * i;
    if (d >= head_dim) break;
    const Eight k(loaded.keys[i]);
#pragma unroll
    for (int h = 0; h < group; ++h) {
      const float q = shared.q[d * group + h];
#pragma unroll
      for (int j = 0; j < 8; ++j) scores[h][j] = fmaf(q, k.value[j], scores[h][j]);
    }
  }
#pragma unroll
  for (int h = 0; h < group; ++h)
    store_eight(shared.parts + (slot * group + h) * kv_block + first, scores[h]);
}

/// Softmax weights of the block's positions relative to the largest score so far; a warp a head.
template <int group>
__device__ inline void weigh_positions(const Shared<group>& shared, float scale, int count,
                                       bool first) {
  const int warp = threadIdx.x / 32, at = threadIdx.x % 32 * 2;
  for (int h = warp; h < group; h += warps) {
    float2 s = make_float2(0, 0);
#pragma unroll
    for (int slot = 0; slot < key_rows; ++slot) {
      const auto* part = shared.parts + (slot * group + h) * kv_block + at;
      s.x += part[0];
      s.y += part[1];
    }
    s.x = at < count ? s.x * scale : -INFINITY;
    s.y = at + 1 < count ? s.y * scale : -INFINITY;
    const float before = first ? -INFINITY : shared.max[h];
    const float max = fmaxf(before, combine_warp(fmaxf(s.x, s.y), Larger()));
    s = make_float2(expf(s.x - max), expf(s.y - max));
    const float sum = combine_warp(s.x + s.y, Sum());
    shared.weights[at * group + h] = s.x;
    shared.weights[(at + 1) * group + h] = s.y;
    if (at > 0) continue;
    const float factor = expf(before - max);
    shared.sum[h] = first ? sum : fmaf(shared.sum[h], factor, sum);
    shared.max[h] = max;
    shared.factor[h] = factor;
  }
}

/// out = factor * out + weights x values, over this thread's positions.
template <int group>
__device__ inline void add_values(const Loaded& loaded, int head_dim, int count,
                                  const Shared<group>& shared, float (&out)[group][8]) {
  const ValuePlace place(head_dim);
#pragma unroll
  for (int h = 0; h < group; ++h)
#pragma unroll
    for (int j = 0; j < 8; ++j) out[h][j] *= shared.factor[h];
#pragma unroll
  for (int i = 0; i < pieces; ++i) {
    if (!place.there(i, count)) break;
    const Eight v(loaded.values[i]);
#pragma unroll
    for (int h = 0; h < group; ++h) {
      const float weight = shared.weights[place.position(i) * group + h];
#pragma unroll
      for (int j = 0; j < 8; ++j) out[h][j] = fmaf(weight, v.value[j], out[h][j]);
    }
  }
}

/// total + factor * four of v
__device__ inline float4 add_four(const float4& total, float factor, const float* v) {
  const float4 four = *reinterpret_cast<const float4*>(v);
  return make_float4(fmaf(factor, four.x, total.x), fmaf(factor, four.y, total.y),
                     fmaf(factor, four.z, total.z), fmaf(factor, four.w, total.w));
}
__device__ inline void store_quotient(float* out, const float4& v, float divisor) {
  *reinterpret_cast<float4*>(out) =
      make_float4(v.x / divisor, v.y / divisor, v.z / divisor, v.w / divisor);
}

/// The threads' results as one: to `out` [group][head_dim], divided by the sum of weights, where
/// the row has no other split, else to `partial` [group][split_row(head_dim)] with max and sum.
template <int group>
__device__ inline void put_together(const Shared<group>& shared, int head_dim, bool only,
                                    float* partial, float* out) {
  const int quads = head_dim / 4, slots = ValuePlace(head_dim).rows;
  for (int index = threadIdx.x; index < group * quads; index += split_threads) {
    const int h = index / quads, d = index % quads * 4;
    float4 total = make_float4(0, 0, 0, 0);
#pragma unroll 8
    for (int slot = 0; slot < slots; ++slot)
      total = add_four(total, 1.0f, shared.parts + (slot * group + h) * head_dim + d);
    if (only)
      store_quotient(out + h * head_dim + d, total, shared.sum[h]);
    else
      *reinterpret_cast<float4*>(partial + h * split_row(head_dim) + d) = total;
  }
  if (!only && threadIdx.x < group) {
    float* of_head = partial + threadIdx.x * split_row(head_dim) + head_dim;
    of_head[0] = shared.max[threadIdx.x];
    of_head[1] = shared.sum[threadIdx.x];
  }
}

/// The splits of a row and kv head, merged and divided by their sum, to the output.
template <int group>
__device__ inline void merge_splits(const float* partial, int head_dim, int parts,
                                    const Shared<group>& shared, float* out) {
  const int row = static_cast<int>(split_row(head_dim)), stride = group * row;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float* factors = shared.parts;  // [parts][group]
  for (int h = warp; h < group; h += warps) {
    const float* head = partial + h * row + head_dim;
    float max = -INFINITY;
    for (int i = lane; i < parts; i += 32) max = fmaxf(max, head[i * stride]);
    max = combine_warp(max, Larger());
    float sum = 0;
    for (int i = lane; i < parts; i += 32) {
      const float factor = expf(head[i * stride] - max);
      factors[i * group + h] = factor;
      sum = fmaf(factor, head[i * stride + 1], sum);
    }
    sum = combine_warp(sum, Sum());
    if (lane == 0) shared.sum[h] = sum;
  }
  __syncthreads();
  const int quads = head_dim / 4;
  for (int index = threadIdx.x; index < group * quads; index += split_threads) {
    const int h = index / quads, d = index % quads * 4;
    float4 total = make_float4(0, 0, 0, 0);
#pragma unroll 16
    for (int i = 0; i < parts; ++i)
      total = add_four(total, factors[i * group + h], partial + i * stride + h * row + d);
    store_quotient(out + h * head_dim + d, total, shared.sum[h]);
  }
}

/// Whether this block of threads is the last of `parts` to come here, with all their writes seen.
__device__ inline bool last_to_arrive(int32_t* arrived, int parts) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(arrived, 1) == parts - 1;
    if (last) *arrived = 0;
  }
  __syncthreads();
  if (last) __threadfence();
  return last;
}

template <int group>
__global__ void __launch_bounds__(split_threads) attention_split_kernel(SplitAttention a) {
  allow_next_kernel();
  const int split = blockIdx.x, head_dim = static_cast<int>(a.heads.head_dim);
  const int64_t kv_head = blockIdx.y, item = blockIdx.z;
  // The step was sent before its first kernel, so this needs no waiting.
  const int64_t row = a.row_list ? a.row_list[item] : item;
  const StepRow step = a.step[row];
  const int length = step.position + 1, parts = static_cast<int>(num_splits(length));
  if (split >= parts) return;
  const int split_size = static_cast<int>(split_blocks(length)), first = split * split_size;
  const int last = min(first + split_size, static_cast<int>(ceil_div(length, kv_block))) - 1;

  Loaded loaded;
  const auto count = [&](int block) { return min(length - block * int{kv_block}, int{kv_block}); };
  const auto cached = [&](int block) { return CacheBlock(a.heads, step.blocks, block, kv_head); };
  const auto load_first = [&] {
    load_keys(cached(first), head_dim, loaded);
    load_values(cached(first), head_dim, count(first), loaded);
  };
  // So are positions that were cached before this step.
  const bool early = (first + 1) * int{kv_block} <= step.chunk_position;
  if (early) load_first();
  wait_previous_kernels();
  if (!early) load_first();

  const Shared<group> shared(dynamic_shared<float>(), head_dim);
  const float* q = a.q + row * a.q_stride + kv_head * group * head_dim;
  for (int i = threadIdx.x; i < group * head_dim; i += split_threads)
    shared.q[i % head_dim * group + i / head_dim] = q[i];
  __syncthreads();

  float results[group][8] = {};
  for (int block = first; block <= last; ++block) {
    score<group>(loaded, head_dim, shared);
    if (block < last) load_keys(cached(block + 1), head_dim, loaded);
    __syncthreads();
    weigh_positions<group>(shared, a.scale, count(block), block == first);
    __syncthreads();
    add_values<group>(loaded, head_dim, count(block), shared, results);
    if (block < last) load_values(cached(block + 1), head_dim, count(block + 1), loaded);
  }
  const ValuePlace place(head_dim);
  if (place.slot < place.rows)
#pragma unroll
    for (int h = 0; h < group; ++h)
      store_eight(shared.parts + (place.slot * group + h) * head_dim + 8 * place.piece, results[h]);
  __syncthreads();

  const int64_t slot = item * a.heads.num_kv_heads + kv_head;
  const int64_t split_floats = group * split_row(head_dim);
  float* partial = a.partial + slot * a.splits * split_floats;
  float* out = a.out + row * a.out_stride + kv_head * group * head_dim;
  put_together<group>(shared, head_dim, parts == 1, partial + split * split_floats, out);
  if (parts == 1 || !last_to_arrive(a.arrived + slot, parts)) return;
  merge_splits<group>(partial, head_dim, parts, shared, out);
}

auto kernel_for(int64_t group) {
  switch (group) {
    case 1:
      return attention_split_kernel<1>;
    case 2:
      return attention_split_kernel<2>;
    case 3:
      return attention_split_kernel<3>;
    case 4:
      return attention_split_kernel<4>;
    case 5:
      return attention_split_kernel<5>;
    case 6:
      return attention_split_kernel<6>;
    case 7:
      return attention_split_kernel<7>;
    default:
      return attention_split_kernel<8>;
  }
}

}  // namespace

void attention_split(const SplitAttention& attention, const Queue& queue) {
  const Heads& heads = attention.heads;
  const int64_t group = heads.num_heads / heads.num_kv_heads;
  launch(kernel_for(group),
         {dim3(extent(attention.splits), extent(heads.num_kv_heads), extent(attention.rows)),
          split_threads, split_shared_bytes(group, heads.head_dim)},
         queue, attention);
}

}  // namespace octet::kernels::cuda
