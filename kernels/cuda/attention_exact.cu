// Causal attention with the CPU's bits (kernels/types.h: Attention), for whoever wants these more
// than speed: multiplications and additions of fp32 in the order of dimensions and positions, where
// the other kernels use tensor cores. A block of threads has query rows, tokens x heads of one kv
// head. Of many tokens it has a tile, and goes through their spans in turn; of a single token it
// has one span, whose results are then merged in rising order, which is the same.
#include "kernels/cuda/attention_exact_cache.cuh"
#include "kernels/cuda/launch.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr int warps = 8, threads = 32 * warps;

/// A block's query rows, of a tile.
class Task {
 public:
  __device__ Task(const ExactAttention& a, const AttentionTile& tile, int kv_head)
      : tile_(tile),
        group_(static_cast<int>(a.heads.num_heads / a.heads.num_kv_heads)),
        kv_head_(kv_head) {}

  /// Query rows up to `rows` that are there.
  __device__ int count(int rows) const {
    return min(rows, tile_.rows * group_ - tile_.first_query);
  }
  /// The last in place of one that is not.
  __device__ ExactRow row(int r) const {
    const int query = min(tile_.first_query + r, tile_.rows * group_ - 1);
    return {tile_.first_row + query / group_, kv_head_ * group_ + query % group_,
            tile_.first_position + query / group_ + 1};
  }
  __device__ int kv_head() const { return kv_head_; }

 private:
  AttentionTile tile_;
  int group_, kv_head_;
};

__device__ inline int spans_of(int length) {
  return (length + int{kv_span} - 1) / int{kv_span};
}

/// A part of a row's softmax, and what a merge multiplies two parts' results by: merge() of
/// kernels/simd/attention.h.
struct ExactSoftmax {
  float max, sum;
};
struct ExactFactors {
  float old, added;
};
__device__ inline float merge_factor(float of_side, float max) {
  return of_side == max ? 1.0f : exact_exp(of_side - max);
}
__device__ inline ExactFactors merge(ExactSoftmax& row, const ExactSoftmax& added) {
  const float max = added.max > row.max ? added.max : row.max;
  const ExactFactors factors{merge_factor(row.max, max), merge_factor(added.max, max)};
  row = {max, row.sum * factors.old + added.sum * factors.added};
  return factors;
}

/// A block's query rows, and which of their results a thread has: of some rows two neighbouring
/// dimensions of each `pairs` times 64.
template <class Cache, int rows>
class ExactTile {
  // A warp's rows; of few rows some warps have no results.
  static constexpr int warp_rows = rows < warps ? 1 : rows / warps, groups = rows / warp_rows,
                       pairs = rows < warps ? 1 : 2;
  static_assert(rows % 2 == 0);  // the lanes of both halves of a warp have as much to do

 public:
  using Shared = typename Cache::template Shared<rows>;

  __device__ ExactTile(const ExactAttention& a, const Task& task, Shared& shared)
      : a_(a), task_(task), shared_(shared), table_(a.step[task.row(0).row].blocks) {
    for (int r = warp_; r < rows; r += warps) Cache::load_query(a, task.row(r), shared, r);
    if (threadIdx.x < rows) {
      shared.max[threadIdx.x] = -INFINITY;
      shared.sum[threadIdx.x] = 0;
    }
#pragma unroll
    for (int p = 0; p < pairs; ++p) dims_[p] = 64 * (warp_ / groups * pairs + p) + 2 * lane_;
    __syncthreads();
  }

  /// Merges what a span gives. length: of the longest row.
  __device__ void attend(int span, int length) {
    const int first = span * int{kv_span}, positions = min(length - first, int{kv_span}),
              blocks = (positions + int{kv_block} - 1) / int{kv_block};
    for (int item = warp_; item < blocks * groups; item += warps)
      score(first, item / groups, item % groups * warp_rows);
    __syncthreads();
    for (int item = warp_; item < blocks * rows; item += warps)
      weigh(item % rows, item / rows, blocks);
    __syncthreads();
    constexpr int halves = 2 * warps;  // of warps
    const int half = static_cast<int>(threadIdx.x) / 16;
    for (int r = half; r < rows; r += halves) add_up(r, blocks);
    for (int item = half; item < blocks * rows; item += halves)
      Cache::finish_weights(block(first / int{kv_block} + item / rows), shared_, item % rows,
                            item / rows);
    __syncthreads();
    add_values(first, positions);
    __syncthreads();
  }

