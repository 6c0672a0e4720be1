#pragma once
// Split attention over an fp16 cache. The products run on the tensor cores at the precision of
// fp32: queries and softmax weights are two fp16 terms, the second what the first leaves over. Up
// to eight heads share the keys, so the sixteen rows of mma.m16n8k16 are the heads' first terms and
// then their second.
#include "kernels/cuda/attention_split.cuh"
#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/rotate.cuh"

namespace octet::kernels::cuda {

/// Eight halves of a row of keys or values in shared memory: of eight neighbouring rows, the same
/// piece lies in different banks.
template <int width>
__device__ inline uint16_t* swizzled(uint16_t (&row)[width], int number, int piece) {
  return row + 8 * (piece ^ number % 8);
}

/// Queries to shared memory, rotated, as operands, and the row's own key and value as the cache has
/// them: a warp a head. From where is worked out before they are there, and all is read before any
/// is used. waits: other blocks of the grid write them.
template <int warps, bool waits = false>
class OwnHeadsF16 {
  static constexpr int turns = (max_head_group + 2 + warps - 1) / warps;

 public:
  __device__ OwnHeadsF16(const SplitAttention& a, int64_t row, int kv_head)
      : a_(a),
        heads_(static_cast<int>(a.heads.num_heads / a.heads.num_kv_heads)),
        head_dim_(static_cast<int>(a.heads.head_dim)) {
    const int64_t at = row * a.qkv.stride;
    angles_ = a.qkv.angles + row * head_dim_;
#pragma unroll
    for (int turn = 0; turn < turns; ++turn) {
      const int h = number(turn);
      from_[turn] =
          at + (h < key_head()    ? a.qkv.q + (kv_head * heads_ + min(h, heads_ - 1)) * head_dim_
                : h == key_head() ? a.qkv.k + kv_head * head_dim_
                                  : a.qkv.v + kv_head * head_dim_);
    }
  }

  template <class Shared>
  __device__ void prepare(Shared& shared) const {
    const RotaryAngles angles(angles_, head_dim_ / 2);
    RotatedHead read[turns];
#pragma unroll
    for (int turn = 0; turn < turns; ++turn) {
      if (may_leave_out && number(turn) > key_head() + 1) break;
      if constexpr (waits)
        read[turn].wait_for(from_[turn], head_dim_ / 2);
      else
        read[turn].read(from_[turn], head_dim_ / 2);
    }
#pragma unroll
    for (int turn = 0; turn < turns; ++turn) {
      const int h = number(turn);
      if (may_leave_out && h > key_head() + 1) break;
      RotatedHead& head = read[turn];
      if (h <= key_head())
        head.turn(angles, h < key_head() ? a_.qkv.q_norm : a_.qkv.k_norm, a_.qkv.eps);
      if (h < heads_) {
        store_query(head, shared.queries, h);
      } else if (h == key_head() || h == key_head() + 1) {
        uint16_t* to = h == key_head() ? shared.own_key : shared.own_value;
        head.each([&](int i, float value) { to[i] = half_bits(value); });
      }
    }
  }

 private:
  /// With few warps in turns, key and value follow the last head.
  static constexpr bool may_leave_out = turns > 1;
  __device__ int key_head() const {
    return may_leave_out ? heads_ : max_head_group;
  }
  __device__ static int number(int turn) {
    return static_cast<int>(threadIdx.x) / 32 + turn * warps;
  }
  /// A lane's dimensions are those of one lane in one product (CacheF16::score()).
  __device__ void store_query(const RotatedHead& head,
                              uint32_t (&queries)[max_head_dim / 16][32][4], int h) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const float scale = a_.scale * log2_e;
    uint4 terms;
    split_terms(head.low().x * scale, head.low().y * scale, terms.x, terms.y);
    split_terms(head.high().x * scale, head.high().y * scale, terms.z, terms.w);
    store_words(queries[lane / 4][4 * h + lane % 4], terms);
  }

  const SplitAttention& a_;
  int heads_, head_dim_;
  const float *angles_, *from_[turns];
};

template <int groups>
class CacheF16 : SplitRow {
  static constexpr int pieces = 8;  // of 16 bytes, that a thread has of keys, and of values
  static constexpr int tiles = 4;   // of eight dimensions, that a warp adds up

 public:
  using Shared = SplitShared<groups>;
  using Own = OwnHeadsF16<4 * groups>;
  static constexpr int registers_sm_90 = 72;

  __device__ CacheF16(const SplitAttention& a, const StepRow& step, int kv_head, Shared& shared)
      : SplitRow(a, step, kv_head), shared_(shared) {}

  __device__ void ask_for_keys(int block) {
    const CacheBlock cached(a_.heads, blocks_, block, kv_head_);
    const int thread = worked_out_here(static_cast<int>(threadIdx.x) % split_group_threads),
              row = thread / 8, piece = thread % 8;
#pragma unroll
    for (int i = 0; i < pieces; ++i) {
      // Of dimensions that are not there, others: their queries are 0.
      const int d = min(row + 16 * i, head_dim_ - 1);
      keys_.start(i, swizzled(shared_.keys[group()][row + 16 * i], row, piece),
                  cached.keys + d * int{kv_block} + 8 * piece);
    }
  }
  __device__ void ask_for_values(int block) {
    const CacheBlock cached(a_.heads, blocks_, block, kv_head_);
    const int thread = worked_out_here(static_cast<int>(threadIdx.x) % split_group_threads),
              row = thread / 16, piece = min(thread % 16, head_dim_ / 8 - 1);
    const uint16_t* from = cached.values + row * head_dim_ + 8 * piece;
#pragma unroll
    for (int i = 0; i < pieces; ++i)
      values_.start(i, swizzled(shared_.values[group()][row + 8 * i], row, piece),
                    from + 8 * i * head_dim_);
  }
  __device__ void store_keys() {
    keys_.store();
  }
  __device__ void store_values() {
    values_.store();
  }

