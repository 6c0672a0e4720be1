// Attention of single rows (decoding): bound by reading keys and values. Positions are shared out
// to blocks of threads in splits of 256, a warp a cache block of 64 (Dao et al. 2023,
// "Flash-Decoding"); whichever block of a row and kv head comes last merges the splits. What a row
// reads, and the order of every sum, follow from its length alone.
#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/quantize_row.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr int warps = split_threads / 32;

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

/// Shared memory of a block of threads (split_shared_bytes()).
template <int group>
struct Shared {
  float* q;        // [head_dim][group]
  float* weights;  // [warp][64][group]
  float* results;  // [warp][group][head_dim + 2]: out, max, sum

  __device__ Shared(float* memory, int head_dim)
      : q(memory), weights(q + group * head_dim), results(weights + warps * group * kv_block) {}
};

/// Softmax weights of a warp's 64 positions into weights [64][group]; max and sum of each head.
/// Lane l has positions 8 (l % 8) to 8 (l % 8) + 7 and, of the dimensions, l / 8 and each fourth.
template <int group>
__device__ inline void score(const uint16_t* keys, const float* q, int head_dim, float scale,
                             int count, float* weights, float (&max)[group], float (&sum)[group]) {
  const int lane = threadIdx.x % 32, first = lane % 8 * 8;
  float scores[group][8] = {};
#pragma unroll 8
  for (int d = lane / 8; d < head_dim; d += 4) {
    const Eight k(load_streaming(reinterpret_cast<const uint4*>(keys + d * kv_block + first)));
#pragma unroll
    for (int h = 0; h < group; ++h) {
      const float q_value = q[d * group + h];
#pragma unroll
      for (int i = 0; i < 8; ++i) scores[h][i] = fmaf(q_value, k.value[i], scores[h][i]);
    }
  }
#pragma unroll
  for (int h = 0; h < group; ++h) {
    max[h] = -INFINITY;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      float& s = scores[h][i];
      s += __shfl_xor_sync(0xffffffffu, s, 8);
      s += __shfl_xor_sync(0xffffffffu, s, 16);
      s = first + i < count ? s * scale : -INFINITY;
      max[h] = fmaxf(max[h], s);
    }
#pragma unroll
    for (int offset = 1; offset < 8; offset *= 2)
      max[h] = fmaxf(max[h], __shfl_xor_sync(0xffffffffu, max[h], offset));
    sum[h] = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      scores[h][i] = expf(scores[h][i] - max[h]);
      sum[h] += scores[h][i];
    }
#pragma unroll
    for (int offset = 1; offset < 8; offset *= 2)
      sum[h] += __shfl_xor_sync(0xffffffffu, sum[h], offset);
    if (lane < 8)
#pragma unroll
      for (int i = 0; i < 8; ++i) weights[(first + i) * group + h] = scores[h][i];
  }
  __syncwarp();
}

/// results [group][head_dim + 2] = weights x values. A row of values takes head_dim / 8 lanes, so
/// the warp adds several at a time, and those sums are put together at the end.
template <int group>
__device__ inline void weigh_values(const uint16_t* values, const float* weights, int head_dim,
                                    int count, float* results) {
  const int lane = threadIdx.x % 32, row_lanes = head_dim / 8, rows = 32 / row_lanes;
  const int piece = lane % row_lanes, slot = lane / row_lanes;
  float out[group][8] = {};
#pragma unroll 8
  for (int j = slot; j < kv_block; j += rows) {
    if (slot >= rows || j >= count) break;
    const Eight v(
        load_streaming(reinterpret_cast<const uint4*>(values + j * head_dim + 8 * piece)));
#pragma unroll
    for (int h = 0; h < group; ++h) {
      const float weight = weights[j * group + h];
#pragma unroll
      for (int i = 0; i < 8; ++i) out[h][i] = fmaf(weight, v.value[i], out[h][i]);
    }
  }
  __syncwarp();
#pragma unroll
  for (int h = 0; h < group; ++h)
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      float total = out[h][i];
      for (int r = 1; r < rows; ++r)
        total += __shfl_sync(0xffffffffu, out[h][i], r * row_lanes + piece);
      if (slot == 0) results[h * (head_dim + 2) + 8 * piece + i] = total;
    }
}

