#pragma once
// Split attention over an int8 cache: the CPU's products of integers (kernels/types.h: Attention),
// on the int8 tensor cores. Words of four values lie in the cache as mma.m16n8k32 takes them. The
// heads' eight rows are half of the sixteen; the others are zeros.
#include "kernels/cuda/attention_split.cuh"
#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/quantize_head.cuh"

namespace octet::kernels::cuda {

/// Four words of a row of keys or values in shared memory: of four neighbouring rows, two
/// neighbouring pieces lie in different banks.
template <int width>
__device__ inline uint32_t* swizzled_words(uint32_t (&row)[width], int number, int piece) {
  return row + 4 * (piece ^ number % 4 * 2);
}

/// Queries and the row's own key and value to shared memory, as the cache has them: a warp a head.
template <int groups>
class OwnHeadsS8 {
 public:
  static constexpr int key_head = max_head_group, value_head = key_head + 1;

  __device__ OwnHeadsS8(const SplitAttention& a, int64_t row, int kv_head)
      : a_(a),
        row_(row),
        kv_head_(kv_head),
        heads_(static_cast<int>(a.heads.num_heads / a.heads.num_kv_heads)) {}

  __device__ void prepare(SplitSharedS8<groups>& shared) const {
    const int head_dim = static_cast<int>(a_.heads.head_dim), lane = threadIdx.x % 32;
    const int64_t at = row_ * a_.qkv.stride, own = at + kv_head_ * head_dim;
    const RotaryAngles angles(a_.qkv.angles + row_ * head_dim, head_dim / 2);
#pragma unroll 1
    for (int h = threadIdx.x / 32; h <= value_head; h += 4 * groups) {
      float4 v = make_float4(0, 0, 0, 0);
      if (h < heads_ || h == key_head) {
        RotatedHead head;
        head.read(
            h == key_head ? a_.qkv.k + own : a_.qkv.q + at + (kv_head_ * heads_ + h) * head_dim,
            head_dim / 2);
        head.turn(angles, h == key_head ? a_.qkv.k_norm : a_.qkv.q_norm, a_.qkv.eps);
        v = spread_head(head, head_dim, shared.rows[h]);
      } else if (h == value_head && 4 * lane < head_dim) {
        v = reinterpret_cast<const float4*>(a_.qkv.v + own)[lane];
      }
      const QuantizedHead quantized(v, a_.check);
      // In the order in which products have a head's words.
      if (h < max_head_group)
        shared.queries[lane / 8][4 * h + lane % 4][lane / 4 % 2] = quantized.word;
      else
        shared.own_words[h - max_head_group][lane] = quantized.word;
      if (lane == 0) shared.head_scales[h] = quantized.scale;
    }
  }

 private:
  const SplitAttention& a_;
  int64_t row_;
  int kv_head_, heads_;
};

template <int groups>
class CacheS8 : SplitRow {
  static constexpr int pieces = 4;  // of 16 bytes, that a thread has of keys, and of values
  static constexpr int tiles = 4;   // of eight dimensions, that a warp adds up

 public:
  using Shared = SplitSharedS8<groups>;
  using Own = OwnHeadsS8<groups>;
  static constexpr int registers_sm_90 = 72;

  __device__ CacheS8(const SplitAttention& a, const StepRow& step, int kv_head, Shared& shared)
      : SplitRow(a, step, kv_head), shared_(shared) {}

