// Attention of single rows (decoding): bound by reading keys and values, and in short sequences by
// the time that one read takes. A block of threads has one split of the positions of a row and kv
// head (Dao et al. 2023, "Flash-Decoding"); its groups of four warps take cache blocks in turns and
// are merged in shared memory. Whichever block of eight splits comes last merges them.
// What a row reads, and the order of every sum, follow from its length alone.
//
// The products run on the tensor cores at the precision of fp32: queries and softmax weights are
// two fp16 terms, the second what the first leaves over. Up to eight heads share the keys, so the
// sixteen rows of mma.m16n8k16 are the heads' first terms and then their second.
//
// A row's own key and value are taken from the multiplication before, rounded as the cache would:
// a row whose sequence has no other in this step needs no kernel that fills the cache, and all that
// it reads from there can be asked for before the kernels before have ended.
#include "kernels/cuda/attention_split_s8.cuh"
#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/rotate.cuh"

namespace octet::kernels::cuda {
namespace {

/// Of 16 bytes, that a thread has of a cache block's keys; of 8 bytes, of its values.
constexpr int key_pieces = 8, value_pieces = 16;
/// Shared memory of a block of threads (split_shared_bytes()).
template <int groups>
struct Shared {
  static constexpr int threads = groups * split_group_threads;
  uint4* keys;    // [key_pieces][threads]: each thread's own
  uint2* values;  // [value_pieces][threads]
  /// First the queries [8][head_dim], then scores [group][warp][4][32 lanes][4], then what the
  /// groups have, [groups][heads][split_row(head_dim)], and behind it the merge's.
  float* scratch;
  uint16_t *own_key, *own_value;  // [head_dim]

  __device__ explicit Shared(int head_dim)
      : keys(dynamic_shared<uint4>()),
        values(reinterpret_cast<uint2*>(keys + key_pieces * threads)),
        scratch(reinterpret_cast<float*>(values + value_pieces * threads)),
        own_key(reinterpret_cast<uint16_t*>(scratch + groups * group_scores)),
        own_value(own_key + head_dim) {}
};

/// Half `i` of two words each, side by side.
__device__ inline uint32_t pair_halves(uint32_t low, uint32_t high, int i) {
  return i == 0 ? (low & 0xffffu) | high << 16 : low >> 16 | (high & 0xffff0000u);
}

template <int groups>
class OwnHeads;

template <int groups>
class Group : public SplitGroup {
  static constexpr int threads = Shared<groups>::threads;

 public:
  using SharedMemory = Shared<groups>;
  using Own = OwnHeads<groups>;
  static constexpr int registers_sm_90 = 96;
  __device__ Group(const SplitAttention& a, const StepRow& step, int64_t kv_head,
                   const Shared<groups>& shared)
      : SplitGroup(a, step, kv_head), shared_(shared) {}

  // Loops are not unrolled where there is time: a block of threads runs this code once, from
  // memory. sm_75's copies are in registers.
  __device__ void ask_for_keys(int block) {
    const CacheBlock cached(a_.heads, step_.blocks, block, kv_head_);
#pragma unroll(code_architecture < 80 ? 2 : 1)
    for (int s = 0; s < 2; ++s) {
      // Of dimensions that are not there, others: their queries are 0.
      const int d = place_.key_dim(4 * s) < head_dim_ ? place_.key_dim(4 * s) : 0;
      const uint16_t* from = cached.keys + d * int{kv_block} + 8 * place_.g;
#pragma unroll
      for (int i = 0; i < 4; ++i) keys_.start(4 * s + i, key(4 * s + i), from + i * kv_block);
    }
  }
  __device__ void ask_for_values(int block) {
    const CacheBlock cached(a_.heads, step_.blocks, block, kv_head_);
    const uint16_t* from = cached.values + place_.value_position(0) * head_dim_ +
                           min(place_.value_dim(), head_dim_ - 4);
#pragma unroll(code_architecture < 80 ? 4 : 1)
    for (int t = 0; t < 4; ++t, from += 2 * head_dim_) {
#pragma unroll
      for (int r = 0; r < 4; ++r)
        values_.start(4 * t + r, value(4 * t + r),
                      from + (place_.value_position(r) - place_.value_position(0)) * head_dim_);
    }
  }
  __device__ void store_keys() {
    keys_.store();
  }
  __device__ void store_values() {
    values_.store();
  }

  /// The heads' queries as operands.
  __device__ void load_queries() {
    const float* q = shared_.scratch;
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      const int d = place_.key_dim(4 * s);
      const float4 x = d < head_dim_
                           ? *reinterpret_cast<const float4*>(q + place_.g * head_dim_ + d)
                           : make_float4(0, 0, 0, 0);
      split_terms(x.x, x.y, query_[s].x, query_[s].y);
      split_terms(x.z, x.w, query_[s].z, query_[s].w);
    }
  }