/// value(d) = the parts' values, weighed by exp(max - largest max), and their sum.
__device__ inline float merged(const float* parts, int64_t part_stride, const float* factors,
                               int64_t factor_stride, int count, int d) {
  float total = 0;
#pragma unroll 4
  for (int i = 0; i < count; ++i)
    total = fmaf(factors[i * factor_stride], parts[i * part_stride + d], total);
  return total;
}

/// The results of the warps that had positions, as one, to `out` [group][head_dim + 2].
template <int group>
__device__ inline void merge_warps(const float* results, int head_dim, int parts, float* out) {
  const int row = head_dim + 2;
  for (int index = threadIdx.x; index < group * row; index += split_threads) {
    const int h = index / row, d = index % row;
    const float* head = results + h * row;
    float max = -INFINITY;
    for (int w = 0; w < parts; ++w) max = fmaxf(max, head[w * group * row + head_dim]);
    float factors[warps];
    for (int w = 0; w < warps; ++w)
      factors[w] = w < parts ? expf(head[w * group * row + head_dim] - max) : 0.0f;
    out[index] = d == head_dim ? max : merged(head, group * row, factors, 1, parts, d);
  }
}

/// The splits of a row and kv head, merged and divided by their sum, to the output.
template <int group>
__device__ inline void merge_splits(const float* partial, int head_dim, int parts, float* factors,
                                    float* out) {
  const int row = head_dim + 2, stride = group * row;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float* totals = factors + parts * group;
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
    totals[h] = combine_warp(sum, Sum());
  }
  __syncthreads();
  for (int index = threadIdx.x; index < group * head_dim; index += split_threads) {
    const int h = index / head_dim, d = index % head_dim;
    out[index] = merged(partial + h * row, stride, factors + h, group, parts, d) / totals[h];
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
  wait_previous_kernels();
  const int split = blockIdx.x, warp = threadIdx.x / 32;
  const int64_t kv_head = blockIdx.y, item = blockIdx.z;
  const int64_t row = a.row_list ? a.row_list[item] : item;
  const StepRow step = a.step[row];
  const int length = step.position + 1, head_dim = static_cast<int>(a.heads.head_dim);
  const int parts = static_cast<int>(num_splits(length));
  if (split >= parts) return;

  const Shared<group> shared(dynamic_shared<float>(), head_dim);
  const float* q = a.q + row * a.q_stride + kv_head * group * head_dim;
  for (int i = threadIdx.x; i < group * head_dim; i += split_threads)
    shared.q[i % head_dim * group + i / head_dim] = q[i];
  __syncthreads();

  const int partial_row = head_dim + 2;
  const int block = split * warps + warp,
            count = min(length - block * int{kv_block}, int{kv_block});
  if (count > 0) {
    const CacheBlock cached(a.heads, step.cache, block, kv_head);
    float* weights = shared.weights + warp * group * kv_block;
    float* results = shared.results + warp * group * partial_row;
    float max[group], sum[group];
    score<group>(cached.keys, shared.q, head_dim, a.scale, count, weights, max, sum);
    weigh_values<group>(cached.values, weights, head_dim, count, results);
    if (threadIdx.x % 32 == 0)
#pragma unroll
      for (int h = 0; h < group; ++h) {
        results[h * partial_row + head_dim] = max[h];
        results[h * partial_row + head_dim + 1] = sum[h];
      }
  }
  __syncthreads();
  const int blocks = static_cast<int>(ceil_div(length, kv_block));
  const int64_t slot = item * a.heads.num_kv_heads + kv_head;
  float* partial = a.partial + slot * a.splits * group * partial_row;
  merge_warps<group>(shared.results, head_dim, min(blocks - split * warps, warps),
                     partial + split * group * partial_row);
  if (!last_to_arrive(a.arrived + slot, parts)) return;
  merge_splits<group>(partial, head_dim, parts, shared.results,
                      a.out + row * a.out_stride + kv_head * group * head_dim);
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
          split_threads, split_shared_bytes(group, heads.head_dim, attention.splits)},
         queue, attention);
}

}  // namespace octet::kernels::cuda
