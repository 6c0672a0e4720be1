#pragma once
// The CUDA kernels: operands and launches. One kernel, or one family of template instances, a file.
// Pointers are to device memory; matrices are row-major. Nothing here allocates or synchronizes;
// launch errors are left for cudaGetLastError().
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/plan.h"

namespace octet::kernels::cuda {

/// Where and how a kernel starts.
struct Queue {
  cudaStream_t stream;
  int multiprocessors;
  int architecture;       ///< running_architecture()
  int64_t shared_bytes;   ///< of shared memory that a block can have
  bool dependent_launch;  ///< kernels may start before the one before has ended (sm_90)
  bool clusters;          ///< blocks may reach each other's shared memory (sm_90)
  bool warpgroups;        ///< running_warpgroups()
};

/// What a kernel must know about one row of a step.
struct StepRow {
  int32_t id;
  int32_t position;
  int32_t chunk;             ///< in StepView::frequencies
  int32_t chunk_position;    ///< of the chunk's first row: positions before it were cached earlier
  std::byte* const* blocks;  ///< of the sequence's KvCache
};

/// Consecutive rows of one sequence for prefill attention, and the query rows of one block.
struct AttentionTile {
  int32_t first_row, rows;  ///< the chunk's
  int32_t first_query;      ///< of the chunk's rows x heads of a kv head
  int32_t first_position;   ///< of the chunk's first row
};

/// Where the first operation is noted that met a value that is not finite.
struct FiniteCheck {
  int32_t* first_bad;
  int32_t number;  ///< of this operation in its step
};
/// What first_bad is while there is none.
inline constexpr int32_t none_bad = INT32_MAX;

/// Rows that become quantized activations: norm(source[rows[i]]), or source[rows[i]], then times a
/// Hadamard matrix in blocks.
struct RowSource {
  const float* values;
  int64_t stride;
  int64_t k;          ///< a multiple of 4
  const float* norm;  ///< RMSNorm's weight [k], or null for none
  float eps;
  int hadamard;          ///< values of a block (can_rotate()); 1: none
  float hadamard_scale;  ///< float(1 / sqrt(hadamard))
  const int32_t* rows;   ///< null: 0, 1, 2, ...
  int planes;            ///< 1 or 2: what one plane leaves over is quantized in turn
  FiniteCheck check;
  /// [rows][peak_words], from the kernel that made the rows: bits of magnitudes, of which the
  /// largest is the row's. Null: not known.
  const uint32_t* peaks = nullptr;
  int64_t peak_words = peak_places;
};

/// Quantized activations (kernels/types.h: QuantizeRow without xor). Rows of the second plane
/// follow those of the first.
struct QuantizedRows {
  int8_t* values;      ///< [planes][rows][stride], zero from k to activation_stride(k)
  float* scale;        ///< [planes][rows], or [planes][rows][num_groups(k)]
  int64_t stride;      ///< bytes, at least activation_stride(k)
  bool tiled = false;  ///< values are, each plane, tiled_bytes() in the order of tiled_word()
};

void quantize_rows(const RowSource& source, const QuantizedRows& out, int64_t rows, bool grouped,
                   const Queue& queue);

/// Each `block` of the rows' k values, in place, times a Hadamard matrix (kernels/types.h:
/// HadamardFunction; the same bits). block <= max_hadamard.
struct Hadamard {
  int64_t rows, k, block;
  float* values;
  int64_t stride;
};
void hadamard(const Hadamard& hadamard, const Queue& queue);

/// out row i = RMSNorm of row rows[i] with the CPU's bits, for exact steps: RowSource::norm
/// multiplies by a reciprocal in place of dividing.
struct ExactNorm {
  int64_t rows, k;  ///< k: a multiple of 4
  const float* values;
  const float* weight;
  float eps;
  const int32_t* row_list;  ///< null: 0, 1, 2, ...
  float* out;
  int64_t stride;  ///< of both
};
void norm_exact(const ExactNorm& norm, const Queue& queue);

enum class Output : uint8_t {
  assign,    ///< out = value
  add,       ///< out = out + value
  silu_mul,  ///< channels 2 i and 2 i + 1 are gate and up: out channel i = silu(gate) * up
};

/// out [rows][16 n_tiles] from quantized activations and weights (kernels/types.h: GemmS8,
/// GemmS8Grouped; the same roundings). In silu_mul out has half the columns.
struct Linear {
  int64_t rows, k, n_tiles;
  bool grouped;
  int planes;              ///< of x: 1 or 2
  const void* weight;      ///< weight_word()
  const void* scale;       ///< float [n], or bfloat16 [n_tiles][num_groups(k)][16]
  const void* rest_scale;  ///< of the second plane: as scale, but 0 where a channel takes only one
  int64_t rest_first_tile, rest_end_tile;  ///< channels that take two planes lie in these tiles
  const float* bias;                       ///< [n] or null
  QuantizedRows x;
  float* out;
  int64_t out_stride;
  Output output;
  uint32_t* peaks = nullptr;  ///< of out, as RowSource::peaks, 0 before; null: not wanted
  /// slice_sum_words(), 0 before and after: where blocks that have slices of one row add up what
  /// they have of a channel, and behind that tell each other largest magnitudes. Needed where these
  /// are teams'.
  uint64_t* slice_sums = nullptr;
  /// sliced_group_words(), missing_word before and after: what blocks that have slices of one row
  /// with groups leave each other. Null: rows are not cut.
  uint32_t* slice_groups = nullptr;
  /// The largest of this and all outputs with their channels, as best_logit.cuh has them, but for
  /// the channels that are left out (Top::left_out). Null: not wanted.
  uint64_t* best = nullptr;
  const uint32_t* left_out = nullptr;
};
/// For up to max_decode_rows rows times planes. fused: x is not read, but computed from it in each
/// block, as can_fuse() allows, or where it has peaks takes_peaks().
void linear_decode(const Linear& linear, const RowSource* fused, const Queue& queue);
/// linear_decode() does this for a row with one scale that it quantizes, before sm_80.
void linear_row_ahead(const Linear& linear, const RowSource& source, const Queue& queue);
/// The same where the plan is by_teams, of whole rows and of slices.
void linear_teams(const Linear& linear, const RowSource& source, const DecodePlan& plan,
                  const Queue& queue);
void linear_teams_slice(const Linear& linear, const RowSource& source, const DecodePlan& plan,
                        int slice_chunks, const Queue& queue);
void linear_teams_slice_groups(const Linear& linear, const RowSource& source,
                               const DecodePlan& plan, int slice_chunks, const Queue& queue);
/// The same where the plan is tile_a_block.
void linear_group_tile(const Linear& linear, const RowSource& source, const DecodePlan& plan,
                       const Queue& queue);
/// Whether it can compute x from rows that have peaks.
bool takes_peaks(const Linear& linear, const RowSource& source, const Queue& queue);
/// Words of Linear::peaks that it gives a row; 0: it does not.
int64_t gives_peaks(const Linear& linear, const Queue& queue);
/// Whether it finds Linear::best, where it computes x from this.
bool gives_best(const Linear& linear, const RowSource& source, const Queue& queue);
void linear_prefill(const Linear& linear, const Queue& queue);
/// linear_prefill() of tiled rows, by warpgroups.
void linear_prefill_warpgroup(const Linear& linear, const Queue& queue);
/// Whether it does that.
constexpr bool takes_tiled_rows(int64_t k, int planes, Output output, const Queue& queue) {
  return queue.warpgroups && k <= max_tiled_k && (planes == 1 || output != Output::silu_mul);
}

/// Rows for fp16 weights: each is scale * (first term + second term), which leaves of fp32's 24
/// bits the upper 22.
struct HalfRows {
  uint16_t* values;  ///< two terms of [rows][stride], zero from k on
  float* scale;      ///< [rows], powers of two
  int64_t stride;    ///< values, at least half_stride(k)
  int64_t term;      ///< values from the first term to the second
};
void split_rows(const RowSource& source, const HalfRows& out, int64_t rows, const Queue& queue);

/// As Linear, for fp16 weights [16 n_tiles][half_stride(k)]; fp32 sums. A row's result does not
/// depend on the others.
struct LinearF16 {
  int64_t rows, k, n_tiles;
  const void* weight;
  const float* bias;  ///< [n] or null
  HalfRows x;
  float* out;
  int64_t out_stride;
  Output output;
  const float* scale;  ///< [n], times a channel's sums; null: 1
};
void linear_f16(const LinearF16& linear, const Queue& queue);

/// out channel c, at c * step of its row, += sum over j of t[j] up[c / 16][j][c % 16], fp32.
struct AddLowRank {
  int64_t rows, n, rank;
  const float* t;
  int64_t t_stride;
  const uint16_t* up;  ///< fp16
  float* out;
  int64_t out_stride, step;
};
void add_low_rank(const AddLowRank& add, const Queue& queue);

/// out = silu(gate) * up, as Output::silu_mul gives it.
struct SiluMul {
  int64_t rows, n;
  const float *gate, *up;
  int64_t stride, step;  ///< of both, from row to row and from channel to channel
  float* out;
  int64_t out_stride;
  bool exact = false;  ///< with the CPU's bits in place of Output::silu_mul's
};
void silu_mul_rows(const SiluMul& silu_mul, const Queue& queue);

/// packed (kernels/types.h) [padded_n(n) / 16][padded_k(k) / 4][16][4] to weight_word() order, as
/// channels first, first + step, ... of `weight`.
struct Repack {
  const void* packed;
  void* weight;
  int64_t n, k;
  int64_t first, step;
};
void repack(const Repack& repack, const Queue& queue);
/// The same for fp16 weights, which come as rows of k.
void repack_f16(const Repack& repack, const Queue& queue);

/// hidden = table[ids], and the rotary angles of the rows.
struct Embed {
  int64_t rows, k;
  bool grouped;
  const void* weight;
  const void* scale;
  const StepRow* step;
  float* hidden;
  int64_t stride;
  const float* frequencies;  ///< [chunks][half + 1]: inv_freq, then the attention factor
  float* angles;             ///< [rows][2][half]: cos, sin
  int64_t half;
  bool f16;  ///< fp16 weights, without scales
  /// What the step's kernels will gather (RowSource::peaks), cleared: a multiple of four words.
  uint32_t* peaks;
  int64_t peak_words;
};
void embed(const Embed& embed, const Queue& queue);

/// What attention's kernels share.
struct Heads {
  int64_t num_heads, num_kv_heads, head_dim;
  int64_t layer;
};

/// What the multiplication before attention left, which is not normalized and rotated yet:
/// q, k = RoPE(norm(q), norm(k)).
struct HeadRows {
  const float *q, *k, *v;
  int64_t stride;
  const float* angles;           ///< Embed::angles
  const float *q_norm, *k_norm;  ///< [head_dim] or null
  float eps;
};

/// Keys and values of the rows go to the caches as fp16. Rows that attention_split() attends, alone
/// in their sequence, need this not.
struct CacheRows {
  int64_t rows;
  Heads heads;
  const StepRow* step;
  HeadRows qkv;
};
void cache_rows(const CacheRows& cache, const Queue& queue);

/// The same for int8 caches, where keys and queries go through Hadamard blocks of the largest power
/// of two that divides head_dim, and all are quantized as kernels/types.h has it.
struct CacheRowsS8 {
  CacheRows rows;
  FiniteCheck check;  ///< of keys and values
  /// For attention_prefill_s8(): [rows][num_heads][head_dim] and [rows][num_heads]; or null, where
  /// it does not follow.
  int8_t* queries;
  float* query_scale;
};
void cache_rows_s8(const CacheRowsS8& cache, const Queue& queue);

/// Causal attention of each of `rows` rows, split by positions. A row's own key and value go to its
/// cache.
struct SplitAttention {
  int64_t rows;
  const int32_t* row_list;  ///< the rows, or null for 0, 1, 2, ...
  Heads heads;
  const StepRow* step;
  HeadRows qkv;
  float scale;
  int64_t splits;  ///< launched_splits() of the longest row
  /// [rows][kv heads][split_results(splits)][split_part_words], all missing_word before and after.
  uint32_t* partial;
  float* out;  ///< [..][num_heads * head_dim]
  int64_t out_stride;
  bool int8;          ///< the caches are, otherwise fp16
  FiniteCheck check;  ///< of what goes into an int8 cache
};
void attention_split(const SplitAttention& attention, const Queue& queue);

/// The first operations of a layer for row 0, alone in its sequence, as one kernel, before sm_80
/// (can_chain()). Copies and what attention gives to o are missing_word before, and again after.
struct ChainedLinear {
  Linear linear;
  RowSource source;
  float* copy = nullptr;        ///< of its outputs, for those that wait for them
  uint32_t* readers = nullptr;  ///< a word of its own, missing_word before and after
};
struct RowChain {
  ChainedLinear qkv;
  SplitAttention attention;    ///< of qkv.copy
  ChainedLinear following[2];  ///< o, of attention.out; gate and up, of o.copy
  int num_following;
};
void row_chain(const RowChain& chain, const Queue& queue);

/// Causal attention of tiles of query rows on the tensor cores, over fp16 caches that hold the
/// rows' own keys and values. Queries and softmax weights are rounded to fp16. head_dim: 32, 64 or
/// 128.
struct PrefillAttention {
  int64_t tiles;
  int64_t query_rows;  ///< of a tile: 64 or, where not by_warpgroups(), 128
  const AttentionTile* tile;
  Heads heads;
  const StepRow* step;
  HeadRows qkv;
  float scale;
  float* out;
  int64_t out_stride;
};
void attention_prefill(const PrefillAttention& attention, const Queue& queue);
/// Whether warpgroups do that.
constexpr bool by_warpgroups(int64_t head_dim, const Queue& queue) {
  return queue.warpgroups && head_dim >= 64;
}
/// The same over int8 caches, with the CPU's products of integers (kernels/types.h: Attention).
struct PrefillAttentionS8 {
  int64_t tiles;
  int64_t query_rows;
  const AttentionTile* tile;
  Heads heads;
  const StepRow* step;
  const int8_t* queries;  ///< CacheRowsS8::queries
  const float* query_scale;
  float scale;
  float* out;
  int64_t out_stride;
};
void attention_prefill_s8(const PrefillAttentionS8& attention, const Queue& queue);
constexpr bool has_prefill_attention(int64_t head_dim) {
  return head_dim == 32 || head_dim == 64 || head_dim == 128;
}
/// Causal attention with the CPU's bits, of tiles or of single rows, over caches that hold the
/// rows' own keys and values.
struct ExactAttention {
  int64_t count;              ///< of tiles, or of rows
  const AttentionTile* tile;  ///< exact_query_rows() of each; or null
  const int32_t* row_list;    ///< else the rows
  Heads heads;
  const StepRow* step;
  HeadRows qkv;
  const int8_t* queries;     ///< CacheRowsS8::queries of int8 caches; null: these are fp16
  const float* query_scale;  ///< with these
  float scale;
  int64_t spans;   ///< launched_spans() of the longest row of a list
  float* partial;  ///< for a list: exact_row_words() of each row
  float* out;
  int64_t out_stride;
};
void attention_exact(const ExactAttention& attention, const Queue& queue);

/// The `count` best of each row of logits: value down, then id up. count <= max_top.
struct Candidate {
  float logit;
  int32_t id;
};
inline constexpr int64_t max_top = 64;
/// Where the results of every other step go, so that a step may run while the host reads those of
/// the one before.
struct TopResults {
  Candidate* best;     ///< [rows][max_top]
  int32_t* first_bad;  ///< one transfer less behind a step
  float* weights;      ///< [rows]
};
struct Top {
  int64_t rows, vocab, stride;
  const float* logits;
  const uint32_t* left_out;  ///< a bit an id that is never among the best; or null
  int64_t count;
  /// [rows]: where they are above 0, and count above 1, results.weights = sum over all ids that are
  /// not left out of exp((logit - best) / temperature), with a relative error below
  /// weight_sum_error. Or null.
  const float* temperatures;
  uint64_t* partial;       ///< [rows][max_top][top_blocks]
  float* partial_weights;  ///< [rows][top_blocks]
  TopResults results[2];
  int32_t* turns;  ///< [rows]: which of the results are this step's
  int32_t* first_bad;
  /// [rows], which become those of the step that follows, each row's best id behind it; with them
  /// turns and first_bad. Or null.
  StepRow* step;
  uint64_t* best =
      nullptr;  ///< Linear::best, of one row and for a count of 1, 0 again after; or null
};
inline constexpr int top_blocks = 64;
void top(const Top& top, const Queue& queue);

/// The architecture whose code runs on the current device: 75, 90, ...; 0 if the binary holds none
/// for it.
int running_architecture();
/// Whether that code has products of warpgroups: it is for sm_90a.
bool running_warpgroups();

}  // namespace octet::kernels::cuda