  /// And for the scales of both.
  __device__ void ask_for_keys(int block) {
    const CacheBlockS8 cached(a_.heads, blocks_, block, kv_head_);
    const int thread = worked_out_here(static_cast<int>(threadIdx.x) % split_group_threads),
              row = thread / 16, piece = thread % 16;
#pragma unroll
    for (int i = 0; i < pieces; ++i) {
      // Of words that are not there, others: their queries are 0.
      const int word = min(row + 8 * i, head_dim_ / 4 - 1);
      keys_.start(i, swizzled_words(shared_.keys[place_.group][row + 8 * i], row, piece),
                  cached.keys + word * int{kv_block} + 4 * piece);
    }
    if (thread < scale_pieces)
      scales_.start(0, key_scales(block) + 4 * thread, cached.key_scales + 4 * thread);
    else if (thread < 2 * scale_pieces)
      scales_.start(0, key_scales(block) + 4 * thread,
                    cached.value_scales + 4 * (thread - scale_pieces));
  }
  __device__ void ask_for_values(int block) {
    const CacheBlockS8 cached(a_.heads, blocks_, block, kv_head_);
    const int thread = worked_out_here(static_cast<int>(threadIdx.x) % split_group_threads),
              row = thread / 32, padded = static_cast<int>(padded_n(head_dim_)),
              piece = min(thread % 32, padded / 4 - 1);
    const uint32_t* from = cached.values + row * padded + 4 * piece;
#pragma unroll
    for (int i = 0; i < pieces; ++i)
      values_.start(i, swizzled_words(shared_.values[place_.group][row + 4 * i], row, piece),
                    from + 4 * i * padded);
  }
  __device__ void store_keys() {
    keys_.store();
    if (threadIdx.x % split_group_threads < 2 * scale_pieces) scales_.store();
  }
  __device__ void store_values() {
    values_.store();
  }

  __device__ int score_position(int t, int e) const {
    return 4 * place_.q + 2 * e + t;
  }

  /// Column g of product t has position 2 g + t: a lane reads both with 8 bytes.
  __device__ void score(int block, float (&scores)[2][2]) {
    if (is_own(block) && own_slot() / warp_positions == place_.quarter) insert_own_key(block);
    const uint32_t* from = swizzled_words(shared_.keys[place_.group][place_.q], place_.q,
                                          4 * place_.quarter + place_.g / 2) +
                           place_.g % 2 * 2;
    int sums[2][4] = {};
#pragma unroll
    for (int s = 0; s < max_head_dim / 32; ++s) {
      const uint2 query = *reinterpret_cast<const uint2*>(shared_.queries[s][place_.lane]),
                  low = *reinterpret_cast<const uint2*>(from + 8 * s * int{kv_block}),
                  high = *reinterpret_cast<const uint2*>(from + (8 * s + 4) * int{kv_block});
      const uint4 a = make_uint4(query.x, 0, query.y, 0);
      mma_s8(sums[0], a, low.x, high.x);
      mma_s8(sums[1], a, low.y, high.y);
    }
    const float4 of_keys = *scales_of_lane(key_scales(block));
    const float of_query = shared_.head_scales[place_.g] * a_.scale * log2_e;
    scores[0][0] = static_cast<float>(sums[0][0]) * (of_keys.x * of_query);
    scores[1][0] = static_cast<float>(sums[1][0]) * (of_keys.y * of_query);
    scores[0][1] = static_cast<float>(sums[0][1]) * (of_keys.z * of_query);
    scores[1][1] = static_cast<float>(sums[1][1]) * (of_keys.w * of_query);
    value_scale_ = *scales_of_lane(key_scales(block) + kv_block);
  }

  /// Weights times their values' scales become eight bits: the largest of the warp's.
  __device__ void before_exchange(const float (&x)[2][2]) {
    const float largest =
        combine_quad(fmaxf(fmaxf(x[0][0] * value_scale_.x, x[1][0] * value_scale_.y),
                           fmaxf(x[0][1] * value_scale_.z, x[1][1] * value_scale_.w)),
                     Larger());
    if (place_.q == 0) shared_.largest[place_.g][place_.warp] = largest;
  }
  __device__ void store_weights(const float (&x)[2][2], float max) {
    const float4 largest = *of_group(shared_.largest), maxima = *of_group(shared_.exchange.maxima);
    const WeightQuantizer quantize(fmaxf(
        fmaxf(largest.x * power_of_two(maxima.x - max), largest.y * power_of_two(maxima.y - max)),
        fmaxf(largest.z * power_of_two(maxima.z - max), largest.w * power_of_two(maxima.w - max))));
    shared_.exchange.weights[place_.warp][place_.lane][0] =
        quantize(x[0][0] * value_scale_.x) | quantize(x[1][0] * value_scale_.y) << 8 |
        quantize(x[0][1] * value_scale_.z) << 16 | quantize(x[1][1] * value_scale_.w) << 24;
    if (place_.quarter == 0 && place_.q == 0)
      shared_.units[place_.group][place_.g] = quantize.scale;
  }

