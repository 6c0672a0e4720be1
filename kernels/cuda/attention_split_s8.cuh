#pragma once
// Split attention over an int8 cache: the CPU's products of integers (kernels/types.h: Attention),
// on the int8 tensor cores. Words of four values lie in the cache as mma.m16n8k32 takes them. The
// heads' eight rows are half of the sixteen; the others are zeros.
#include "kernels/cuda/attention_split.cuh"
#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/quantize_head.cuh"

namespace octet::kernels::cuda {

/// Shared memory of a block of threads (split_s8_shared_bytes()).
template <int groups>
struct SharedS8 {
  static constexpr int threads = groups * split_group_threads;
  static constexpr int pieces = 4;  // of 16 bytes, that a thread has of keys, and of values
  static constexpr int key_head = max_head_group, value_head = max_head_group + 1;
  int head_words;
  uint4 *keys, *values;  // [pieces][threads]: each thread's own
  /// As in Shared; at first rotated heads [heads][head_dim].
  float* scratch;
  float* scales;       // [groups][2 cache blocks in turns][keys, values][64]
  uint32_t* heads;     // [queries, the row's own key and value][head_words]
  float* head_scales;  // of these

  __device__ explicit SharedS8(int head_dim)
      : head_words(head_dim / 4),
        keys(dynamic_shared<uint4>()),
        values(keys + pieces * threads),
        scratch(reinterpret_cast<float*>(values + pieces * threads)),
        scales(scratch + groups * group_scores),
        heads(reinterpret_cast<uint32_t*>(scales + groups * 2 * 2 * kv_block)),
        head_scales(reinterpret_cast<float*>(heads + (max_head_group + 2) * head_words)) {}
};

/// Queries and the row's own key and value to shared memory, as the cache has them: a warp a head.
template <int groups>
class OwnHeadsS8 {
 public:
  __device__ OwnHeadsS8(const SplitAttention& a, int64_t row, int64_t kv_head, int heads)
      : a_(a), row_(row), kv_head_(kv_head), heads_(heads) {}

  __device__ void prepare(const SharedS8<groups>& shared) const {
    const int head_dim = static_cast<int>(a_.heads.head_dim), lane = threadIdx.x % 32;
    const int64_t at = row_ * a_.qkv.stride, own = at + kv_head_ * head_dim;
    const float* angles = a_.qkv.angles + row_ * head_dim;
#pragma unroll 1
    for (int h = threadIdx.x / 32; h < max_head_group + 2; h += 4 * groups) {
      const bool is_key = h == SharedS8<groups>::key_head;
      float4 v = make_float4(0, 0, 0, 0);
      if (h < heads_ || is_key) {
        RotatedHead head;
        head.read(is_key ? a_.qkv.k + own : a_.qkv.q + at + (kv_head_ * heads_ + h) * head_dim,
                  head_dim / 2);
        head.turn(RotaryAngles(angles, head_dim / 2), is_key ? a_.qkv.k_norm : a_.qkv.q_norm,
                  a_.qkv.eps);
        v = spread_head(head, head_dim, shared.scratch + h * head_dim);
      } else if (h == SharedS8<groups>::value_head && 4 * lane < head_dim) {
        v = reinterpret_cast<const float4*>(a_.qkv.v + own)[lane];
      }
      const QuantizedHead quantized(v, a_.check);
      if (4 * lane < head_dim) shared.heads[h * shared.head_words + lane] = quantized.word;
      if (lane == 0) shared.head_scales[h] = quantized.scale;
    }
    __syncthreads();
  }

 private:
  const SplitAttention& a_;
  int64_t row_, kv_head_;
  int heads_;
};

/// Pieces of keys: 2 s + i has positions 8 g + 4 i and three more of dimensions 32 warp + 16 s + 4
/// q and three more. Of values: r has positions 16 q + 4 r and three more of dimensions value_dim()
/// and three more.
template <int groups>
class GroupS8 : public SplitGroup {
  static constexpr int threads = SharedS8<groups>::threads;

