#pragma once
// Layouts and launch planning of the CUDA kernels: plain C++ that needs no CUDA to compile or test.
#include <cstdint>

#include "kernels/types.h"

namespace octet::kernels::cuda {

constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// Threads of the blocks that work on rows or on tiles of weights.
inline constexpr int block_threads = 256;
inline constexpr int block_warps = block_threads / 32;

/// Values of K that a warp multiplies at a time; K is padded to it with zeros.
inline constexpr int64_t chunk_k = 64;
constexpr int64_t num_chunks(int64_t k) {
  return ceil_div(k, chunk_k);
}
/// Bytes from row to row of quantized activations.
constexpr int64_t activation_stride(int64_t k) {
  return num_chunks(k) * chunk_k;
}

/// Weights on the device are stored as the A fragments of mma.m16n8k32 (PTX ISA, "Matrix fragments
/// for mma.m16n8k32"), so that a warp reads each fragment with one 16-byte load a lane:
///   [n / 16][k / 64][2 steps][32 lanes][4 registers] words of 4 bytes
/// Row r of a fragment is channel 2 (r % 8) + r / 8 of its 16, so that the two channels of a lane's
/// result are neighbours. A step multiplies 32 values of K; which 32 of the chunk is free, as long
/// as activations take the same: lane q of 4 has the chunk's values 16 q to 16 q + 15, so that one
/// 16-byte load gives a lane its activations for both steps.
/// Returns the word that holds channel n, values 4 c to 4 c + 3 of K.
constexpr int64_t weight_word(int64_t n, int64_t c, int64_t chunks) {
  const int64_t tile = n / 16, group = n % 16 / 2, upper_row = n % 2;
  const int64_t chunk = c / 16, q = c % 16 / 4, step = c / 2 % 2, upper_k = c % 2;
  const int64_t lane = 4 * group + q, reg = upper_row + 2 * upper_k;
  return ((tile * chunks + chunk) * 2 + step) * 128 + 4 * lane + reg;
}
constexpr int64_t weight_bytes(int64_t n, int64_t k) {
  return padded_n(n) * num_chunks(k) * chunk_k;
}

/// The kernels keep to what every architecture gives without being asked, but for prefill
/// multiplications from sm_80 on.
inline constexpr int64_t max_shared_bytes = 48 * 1024;

/// Values of the largest block of the Hadamard kernel.
inline constexpr int64_t max_hadamard = 8192;
static_assert(max_hadamard * sizeof(float) <= max_shared_bytes);

// --- matrix multiplication -------------------------------------------------------------------

/// Up to so many rows a multiplication streams the weights through registers, each read once for
/// all rows; above, tiles of weights and activations go through shared memory.
inline constexpr int64_t max_decode_rows = 32;
/// Up to so many rows a decode multiplication normalizes and quantizes its input itself, in each
/// block, instead of a kernel of its own: a launch costs more than the repeated work.
inline constexpr int64_t max_fused_rows = 2;

/// Blocks of a decode multiplication that share a multiprocessor.
inline constexpr int decode_blocks = 2;

struct DecodePlan {
  int tiles;    ///< of 16 channels that a block computes at a time: 1 or 2
  int columns;  ///< tiles of 8 rows: 1, 2 or 4
  int blocks;
  int64_t shared_bytes;
};

/// Places in shared memory for the warps' sums: with two, a warp may write its next while others
/// still read the last.
constexpr int decode_buffers(int tiles, int columns) {
  return tiles * columns <= 4 ? 2 : 1;
}

/// rows <= max_decode_rows; fused_k: k where the kernel quantizes its input itself, else 0.
constexpr DecodePlan plan_decode(int64_t rows, int64_t n_tiles, bool paired, int64_t fused_k,
                                 int64_t multiprocessors) {
  DecodePlan plan{};
  plan.columns = rows <= 8 ? 1 : rows <= 16 ? 2 : 4;
  // Two tiles share the activations that a warp loads; one where there are few.
  plan.tiles = paired || n_tiles >= 4 * multiprocessors ? 2 : 1;
  const int64_t groups = ceil_div(n_tiles, plan.tiles);
  const int64_t resident = multiprocessors * decode_blocks;
  plan.blocks = static_cast<int>(groups < resident ? groups : resident);
  plan.shared_bytes = int64_t{decode_buffers(plan.tiles, plan.columns)} * block_warps * plan.tiles *
                      plan.columns * 512;
  if (fused_k > 0)
    plan.shared_bytes += rows * (activation_stride(fused_k) + 4 * num_groups(fused_k));
  return plan;
}
/// Whether a decode multiplication can quantize its own input.
constexpr bool can_fuse(int64_t rows, int64_t k) {
  return rows <= max_fused_rows && rows * (activation_stride(k) + 4 * num_groups(k)) <= 24 * 1024;
}

struct PrefillPlan {
  bool large;  ///< tiles of 128 channels x 128 rows, else 64 x 64
  int row_tiles, channel_tiles;
};
constexpr PrefillPlan plan_prefill(int64_t rows, int64_t n_tiles, int64_t multiprocessors) {
  const auto tiles = [&](int64_t side) {
    return ceil_div(rows, side) * ceil_div(n_tiles, side / 16);
  };
  const bool large = tiles(128) >= multiprocessors;
  const int64_t side = large ? 128 : 64;
  return {large, static_cast<int>(ceil_div(rows, side)),
          static_cast<int>(ceil_div(n_tiles, side / 16))};
}
/// Steps of the ring through which a prefill multiplication loads its operands.
constexpr int prefill_stages(int architecture) {
  return architecture >= 80 ? 4 : 3;
}
constexpr int64_t prefill_stage_bytes(int64_t channels, int64_t rows) {
  return (channels + rows) * chunk_k;
}
static_assert(prefill_stages(75) * prefill_stage_bytes(128, 128) <= max_shared_bytes);
// Two blocks of threads on an Orin (164 KB a multiprocessor).
static_assert(2 * prefill_stages(80) * prefill_stage_bytes(128, 128) <= 160 * 1024);

// --- attention -------------------------------------------------------------------------------

inline constexpr int64_t max_head_dim = 128;
/// Query heads of one kv head.
inline constexpr int64_t max_head_group = 8;

/// Chunks of up to so many rows are attended row by row, split by positions: a row's result is then
/// the same bits alone and beside guesses of prompt lookup.
inline constexpr int64_t max_split_rows = 16;
inline constexpr int split_threads = 128;
/// Splits of a row, at most: more would cost more to merge than they save.
inline constexpr int64_t max_splits = 64;
/// Cache blocks of one split of a row that attends to so many positions.
constexpr int64_t split_blocks(int64_t positions) {
  return ceil_div(ceil_div(positions, kv_block), max_splits);
}
constexpr int64_t num_splits(int64_t positions) {
  return ceil_div(ceil_div(positions, kv_block), split_blocks(positions));
}
/// Splits to launch for rows of up to so many positions: a power of two, so that few graphs do for
/// all lengths. Blocks behind a row's splits leave at once.
constexpr int64_t launched_splits(int64_t positions) {
  int64_t splits = 1;
  while (splits < max_splits && splits * kv_block < positions) splits *= 2;
  return splits;
}
/// Floats of one head in the partial result of a split: values, maximum, sum, and two unused, which
/// keep the values aligned to 16 bytes.
constexpr int64_t split_row(int64_t head_dim) {
  return head_dim + 4;
}
/// Eight floats a thread and head; queries; weights of the positions; three values a head.
constexpr int64_t split_shared_bytes(int64_t group, int64_t head_dim) {
  return 4 * group * (8 * split_threads + head_dim + kv_block + 3);
}
static_assert(max_splits <= 8 * split_threads);

/// Query rows (tokens x heads of a kv head) of a block of threads in prefill attention.
inline constexpr int64_t prefill_query_rows = 128;

}  // namespace octet::kernels::cuda