  __device__ void scale_results(float factor) {
#pragma unroll
    for (int t = 0; t < tiles; ++t) out_[t] = make_float2(out_[t].x * factor, out_[t].y * factor);
  }
  __device__ void add_values(int block) {
    if (is_own(block)) insert_own_value();
    const float unit = shared_.units[place_.group][place_.g];
    uint32_t w[4];
#pragma unroll
    for (int i = 0; i < 4; ++i)
      w[i] = shared_.exchange.weights[4 * place_.group + i][place_.lane][0];
#pragma unroll
    for (int t = 0; t < tiles; ++t) {
      int sums[4] = {};
#pragma unroll
      for (int s = 0; s < 2; ++s)
        mma_u8s8(sums, make_uint4(w[2 * s], 0, w[2 * s + 1], 0), value(8 * s + place_.q, t),
                 value(8 * s + 4 + place_.q, t));
      out_[t].x = fmaf(static_cast<float>(sums[0]), unit, out_[t].x);
      out_[t].y = fmaf(static_cast<float>(sums[1]), unit, out_[t].y);
    }
  }
  __device__ SplitResults* results(int group) const {
    return reinterpret_cast<SplitResults*>(shared_.keys[group]);
  }
  __device__ void store_results() const {
#pragma unroll
    for (int t = 0; t < tiles; ++t)
      *reinterpret_cast<float2*>(results(place_.group)->values[tile(t)][place_.lane]) = out_[t];
  }
  /// Read before the row's own key and value are there.
  __device__ void note_own_block() const {
    shared_.own_block = blocks_[position_ / int{kv_block}];
  }
  /// The row's own key and value go to the cache, by a warp each.
  __device__ void store_own() const {
    const CacheBlockS8 cached(a_.heads, &shared_.own_block, 0, kv_head_);
    if (place_.warp == 0)
      cached.store_key(own_slot(), head_dim_, shared_.own_words[0][place_.lane],
                       shared_.head_scales[Own::key_head]);
    else if (place_.warp == 1)
      cached.store_value(own_slot(), head_dim_, shared_.own_words[1][place_.lane],
                         shared_.head_scales[Own::value_head]);
  }

 private:
  static constexpr int scale_pieces = kv_block / 4;

  __device__ int tile(int t) const {
    return tiles * place_.quarter + t;
  }
  __device__ uint32_t value(int row, int t) const {
    return swizzled_words(shared_.values[place_.group][row], row,
                          2 * tile(t) + place_.g / 4)[place_.g % 4];
  }
  /// Of a cache block's keys and then of its values: while the next block's are on their way, these
  /// are still read.
  __device__ float* key_scales(int block) const {
    return shared_.scales[place_.group][block / groups % 2];
  }
  __device__ const float4* scales_of_lane(const float* of_block) const {
    return reinterpret_cast<const float4*>(of_block + warp_positions * place_.quarter) + place_.q;
  }
  /// Of the four warps of this one's group.
  __device__ const float4* of_group(const float (&of_warps)[max_head_group][4 * groups]) const {
    return reinterpret_cast<const float4*>(&of_warps[place_.g][4 * place_.group]);
  }

  __device__ void insert_own_key(int block) {
    const int slot = own_slot(), row = place_.lane;
    swizzled_words(shared_.keys[place_.group][row], row, slot / 4)[slot % 4] =
        shared_.own_words[0][row];
    if (place_.lane == 0) {
      key_scales(block)[slot] = shared_.head_scales[Own::key_head];
      key_scales(block)[kv_block + slot] = shared_.head_scales[Own::value_head];
    }
    __syncwarp();
  }
  /// The warp's dimensions of it.
  __device__ void insert_own_value() {
    const int slot = own_slot(), row = slot / 4, word = 2 * tiles * place_.quarter + place_.lane;
    if (place_.lane < 2 * tiles) {
      const uint32_t own = shared_.own_words[1][word];
      auto* bytes =
          reinterpret_cast<uint8_t*>(swizzled_words(shared_.values[place_.group][row], row, word)) +
          slot % 4;
      for (int i = 0; i < 4; ++i) bytes[4 * i] = static_cast<uint8_t>(own >> (8 * i) & 0xffu);
    }
    __syncwarp();
  }

  Shared& shared_;
  Copies<pieces> keys_, values_;
  Copies<1> scales_;
  float4 value_scale_{};
  float2 out_[tiles] = {};
};

}  // namespace octet::kernels::cuda