 public:
  using SharedMemory = SharedS8<groups>;
  using Own = OwnHeadsS8<groups>;
  static constexpr int registers_sm_90 = 104;  // with 96 it spills
  __device__ GroupS8(const SplitAttention& a, const StepRow& step, int64_t kv_head,
                     const SharedMemory& shared)
      : SplitGroup(a, step, kv_head), shared_(shared) {}

  __device__ void ask_for_keys(int block) {
    const CacheBlockS8 cached(a_.heads, step_.blocks, block, kv_head_);
#pragma unroll(code_architecture < 80 ? 2 : 1)
    for (int s = 0; s < 2; ++s) {
      // Of dimensions that are not there, others: their queries are 0.
      const int word = key_word(s) < shared_.head_words ? key_word(s) : 0;
      const uint32_t* from = cached.keys + word * int{kv_block} + 8 * place_.g;
      keys_.start(2 * s, key(2 * s), from);
      keys_.start(2 * s + 1, key(2 * s + 1), from + 4);
    }
    const int piece = scale_piece();
    if (has_scales())
      scales_.start(0, scales(block) + 4 * piece,
                    piece < scale_pieces ? cached.key_scales + 4 * piece
                                         : cached.value_scales + 4 * (piece - scale_pieces));
  }
  __device__ void ask_for_values(int block) {
    const CacheBlockS8 cached(a_.heads, step_.blocks, block, kv_head_);
    const int padded = static_cast<int>(padded_n(head_dim_));
    const uint32_t* from =
        cached.values + 4 * place_.q * padded + min(place_.value_dim(), padded - 4);
#pragma unroll
    for (int r = 0; r < 4; ++r) values_.start(r, value(r), from + r * padded);
  }
  __device__ void store_keys() {
    keys_.store();
    if (has_scales()) scales_.store();
  }
  __device__ void store_values() {
    values_.store();
  }

  /// The heads' queries as operands.
  __device__ void load_queries() {
    const uint32_t* words = shared_.heads + place_.g * shared_.head_words;
    query_ = make_uint4(0, 0, 0, 0);
    if (key_word(0) < shared_.head_words) query_.x = words[key_word(0)];
    if (key_word(1) < shared_.head_words) query_.z = words[key_word(1)];
    query_scale_ = shared_.head_scales[place_.g] * a_.scale * log2_e;
  }

  /// scores of this warp's dimensions, which floats hold exactly, to the shared memory of the
  /// group.
  __device__ void score(int block, float4* scores) {
    if (is_own(block)) insert_own_key(block);
    int sums[8][4] = {};
    uint4 k[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) k[i] = *key(i);
#pragma unroll
    for (int j = 0; j < 8; ++j)
      mma_s8(sums[j], query_, word_of(k[j / 4], j % 4), word_of(k[2 + j / 4], j % 4));
    const auto real = [&](int j, int e) { return static_cast<float>(sums[j][e]); };
#pragma unroll
    for (int p = 0; p < 4; ++p)
      scores[p * 32 + threadIdx.x % 32] =
          make_float4(real(2 * p, 0), real(2 * p, 1), real(2 * p + 1, 0), real(2 * p + 1, 1));
  }