  /// Of all spans: over the sums of weights.
  __device__ void store_results() const {
    each([&](int r, int d, const float2& value) {
      const ExactRow row = task_.row(r);
      const float inverse = 1.0f / shared_.sum[r];
      *reinterpret_cast<float2*>(a_.out + row.row * a_.out_stride + row.head * a_.heads.head_dim +
                                 d) = make_float2(value.x * inverse, value.y * inverse);
    });
  }
  /// store(r, d, two neighbouring values) for each row and dimension that is there.
  template <class Store>
  __device__ void each(Store store) const {
    const int count = task_.count(rows), head_dim = static_cast<int>(a_.heads.head_dim);
#pragma unroll
    for (int i = 0; i < warp_rows; ++i)
#pragma unroll
      for (int p = 0; p < pairs; ++p)
        if (row_ + i < count && dims_[p] < head_dim)
          store(row_ + i, dims_[p], make_float2(out_[i][p][0], out_[i][p][1]));
  }

 private:
  __device__ typename Cache::Block block(int number) const {
    return {a_.heads, table_, number, task_.kv_head()};
  }

  /// Of some rows over block `number` of the span; -infinity behind what a row sees.
  __device__ void score(int first, int number, int r) const {
    float scores[warp_rows][2] = {};
    Cache::template score<warp_rows>(a_, block(first / int{kv_block} + number), shared_, r, scores);
    const int position = number * int{kv_block} + 2 * lane_;
#pragma unroll
    for (int i = 0; i < warp_rows; ++i) {
      const int count = task_.row(r + i).length - first - position;
      const float2 seen =
          make_float2(count > 0 ? scores[i][0] : -INFINITY, count > 1 ? scores[i][1] : -INFINITY);
      *reinterpret_cast<float2*>(&shared_.scores[r + i][position]) = seen;
      const float largest = combine_warp(fmaxf(seen.x, seen.y), Larger());
      if (lane_ == 0) shared_.block_max[r + i][number] = largest;
    }
  }

  /// The largest score of a row over the span.
  __device__ float largest(int r, int blocks) const {
    float max = shared_.block_max[r][0];
    for (int b = 1; b < blocks; ++b) max = fmaxf(max, shared_.block_max[r][b]);
    return max;
  }

  /// Scores become weights.
  __device__ void weigh(int r, int number, int blocks) const {
    const float max = largest(r, blocks);
    auto& at = *reinterpret_cast<float2*>(&shared_.scores[r][number * int{kv_block} + 2 * lane_]);
    const auto weight = [&](float x) { return x == -INFINITY ? 0.0f : exact_exp(x - max); };
    at = make_float2(weight(at.x), weight(at.y));
  }

  /// Weights of a row, by sixteen lanes, each every sixteenth in their order; then its softmax.
  __device__ void add_up(int r, int blocks) const {
    constexpr int lanes = 16;
    const int lane = threadIdx.x % lanes;
    ExactSoftmax added{largest(r, blocks), 0};
#pragma unroll 8
    for (int j = lane; j < blocks * int{kv_block}; j += lanes) added.sum += shared_.scores[r][j];
#pragma unroll
    for (int distance = lanes / 2; distance > 0; distance /= 2)
      added.sum += __shfl_xor_sync(0xffffffffu, added.sum, distance);
    if (lane > 0) return;
    ExactSoftmax row{shared_.max[r], shared_.sum[r]};
    const ExactFactors factors = merge(row, added);
    shared_.max[r] = row.max;
    shared_.sum[r] = row.sum;
    shared_.old_factor[r] = factors.old;
    shared_.added_factor[r] = factors.added;
  }

  __device__ void add_values(int first, int positions) {
    if (row_ >= task_.count(rows) || dims_[0] >= a_.heads.head_dim) return;
    float added[warp_rows][pairs][2] = {};
    Cache::template add_values<warp_rows, pairs>(
        a_, [&](int number) { return block(first / int{kv_block} + number); }, positions, shared_,
        row_, dims_, added);
#pragma unroll
    for (int i = 0; i < warp_rows; ++i) {
      const float old = shared_.old_factor[row_ + i], factor = shared_.added_factor[row_ + i];
#pragma unroll
      for (int p = 0; p < pairs; ++p)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          out_[i][p][half] = fmaf(added[i][p][half], factor, out_[i][p][half] * old);
    }
  }