  /// scores [8 j's][2 e's] of this warp's dimensions to the shared memory of the group.
  __device__ void score(int block, float4* scores) {
    if (is_own(block) && place_.g == own_slot() / 8)
      for (int i = 0; i < key_pieces; ++i)
        if (place_.key_dim(i) < head_dim_)
          reinterpret_cast<uint16_t*>(key(i))[own_slot() % 8] = shared_.own_key[place_.key_dim(i)];
    float sums[8][4] = {};
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      uint4 k[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) k[i] = *key(4 * s + i);
#pragma unroll
      for (int j = 0; j < 8; ++j)
        mma_f16(sums[j], query_[s], pair_halves(word_of(k[0], j / 2), word_of(k[1], j / 2), j % 2),
                pair_halves(word_of(k[2], j / 2), word_of(k[3], j / 2), j % 2));
    }
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      const float(&x)[4] = sums[2 * p], (&y)[4] = sums[2 * p + 1];
      scores[p * 32 + threadIdx.x % 32] =
          make_float4(x[0] + x[2], x[1] + x[3], y[0] + y[2], y[1] + y[3]);
    }
  }

  __device__ void weigh(int block, const float4* scores) {
    SplitGroup::weigh(block, scores, [&](int, int) { return a_.scale * log2_e; });
  }

  /// out += weights x values, in this warp's dimensions.
  __device__ void add_values(int block) {
    if (is_own(block) && place_.q == own_slot() / 16 && place_.value_dim() < head_dim_) {
      const int slot = own_slot() % 8, piece = slot / 2 * 4 + slot % 2 * 2 + own_slot() / 8 % 2;
      *value(piece) = *reinterpret_cast<const uint2*>(shared_.own_value + place_.value_dim());
    }
#pragma unroll
    for (int t = 0; t < 4; ++t) {
      uint4 w;
      split_terms(weight_[2 * t][0], weight_[2 * t][1], w.x, w.y);
      split_terms(weight_[2 * t + 1][0], weight_[2 * t + 1][1], w.z, w.w);
      uint2 v[4];
#pragma unroll
      for (int r = 0; r < 4; ++r) v[r] = *value(4 * t + r);
#pragma unroll
      for (int n = 0; n < 4; ++n)
        mma_f16(out_[n], w, pair_halves(n < 2 ? v[0].x : v[0].y, n < 2 ? v[1].x : v[1].y, n % 2),
                pair_halves(n < 2 ? v[2].x : v[2].y, n < 2 ? v[3].x : v[3].y, n % 2));
    }
  }

 private:
  __device__ uint4* key(int i) const {
    return shared_.keys + i * threads + threadIdx.x;
  }
  __device__ uint2* value(int i) const {
    return shared_.values + i * threads + threadIdx.x;
  }

  Shared<groups> shared_;
  Copies<key_pieces> keys_;
  Copies<value_pieces, uint2> values_;
  uint4 query_[2];
};

/// Queries to shared memory, rotated, and the row's own key and value as the cache has them: a warp
/// a head. From where is worked out before they are there, and all is read before any is used.
template <int groups>
class OwnHeads {
  static constexpr int warps = 4 * groups, turns = (max_head_group + 2 + warps - 1) / warps;

 public:
  __device__ OwnHeads(const SplitAttention& a, int64_t row, int64_t kv_head, int heads)
      : a_(a), heads_(heads), head_dim_(static_cast<int>(a.heads.head_dim)) {
    const int64_t at = row * a.qkv.stride;
    angles_ = a.qkv.angles + row * head_dim_;
#pragma unroll
    for (int turn = 0; turn < turns; ++turn) {
      const int h = number(turn);
      from_[turn] =
          at + (h < max_head_group    ? a.qkv.q + (kv_head * heads + min(h, heads - 1)) * head_dim_
                : h == max_head_group ? a.qkv.k + kv_head * head_dim_
                                      : a.qkv.v + kv_head * head_dim_);
    }
  }

  __device__ void prepare(const Shared<groups>& shared) const {
    const int half = head_dim_ / 2;
    const RotaryAngles angles(angles_, half);
    RotatedHead read[turns];
#pragma unroll
    for (int turn = 0; turn < turns; ++turn) read[turn].read(from_[turn], half);
#pragma unroll
    for (int turn = 0; turn < turns; ++turn) {
      const int h = number(turn);
      RotatedHead& head = read[turn];
      if (h < max_head_group) {
        if (h >= heads_) continue;  // rows of the products that nobody reads
        head.turn(angles, a_.qkv.q_norm, a_.qkv.eps);
        head.each([&](int i, float value) { shared.scratch[h * head_dim_ + i] = value; });
      } else if (h < max_head_group + 2) {
        if (h == max_head_group) head.turn(angles, a_.qkv.k_norm, a_.qkv.eps);
        uint16_t* to = h == max_head_group ? shared.own_key : shared.own_value;
        head.each([&](int i, float value) { to[i] = half_bits(value); });
      }
    }
    __syncthreads();
  }