  /// Then the weights, times their values' scales, become eight bits.
  __device__ void weigh(int block, const float4* scores) {
    const float *key_scale = scales(block), *value_scale = key_scale + kv_block;
    SplitGroup::weigh(block, scores, [&](int j, int e) {
      return key_scale[place_.score_position(j, e)] * query_scale_;
    });
    float largest = 0;
#pragma unroll
    for (int j = 0; j < 8; ++j)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        weight_[j][e] *= value_scale[place_.score_position(j, e)];
        largest = fmaxf(largest, weight_[j][e]);
      }
    const WeightQuantizer quantize(combine_quad(largest, Larger()));
    unit_ = quantize.scale;
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      words_[r] = 0;
#pragma unroll
      for (int i = 0; i < 4; ++i) words_[r] |= quantize(weight_[r % 2 * 4 + i][r / 2]) << (8 * i);
    }
  }

  /// out += weights x values, in this warp's dimensions.
  __device__ void add_values(int block) {
    if (is_own(block)) insert_own_value();
    uint4 v[4];
#pragma unroll
    for (int r = 0; r < 4; ++r) v[r] = *value(r);
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      int sums[4] = {};
#pragma unroll
      for (int t = 0; t < 2; ++t)
        mma_u8s8(sums, make_uint4(words_[2 * t], 0, words_[2 * t + 1], 0), word_of(v[2 * t], n),
                 word_of(v[2 * t + 1], n));
#pragma unroll
      for (int e = 0; e < 2; ++e) out_[n][e] = fmaf(static_cast<float>(sums[e]), unit_, out_[n][e]);
    }
  }

 private:
  __device__ uint4* key(int i) const {
    return shared_.keys + i * threads + threadIdx.x;
  }
  __device__ uint4* value(int i) const {
    return shared_.values + i * threads + threadIdx.x;
  }
  static constexpr int scale_pieces = kv_block / 4;
  __device__ static int scale_piece() {
    return static_cast<int>(threadIdx.x) % split_group_threads;
  }
  __device__ static bool has_scales() {
    return scale_piece() < 2 * scale_pieces;
  }
  __device__ int key_word(int s) const {
    return 8 * place_.warp + 4 * s + place_.q;
  }
  /// Of a cache block: its group asks for the next while it still reads these.
  __device__ float* scales(int block) const {
    const int number = static_cast<int>(threadIdx.x) / split_group_threads;
    return shared_.scales + (2 * number + block / groups % 2) * 2 * int{kv_block};
  }

  __device__ void insert_own_key(int block) {
    const int slot = own_slot();
    const uint32_t* own = shared_.heads + SharedMemory::key_head * shared_.head_words;
    if (place_.g == slot / 8)
      for (int s = 0; s < 2; ++s)
        if (key_word(s) < shared_.head_words)
          reinterpret_cast<uint32_t*>(key(2 * s + slot % 8 / 4))[slot % 4] = own[key_word(s)];
    if (threadIdx.x % split_group_threads > 0) return;
    scales(block)[slot] = shared_.head_scales[SharedMemory::key_head];
    scales(block)[kv_block + slot] = shared_.head_scales[SharedMemory::value_head];
  }
  __device__ void insert_own_value() {
    const int slot = own_slot();
    if (place_.q != slot / 16 || place_.value_dim() >= head_dim_) return;
    const uint32_t own =
        shared_.heads[SharedMemory::value_head * shared_.head_words + place_.value_dim() / 4];
    auto* bytes = reinterpret_cast<uint8_t*>(value(slot % 16 / 4)) + slot % 4;
    for (int i = 0; i < 4; ++i) bytes[4 * i] = static_cast<uint8_t>(own >> (8 * i) & 0xffu);
  }

  SharedMemory shared_;
  Copies<SharedMemory::pieces> keys_, values_;
  Copies<1> scales_;
  uint4 query_;
  float query_scale_;
  uint32_t words_[4];  // weights of positions 16 q + 4 r and three more
  float unit_;         // their scale
};

template <int groups>
__device__ inline void store_own(const SplitAttention& a, const StepRow& step, int64_t kv_head,
                                 const SharedS8<groups>& shared) {
  const CacheBlockS8 block(a.heads, step.blocks, step.position / kv_block, kv_head);
  const int slot = step.position % int{kv_block}, warp = threadIdx.x / 32,
            head_dim = static_cast<int>(a.heads.head_dim);
  const int h = max_head_group + warp;
  if (warp > 1) return;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const uint32_t word = lane < shared.head_words ? shared.heads[h * shared.head_words + lane] : 0;
  if (h == SharedS8<groups>::key_head)
    block.store_key(slot, head_dim, word, shared.head_scales[h]);
  else
    block.store_value(slot, head_dim, word, shared.head_scales[h]);
}

}  // namespace octet::kernels::cuda