  /// Of a lane's score [t][e] among the warp's positions.
  __device__ int score_position(int t, int e) const {
    return 8 * t + 2 * place_.q + e;
  }

  /// Product s has dimensions 8 s to 8 s + 7 of both halves of a head.
  __device__ void score(int block, float (&scores)[2][2]) {
    if (is_own(block) && own_slot() / warp_positions == place_.quarter) insert_own_key();
    const int row = place_.lane % 8 + place_.lane / 8 % 2 * (head_dim_ / 2);
    const uint16_t* from =
        swizzled(shared_.keys[group()][row], row, 2 * place_.quarter + place_.lane / 16);
    float sums[2][4] = {};
#pragma unroll
    for (int s = 0; s < max_head_dim / 16; ++s) {
      uint32_t k[4];
      load_matrices_transposed(k, from + 8 * s * int{kv_block});
      const uint4 query = load_words(shared_.queries[s][place_.lane]);
      mma_f16(sums[0], query, k[0], k[1]);
      mma_f16(sums[1], query, k[2], k[3]);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) scores[i / 2][i % 2] = sums[i / 2][i % 2] + sums[i / 2][2 + i % 2];
  }

  __device__ void before_exchange(const float (&)[2][2]) {}

  __device__ void store_weights(const float (&x)[2][2], float) {
    uint4 terms;
    split_terms(x[0][0], x[0][1], terms.x, terms.y);
    split_terms(x[1][0], x[1][1], terms.z, terms.w);
    store_words(shared_.exchange.weights[place_.warp][place_.lane], terms);
  }

  __device__ void scale_results(float factor) {
#pragma unroll
    for (int i = 0; i < tiles * 4; ++i) out_[i / 4][i % 4] *= factor;
  }
  /// out += weights x values.
  __device__ void add_values(int block) {
    if (is_own(block)) insert_own_value();
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      const auto* weights = &shared_.exchange.weights[4 * group() + 2 * pair];
      const uint4 w[2] = {load_words(weights[0][place_.lane]), load_words(weights[1][place_.lane])};
#pragma unroll
      for (int t = 0; t < tiles; ++t) {
        uint32_t v[4];
        load_matrices_transposed(
            v, swizzled(shared_.values[group()][32 * pair + place_.lane], place_.lane, piece(t)));
        mma_f16(out_[t], w[0], v[0], v[1]);
        mma_f16(out_[t], w[1], v[2], v[3]);
      }
    }
  }
  __device__ SplitResults* results(int group) const {
    return reinterpret_cast<SplitResults*>(shared_.keys[group]);
  }
  __device__ void store_results() const {
#pragma unroll
    for (int t = 0; t < tiles; ++t)
      *reinterpret_cast<float2*>(results(group())->values[piece(t)][place_.lane]) =
          make_float2(out_[t][0] + out_[t][2], out_[t][1] + out_[t][3]);
  }
  /// Read before the row's own key and value are there.
  __device__ void note_own_block() const {
    shared_.own_block = blocks_[position_ / int{kv_block}];
  }
  /// The row's own key and value go to the cache.
  __device__ void store_own() const {
    const CacheBlock cached(a_.heads, &shared_.own_block, 0, kv_head_);
    static_assert(groups * split_group_threads >= max_head_dim);
    const int d = static_cast<int>(threadIdx.x);
    if (d >= head_dim_) return;
    cached.keys[d * int{kv_block} + own_slot()] = shared_.own_key[d];
    cached.values[own_slot() * head_dim_ + d] = shared_.own_value[d];
  }

 private:
  /// Warps behind the last group's help it.
  __device__ int group() const {
    return groups > 1 ? place_.group : 0;
  }
  __device__ int piece(int t) const {
    return tiles * place_.quarter + t;
  }
  __device__ void insert_own_key() {
    const int slot = own_slot();
#pragma unroll
    for (int i = 0; i < max_head_dim / 32; ++i) {
      const int d = place_.lane + 32 * i;
      if (d < head_dim_)
        swizzled(shared_.keys[group()][d], d, slot / 8)[slot % 8] = shared_.own_key[d];
    }
    __syncwarp();
  }
  /// The warp's dimensions of it.
  __device__ void insert_own_value() {
    const int slot = own_slot(), own = piece(place_.lane);
    if (place_.lane < tiles)
      *reinterpret_cast<uint4*>(swizzled(shared_.values[group()][slot], slot, own)) =
          *reinterpret_cast<const uint4*>(shared_.own_value + 8 * own);
    __syncwarp();
  }

  Shared& shared_;
  Copies<pieces> keys_, values_;
  float out_[tiles][4] = {};
};

}  // namespace octet::kernels::cuda