 private:
  __device__ static int number(int turn) {
    return static_cast<int>(threadIdx.x) / 32 + turn * warps;
  }

  const SplitAttention& a_;
  int heads_, head_dim_;
  const float *angles_, *from_[turns];
};

template <int groups>
__device__ inline void store_own(const SplitAttention& a, const StepRow& step, int64_t kv_head,
                                 const Shared<groups>& shared) {
  const CacheBlock block(a.heads, step.blocks, step.position / kv_block, kv_head);
  const int64_t slot = step.position % kv_block, head_dim = a.heads.head_dim;
  for (int64_t i = threadIdx.x; i < head_dim; i += Shared<groups>::threads) {
    block.keys[i * kv_block + slot] = shared.own_key[i];
    block.values[slot * head_dim + i] = shared.own_value[i];
  }
}

/// Where merged parts go: divided by their sums of weights to `out` [heads][head_dim], or with
/// maximum and sum to `part` [heads][split_row(head_dim)], if that is not null.
struct Merged {
  float *out, *part;

  __device__ void store(int h, int d, int head_dim, const float2& total, float max,
                        float sum) const {
    float* of_part = part + h * split_row(head_dim);
    *reinterpret_cast<float2*>(part ? of_part + d : out + h * head_dim + d) =
        part ? total : make_float2(total.x / sum, total.y / sum);
    if (part && d == 0) *reinterpret_cast<float2*>(of_part + head_dim) = make_float2(max, sum);
  }
};

/// visit(head, dimension) for pairs of neighbouring values.
template <class Visit>
__device__ inline void each_pair(int heads, int head_dim, Visit visit) {
  const int pairs = head_dim / 2;
  for (int index = threadIdx.x; index < heads * pairs; index += blockDim.x) {
    const int h = index / pairs;
    visit(h, (index - h * pairs) * 2);
  }
}

/// `count` parts, `most` at most, [count][heads][split_row(head_dim)], as one. Each thread works
/// out the factors that it needs: a barrier would take longer.
template <int most>
__device__ inline void merge_parts(const float* parts, int count, int heads, int head_dim,
                                   const Merged& merged) {
  const int row = static_cast<int>(split_row(head_dim)), stride = heads * row;
  each_pair(heads, head_dim, [&](int h, int d) {
    const float* of_head = parts + h * row;
    float2 value[most], weight[most];  // maximum and sum
    float max = -INFINITY, sum = 0;
#pragma unroll
    for (int i = 0; i < most; ++i) {
      const float* of_part = of_head + min(i, count - 1) * stride;
      value[i] = *reinterpret_cast<const float2*>(of_part + d);
      weight[i] = *reinterpret_cast<const float2*>(of_part + head_dim);
    }
#pragma unroll
    for (int i = 0; i < most; ++i) max = fmaxf(max, weight[i].x);
    float2 total = make_float2(0, 0);
#pragma unroll
    for (int i = 0; i < most; ++i) {
      const float factor = i < count ? power_of_two(weight[i].x - max) : 0.0f;
      sum = fmaf(factor, weight[i].y, sum);
      total = make_float2(fmaf(factor, value[i].x, total.x), fmaf(factor, value[i].y, total.y));
    }
    merged.store(h, d, head_dim, total, max, sum);
  });
}

/// Whether this block of threads is the last of `parts` to come here, with all their writes seen:
/// a barrier and one thread's fence order the writes of all threads.
__device__ inline bool last_to_arrive(int32_t* arrived, int parts) {
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    last = atomicAdd(arrived, 1) == parts - 1;
    if (last) *arrived = 0;
    __threadfence();
  }
  __syncthreads();
  return last;
}

/// Splits are merged by whichever block of each eight comes last, and so are their results, `next`.
__device__ inline void merge_splits(float* results, float* next, int split, int parts, int heads,
                                    int head_dim, int32_t* arrived, float* out) {
  constexpr int width = merged_splits;
  static_assert(max_splits <= width * width);
  const int64_t part_floats = heads * split_row(head_dim);
#pragma unroll 1
  for (int level = 0; level < 2 && parts > 1; ++level) {
    const int group = split / width, groups = (parts + width - 1) / width;
    const int count = min(width, parts - group * width);
    if (!last_to_arrive(arrived + group, count)) return;
    merge_parts<width>(results + group * width * part_floats, count, heads, head_dim,
                       {out, groups > 1 ? next + group * part_floats : nullptr});
    results = next;
    arrived += width;
    split = group;
    parts = groups;
  }
}