  const ExactAttention& a_;
  const Task& task_;
  Shared& shared_;
  std::byte* const* table_;
  int warp_ = static_cast<int>(threadIdx.x) / 32, lane_ = static_cast<int>(threadIdx.x) % 32;
  int row_ = warp_ % groups * warp_rows, dims_[pairs];
  float out_[warp_rows][pairs][2] = {};
};

/// Where a part of a query row lies: results, maximum, sum.
__device__ inline float* partial_of(const ExactAttention& a, int64_t item, int64_t kv_head,
                                    int span, int head) {
  const int64_t part = (item * a.heads.num_kv_heads + kv_head) * a.spans + span;
  return a.partial + (part * max_head_group + head) * exact_partial(a.heads.head_dim);
}

template <class Cache, int rows>
__global__ void __launch_bounds__(threads, 2) attention_exact_tiles_kernel(ExactAttention a) {
  allow_next_kernel();
  wait_previous_kernels();
  const Task task(a, a.tile[a.count - 1 - blockIdx.y], static_cast<int>(blockIdx.x));
  auto& shared = *dynamic_shared<typename Cache::template Shared<rows>>();
  ExactTile<Cache, rows> tile(a, task, shared);
  const int length = task.row(rows - 1).length;
  for (int span = 0; span < spans_of(length); ++span) tile.attend(span, length);
  tile.store_results();
}

/// Query rows of a block of single rows: few, so that many blocks share a row's heads.
constexpr int pair_rows = 2;
__device__ inline int pairs_of(const Heads& heads) {
  return static_cast<int>((heads.num_heads / heads.num_kv_heads + pair_rows - 1) / pair_rows);
}

/// A row of the list, from query `first` on, as a tile.
__device__ inline AttentionTile single_row(const ExactAttention& a, int64_t item, int first) {
  const int row = a.row_list[item];
  return {row, 1, first, a.step[row].position};
}

/// A span's keys and values come nearer while the kernels before run.
template <class Cache>
__device__ inline void prefetch_span(const ExactAttention& a, int64_t item, int kv_head, int span,
                                     int length) {
  constexpr int line = 128;
  std::byte* const* const table = a.step[a.row_list[item]].blocks;
  const int first = span * span_blocks,
            blocks = min((length + int{kv_block} - 1) / int{kv_block} - first, span_blocks),
            lines = static_cast<int>(kv_block * a.heads.head_dim) * Cache::value_bytes / line;
  for (int i = static_cast<int>(threadIdx.x); i < blocks * lines; i += threads) {
    const typename Cache::Block block(a.heads, table, first + i / lines, kv_head);
    prefetch(reinterpret_cast<const char*>(block.keys) + i % lines * line);
    prefetch(reinterpret_cast<const char*>(block.values) + i % lines * line);
  }
}

template <class Cache>
__global__ void __launch_bounds__(threads, 2) attention_exact_rows_kernel(ExactAttention a) {
  allow_next_kernel();
  const int pairs = pairs_of(a.heads), span = static_cast<int>(blockIdx.x) / pairs,
            first = static_cast<int>(blockIdx.x) % pairs * pair_rows,
            kv_head = static_cast<int>(blockIdx.y);
  const int64_t item = blockIdx.z;
  // The step was sent before its first kernel, so this needs no waiting.
  const Task task(a, single_row(a, item, first), kv_head);
  const int length = task.row(0).length;
  if (span >= spans_of(length)) return;
  prefetch_span<Cache>(a, item, kv_head, span, length);
  wait_previous_kernels();
  auto& shared = *dynamic_shared<typename Cache::template Shared<pair_rows>>();
  ExactTile<Cache, pair_rows> tile(a, task, shared);
  tile.attend(span, length);
  if (a.spans == 1) return tile.store_results();
  tile.each([&](int r, int d, const float2& value) {
    float* const part = partial_of(a, item, kv_head, span, first + r);
    *reinterpret_cast<float2*>(part + d) = value;
    if (d > 0) return;
    part[a.heads.head_dim] = shared.max[r];
    part[a.heads.head_dim + 1] = shared.sum[r];
  });
}