/// Of a thread: on sm_90 so few that a block of a multiplication finds room beside this one; on
/// sm_75 a block has a multiprocessor's shared memory for itself.
template <class Group>
constexpr int split_registers(int groups) {
  if (code_architecture >= 90 && groups > 1) return Group::registers_sm_90;
  return code_architecture < 80 ? 200 : 120;
}

template <template <int> class GroupOf, int groups>
__global__ void __maxnreg__(split_registers<GroupOf<groups>>(groups))
    attention_split_kernel(SplitAttention a) {
  allow_next_kernel();
  const int head_dim = static_cast<int>(a.heads.head_dim);
  const int heads = static_cast<int>(a.heads.num_heads / a.heads.num_kv_heads);
  const int kv_head = static_cast<int>(blockIdx.y), item = static_cast<int>(blockIdx.z);
  // The step was sent before its first kernel, so this needs no waiting.
  const int row = a.row_list ? a.row_list[item] : item;
  const StepRow step = a.step[row];
  const int split = blockIdx.x, length = step.position + 1;
  const int parts = static_cast<int>(num_splits(length, groups));
  if (split >= parts) return;
  const int split_size = static_cast<int>(split_blocks(length, groups));
  const int first = split * split_size,
            number = static_cast<int>(threadIdx.x) / split_group_threads;
  const int last = min(first + split_size, static_cast<int>(ceil_div(length, kv_block))) - 1;

  const typename GroupOf<groups>::SharedMemory shared(head_dim);
  GroupOf<groups> group(a, step, kv_head, shared);
  int block = first + number;
  // Nor do positions that were cached before this step; the row's own is not read.
  const bool early =
      step.position == step.chunk_position || (block + 1) * int{kv_block} <= step.chunk_position;
  if (!early) wait_previous_kernels();
  if (block <= last) group.ask_for_keys(block);
  commit_copies();
  if (block <= last) group.ask_for_values(block);
  commit_copies();
  const typename GroupOf<groups>::Own own(a, row, kv_head, heads);
  if (early) wait_previous_kernels();
  own.prepare(shared);
  group.load_queries();
  if (split == parts - 1) store_own(a, step, kv_head, shared);

  auto* scores = reinterpret_cast<float4*>(shared.scratch + number * group_scores);
  for (int turn = first; turn <= last; turn += groups, block += groups) {
    if (block <= last) group.store_keys();
    wait_copies<1>();
    __syncthreads();
    if (block <= last) group.score(block, scores + threadIdx.x / 32 % 4 * 128);
    if (block + groups <= last) group.ask_for_keys(block + groups);
    commit_copies();
    __syncthreads();
    wait_copies<1>();
    if (block <= last) {
      group.store_values();
      group.weigh(block, scores);
      group.add_values(block);
    }
    if (block + groups <= last) group.ask_for_values(block + groups);
    commit_copies();
  }
  __syncthreads();
  float* results = shared.scratch;
  const int64_t part_floats = heads * split_row(head_dim);
  group.store(heads, results + number * part_floats);
  __syncthreads();

  float* out = a.out + row * a.out_stride + kv_head * heads * head_dim;
  const int64_t slot = int64_t{item} * a.heads.num_kv_heads + kv_head;
  float* partial = a.partial + slot * split_results(a.splits) * part_floats;
  merge_parts<groups>(results, groups, heads, head_dim,
                      {out, parts > 1 ? partial + split * part_floats : nullptr});
  merge_splits(partial, partial + a.splits * part_floats, split, parts, heads, head_dim,
               a.arrived + slot * split_counters, out);
}

}  // namespace

void attention_split(const SplitAttention& attention, const Queue& queue) {
  const Heads& heads = attention.heads;
  const int groups = split_groups(queue.architecture, queue.shared_bytes);
  const auto kernel =
      attention.int8
          ? (groups == 1 ? attention_split_kernel<GroupS8, 1> : attention_split_kernel<GroupS8, 4>)
          : (groups == 1 ? attention_split_kernel<Group, 1> : attention_split_kernel<Group, 4>);
  launch(kernel,
         {dim3(extent(attention.splits), extent(heads.num_kv_heads), extent(attention.rows)),
          groups * split_group_threads,
          attention.int8 ? split_s8_shared_bytes(groups, heads.head_dim)
                         : split_shared_bytes(groups, heads.head_dim)},
         queue, attention);
}

}  // namespace octet::kernels::cuda