/// Merges the parts of a warp's lanes, in their order, behind `row`. Factors go to shared memory.
/// Of all parts together: the running maximum and the factors follow from maxima alone.
__device__ inline void merge_lanes(ExactSoftmax& row, const ExactSoftmax& own, float* old,
                                   float* added) {
  const int lane = threadIdx.x % 32;
  const auto of_lane = [](float value, int other) {
    return __shfl_sync(0xffffffffu, value, other);
  };
  float max = fmaxf(row.max, own.max);
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const float before = of_lane(max, lane - distance);
    if (lane >= distance) max = fmaxf(max, before);
  }
  const float before = of_lane(max, lane - 1);
  old[lane] = merge_factor(lane > 0 ? before : row.max, max);
  added[lane] = merge_factor(own.max, max);
  __syncwarp();
#pragma unroll 1  // more of them took registers from memory
  for (int i = 0; i < 32; ++i) row.sum = row.sum * old[i] + of_lane(own.sum, i) * added[i];
  row.max = of_lane(max, 31);
}

/// Parts in rising order: merge_partials() of kernels/simd/attention.h. A block has a query head, a
/// thread a dimension.
__global__ void __launch_bounds__(max_head_dim) attention_exact_merge_kernel(ExactAttention a) {
  constexpr int width = 32;
  __shared__ float old[width], added[width], sum;
  allow_next_kernel();
  wait_previous_kernels();
  const int group = static_cast<int>(a.heads.num_heads / a.heads.num_kv_heads),
            head = static_cast<int>(blockIdx.x) % group,
            kv_head = static_cast<int>(blockIdx.x) / group, d = static_cast<int>(threadIdx.x),
            head_dim = static_cast<int>(a.heads.head_dim);
  const int64_t item = blockIdx.y;
  const Task task(a, single_row(a, item, 0), kv_head);
  const int spans = spans_of(task.row(0).length);
  const auto part = [&](int span) { return partial_of(a, item, kv_head, span, head); };
  ExactSoftmax row{-INFINITY, 0};
  float out = 0;
  for (int first = 0; first < spans; first += width) {
    if (d < width) {
      ExactSoftmax own{-INFINITY, 0};  // of no span: changes nothing
      if (first + d < spans) own = {part(first + d)[head_dim], part(first + d)[head_dim + 1]};
      merge_lanes(row, own, old, added);
      if (d == 0) sum = row.sum;
    }
    __syncthreads();
    const int count = d < head_dim ? min(spans - first, width) : 0;
#pragma unroll 8
    for (int i = 0; i < count; ++i) out = fmaf(part(first + i)[d], added[i], out * old[i]);
    __syncthreads();
  }
  if (d < head_dim)
    a.out[task.row(head).row * a.out_stride + task.row(head).head * head_dim + d] =
        out * (1.0f / sum);
}

template <class Cache, int rows>
void launch_tiles(const ExactAttention& a, const Queue& queue) {
  launch(attention_exact_tiles_kernel<Cache, rows>,
         {dim3(extent(a.heads.num_kv_heads), extent(a.count)), threads,
          sizeof(typename Cache::template Shared<rows>)},
         queue, a);
}

template <class Cache>
void attend(const ExactAttention& a, const Queue& queue) {
  if (a.tile) {
    if (exact_query_rows(queue.shared_bytes) == 32) return launch_tiles<Cache, 32>(a, queue);
    return launch_tiles<Cache, 16>(a, queue);
  }
  const int64_t group = a.heads.num_heads / a.heads.num_kv_heads;
  launch(attention_exact_rows_kernel<Cache>,
         {dim3(extent(a.spans * ceil_div(group, pair_rows)), extent(a.heads.num_kv_heads),
               extent(a.count)),
          threads, sizeof(typename Cache::template Shared<pair_rows>)},
         queue, a);
  if (a.spans == 1) return;
  launch(attention_exact_merge_kernel,
         {dim3(extent(a.heads.num_heads), extent(a.count)), static_cast<int>(max_head_dim)}, queue,
         a);
}

}  // namespace

void attention_exact(const ExactAttention& attention, const Queue& queue) {
  const bool usual = attention.heads.head_dim == max_head_dim;
  if (attention.queries)
    return usual ? attend<ExactS8<max_head_dim>>(attention, queue)
                 : attend<ExactS8<0>>(attention, queue);
  return usual ? attend<ExactF16<max_head_dim>>(attention, queue)
               : attend<ExactF16<0>>(attention, queue);
}

}  // namespace octet::kernels::cuda
