#pragma once
// Layouts and launch planning of the CUDA kernels: plain C++ that needs no CUDA to compile or test.
#include <cstddef>
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

/// Activations for products of warpgroups lie in tiles, each of which a bulk copy brings as they
/// read it: [planes][rows / tiled_rows][k / tiled_k][tiled_rows][tiled_k] bytes, zero from k on.
/// With groups, a tile has one of each row.
inline constexpr int tiled_rows = 128, tiled_k = 128;
static_assert(tiled_k == group_size);
constexpr int64_t tiled_stride(int64_t k) {
  return ceil_div(k, tiled_k) * tiled_k;
}
/// Where values 4 c to 4 c + 3 of a row lie in its tiled_k bytes, in words: of each chunk in the
/// order in which weights have it (weight_word()), in pieces of 16 bytes that are swizzled as
/// SwizzledRows are.
constexpr int tiled_place(int row, int c) {
  const int chunk = c / 16, q = c % 16 / 4, step = c / 2 % 2, upper_k = c % 2;
  return ((4 * chunk + 2 * step + upper_k) ^ row % 8) * 4 + q;
}
/// The word that holds values 4 c to 4 c + 3 of a row of k.
constexpr int64_t tiled_word(int64_t row, int64_t c, int64_t k) {
  constexpr int words = tiled_k / 4;
  const int64_t tile = row / tiled_rows * (tiled_stride(k) / tiled_k) + c / words;
  return (tile * tiled_rows + row % tiled_rows) * words +
         tiled_place(static_cast<int>(row % 8), static_cast<int>(c % words));
}
/// Bytes of so many tiled rows, of one plane.
constexpr int64_t tiled_bytes(int64_t rows, int64_t k) {
  return ceil_div(rows, tiled_rows) * tiled_rows * tiled_stride(k);
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
/// Kernels copy units of up to three chunks, and may go past the last by two.
constexpr int64_t weight_bytes(int64_t n, int64_t k) {
  return padded_n(n) * num_chunks(k) * chunk_k + 2 * 16 * chunk_k;
}

/// The kernels keep to what every architecture gives without being asked, but for prefill
/// multiplications from sm_80 on.
inline constexpr int64_t max_shared_bytes = 48 * 1024;

/// Values of the largest block of the Hadamard kernel.
inline constexpr int64_t max_hadamard = 8192;
static_assert(max_hadamard * sizeof(float) <= max_shared_bytes);

/// Shared memory to ask for, `needed` at least, so that so many blocks spread over all
/// multiprocessors. Left alone, an H100 fills some with blocks and leaves others idle: 192 blocks
/// of the multiplication behind attention took 63 us, spread 41. Before sm_80 blocks keep to what
/// they need.
constexpr int64_t spread_bytes(int64_t needed, int64_t blocks, int architecture,
                               int64_t multiprocessors, int64_t shared_limit) {
  if (architecture < 80) return needed;
  // A multiprocessor has 1 KB more than a block can ask for, and each block takes 1 KB more.
  const int64_t spread =
      (shared_limit + 1024) / ceil_div(blocks, multiprocessors) / 1024 * 1024 - 1024;
  return spread > needed ? spread : needed;
}

// --- matrix multiplication -------------------------------------------------------------------

/// Up to so many rows, counted for each plane, a multiplication streams the weights past the
/// tensor cores, each read once for all rows; above, tiles of weights and activations go through
/// shared memory.
inline constexpr int64_t max_decode_rows = 32;
/// Values of the longest row that a block quantizes in registers.
inline constexpr int64_t max_row_k = 10 * 4 * block_threads;
/// Whether rows of k values are rotated while they are quantized: where a block of threads holds
/// them in registers, and few of its warps a Hadamard block.
inline constexpr int64_t max_fused_hadamard = 512;
constexpr bool can_rotate(int64_t k, int64_t hadamard) {
  return hadamard == 1 || (k <= max_row_k && hadamard <= max_fused_hadamard);
}
/// The same in few registers.
inline constexpr int64_t short_row_k = 2 * 4 * block_threads;
/// Shared memory of the kernels that quantize, besides what they ask for.
inline constexpr int64_t quantize_shared_bytes = 128;
/// Shared memory through which the warps of a block exchange a row that they rotate.
constexpr int64_t exchange_bytes(int threads) {
  return 2 * 16 * threads;
}
/// They do for blocks of the Hadamard matrix of more values.
inline constexpr int exchanged_hadamard = 256;
/// Whether a decode multiplication normalizes and quantizes its input itself, in each block,
/// instead of a kernel of its own: a launch costs more than the repeated work for one row that
/// registers hold. For two rows or more it does not: batches of 2 and 8 got 26 and 32 % faster
/// (H100) when they went to a kernel of their own.
constexpr bool can_fuse(int64_t rows, int64_t k) {
  return rows == 1 && k <= max_row_k;
}

/// Of up to so many rows the largest magnitudes may be known from the kernels that made them: then
/// each warp of a multiplication can quantize what it multiplies, without a kernel before it.
inline constexpr int64_t max_peak_rows = 8;
/// Places for a row's, as atomics at one place wait for each other: the largest is the row's.
inline constexpr int peak_places = 16;
/// One row's come from teams: each block has 16 bytes, of each team a word, that are written anew.
inline constexpr int team_peak_words = 4;

/// Bytes from row to row of activations in shared memory: an odd multiple of 64, so that
/// neighbouring rows lie in different banks.
constexpr int64_t staged_stride(int64_t k) {
  return activation_stride(k) | chunk_k;
}

/// In place of DecodePlan::ahead: a warp of its own copies stages in bulk (sm_90).
inline constexpr int by_bulk_copies = 0;
/// The same, and each stage is a whole tile, which two warps multiply alone.
inline constexpr int tile_a_pair = -1;
/// The same of whole tiles, one row's: teams of warps have them in turns.
inline constexpr int by_teams = -2;
inline constexpr int row_teams = 3, team_warps = 5;
inline constexpr int team_threads = 32 * team_warps;
static_assert(row_teams * team_threads >= block_threads);  // which quantize the row
/// Chunks of a tile that a warp of a team multiplies.
inline constexpr int team_chunks = 5;
/// One row with groups (sm_90): each warp has its chunks of the block's only tile in registers.
inline constexpr int tile_a_block = -3;
/// The same: each thread has the next unit in registers (sm_75).
inline constexpr int in_registers = 1;
constexpr int decode_threads(int ahead) {
  if (ahead == tile_a_block) return block_threads;
  if (ahead == by_teams) return row_teams * team_threads + 32;
  return ahead <= by_bulk_copies ? block_threads + 32 : block_threads;
}
/// Bytes of a chunk of a tile.
inline constexpr int chunk_bytes = 16 * chunk_k;
/// A stage of the ring that bulk copies fill: a unit for each warp. It has two barriers.
constexpr int decode_stage_bytes(int unit_chunks) {
  return block_warps * unit_chunks * chunk_bytes;
}
inline constexpr int stage_barrier_bytes = 2 * 8;
constexpr int decode_stages(int ring_bytes, int unit_chunks) {
  return ring_bytes / (decode_stage_bytes(unit_chunks) + stage_barrier_bytes);
}

/// From sm_90 on clusters of so many blocks share out a long row: each quantizes a slice of it and
/// multiplies that slice of the weights of as many tiles at most, of which it has the sums of one.
inline constexpr int row_slices = 4;
/// Chunks of a slice (of the last one, at most); they are a multiple of `multiple`.
constexpr int64_t slice_chunks(int64_t k, int64_t multiple) {
  return ceil_div(ceil_div(num_chunks(k), row_slices), multiple) * multiple;
}
/// Values of the longest slice that a block quantizes in registers.
inline constexpr int64_t max_slice_k = 4 * 4 * block_threads;
/// What the blocks of a cluster send to each other: largest magnitudes of two planes, and sums of a
/// tile, with a barrier for each.
struct alignas(16) SliceExchange {
  float absmax[2][row_slices];
  int32_t sums[row_slices][32];
  uint64_t barriers[3];
};
/// The same for `columns` of 8 rows that are quantized already.
template <int columns>
struct alignas(16) RowsExchange {
  int32_t sums[row_slices][columns * 128];
  uint64_t barrier;
};
constexpr int64_t slice_exchange_bytes(int columns, bool fused) {
  return fused          ? sizeof(SliceExchange)
         : columns == 1 ? sizeof(RowsExchange<1>)
         : columns == 2 ? sizeof(RowsExchange<2>)
                        : sizeof(RowsExchange<4>);
}

/// What a decode multiplication does with its input.
struct DecodeInput {
  bool fused;             ///< each block normalizes and quantizes it
  int64_t slices_of = 0;  ///< it may be cut into slices of a multiple of so many chunks; 0: may not
  bool attended = false;  ///< what follows may be attention, of which blocks are to find room
  bool peaked = false;    ///< its largest magnitudes are known; of several rows, each warp
                          ///< quantizes what it multiplies (can_take_peaks())
  bool before_met_peaks = false;  ///< what follows may be slices whose blocks tell each other peaks
};

/// With so many columns at most, a warp has room for the activations of a unit in registers: where
/// it reads none twice, they need not go through shared memory (docs/performance/cuda.md).
inline constexpr int max_columns_ahead = 2;

struct DecodePlan {
  int slices;       ///< 1 or row_slices
  int columns;      ///< tiles of 8 rows: 1, 2 or 4
  int unit_chunks;  ///< chunks that a warp takes at a time: 2 or 3
  int ahead;        ///< units that a warp has on their way, or by_bulk_copies
  int in_flight;    ///< stages on their way
  int early;        ///< the same, before the input is there
  int blocks;
  bool staged;  ///< the activations lie in shared memory: the block made them or reads them again
  int ring_bytes;
  int constant_tiles;  ///< whose constants are on their way or in use
  int64_t shared_bytes;
};

/// Places in shared memory for the warps' sums: with two, a warp may write its next while others
/// still read the last.
constexpr int decode_buffers(int columns) {
  return columns < 4 ? 2 : 1;
}
constexpr int64_t decode_sum_bytes(int columns) {
  return int64_t{decode_buffers(columns)} * block_warps * columns * 512;
}
/// Pairs of warps exchange half of theirs.
constexpr int64_t decode_sum_bytes(int columns, int ahead) {
  return ahead == tile_a_pair ? int64_t{block_warps} * columns * 256 : decode_sum_bytes(columns);
}

/// Stages of a tile of k values, a unit for each warp, and the bytes of a row of these.
constexpr int64_t row_stages(int64_t k, int unit_chunks, int warps = block_warps) {
  return ceil_div(num_chunks(k), warps * unit_chunks);
}
constexpr int64_t row_bytes(int64_t k, int unit_chunks, int warps = block_warps) {
  return row_stages(k, unit_chunks, warps) * warps * unit_chunks * chunk_k;
}

/// Tiles of a turn of one row, whose sums the warps share behind one barrier.
inline constexpr int row_turn = 4;

/// Copies that bring a tile, of which a stage of a team's ring has a barrier each, and one more.
inline constexpr int team_pieces = 2;
constexpr int64_t team_ring_bytes(int64_t stages, int64_t tile_bytes) {
  return stages * tile_bytes + ceil_div(stages * (team_pieces + 1) * 8, 16) * 16;
}
/// Pieces on their way before the input is there: with two, the last tiles come late; with four,
/// others read more slowly, those most that wait for each other (docs/performance/cuda.md).
constexpr int early_team_pieces(bool before_met_peaks) {
  return before_met_peaks ? 2 : 3;
}

/// The sums of one row's groups are columns of mma's result, to which the values of a chunk go by
/// its group: of chunk c of a warp that begins with the second half of a group (odd: 1) or not.
constexpr int column_of_chunk(int c, int odd) {
  return (c + odd) / 2;
}

/// Tiles of a turn of a team, an output a lane of one of its warps.
inline constexpr int team_turn = 2;
/// A warp's sums of a tile: of two rows, or of up to four groups.
constexpr int warp_sum_words(bool grouped) {
  return grouped ? 64 : 32;
}
static_assert(column_of_chunk(team_chunks - 1, 1) < 4);
/// The warps' sums of two turns, or, before, the norm's weights, eight values a thread, where they
/// exchange the row while it is rotated; the row, zero behind its end, with its scales.
constexpr int team_sum_bytes(bool grouped) {
  const int sums = row_teams * 2 * team_turn * team_warps * warp_sum_words(grouped) * 4;
  return sums > exchange_bytes(block_threads) ? sums
                                              : static_cast<int>(exchange_bytes(block_threads));
}
inline constexpr int team_row_bytes = team_warps * team_chunks * chunk_k;
inline constexpr int max_team_groups = (team_warps * team_chunks + 1) / 2;
constexpr int team_row_scale_bytes(bool grouped) {
  return grouped ? 16 * static_cast<int>(ceil_div(4 * max_team_groups, 16)) : 16;
}
/// All teams but the last quantize a slice, eight values a thread.
inline constexpr int slice_row_threads = (row_teams - 1) * team_threads;
/// Chunks of a slice's tile that a warp has in registers: of the last team, which has nothing of
/// the row there, more. The others lie in shared memory.
constexpr int warp_register_chunks(int team) {
  return team < row_teams - 1 ? 3 : 4;
}
constexpr int64_t slice_stage_chunks(int64_t slice_chunks, int team) {
  return slice_chunks - team_warps * warp_register_chunks(team);
}
/// The same with groups: a warp has two whole ones in registers and two in shared memory.
inline constexpr int grouped_warp_chunks = 4;
constexpr int64_t grouped_stage_chunks(int64_t slice_chunks, int /*team*/ = 0) {
  return slice_chunks - team_warps * grouped_warp_chunks;
}
inline constexpr int64_t grouped_row_bytes = 2 * grouped_warp_chunks * team_warps * chunk_k;
inline constexpr int64_t grouped_row_scale_bytes = grouped_row_bytes / group_size * 4;
static_assert(slice_row_threads * 8 >= grouped_row_bytes && grouped_row_scale_bytes % 16 == 0);
/// A group of a tile: 16 channels' sums, and the scales of these.
inline constexpr int64_t sliced_group_bytes = 16 * 2 * 4;
/// Words that blocks leave for the last one of a tile, of all slices but its own.
constexpr int64_t sliced_group_words(int64_t n_tiles, int64_t slice_chunks) {
  return n_tiles * (row_slices - 1) * (slice_chunks / 2) * (sliced_group_bytes / 4);
}
/// Of both together; or one more.
inline constexpr int min_slice_warp_chunks = 7;
static_assert(slice_row_threads * 8 >= (min_slice_warp_chunks + 1) * team_warps * chunk_k);
/// From place to place, in words, where blocks that have slices of the same tiles tell each other
/// largest magnitudes: a line.
inline constexpr int slice_peak_stride = 32;
static_assert(row_slices == 4);
/// Words of Linear::slice_sums.
constexpr int64_t slice_sum_words(int64_t n_tiles, int64_t multiprocessors) {
  return n_tiles * 16 + ceil_div(multiprocessors, row_slices) * slice_peak_stride / 2;
}

/// Scales of a tile and plane, and biases of a tile.
constexpr int64_t tile_scale_bytes(int64_t k, bool grouped) {
  return grouped ? 16 * 2 * num_groups(k) : 16 * 4;
}
inline constexpr int tile_bias_bytes = 16 * 4;
constexpr int64_t team_constant_bytes(int64_t k, bool grouped) {
  return tile_scale_bytes(k, grouped) + tile_bias_bytes;
}
/// Tiles whose constants are on their way or in use, where each warp is up to so many chunks ahead.
/// The first warp has at least so many chunks of a tile as are divided by.
constexpr int constant_tiles(int64_t k, int chunks_ahead) {
  const int64_t least = num_chunks(k) / block_warps - 1;
  return static_cast<int>(ceil_div(chunks_ahead, least > 1 ? least : 1)) + 2;
}

/// Chunks of a warp's share of a tile, where it takes so many at a time.
constexpr int64_t warp_chunks(int64_t k, int unit_chunks) {
  return ceil_div(ceil_div(num_chunks(k), unit_chunks), block_warps) * unit_chunks;
}

/// Blocks with more tiles than so many (the head's) each have a multiprocessor of their own. Those
/// of a layer must not: a block of the next multiplication finds room beside them.
inline constexpr int64_t min_alone_tiles = 16;
/// More than half of a multiprocessor's shared memory, which is 1 KB more than a block can ask for,
/// with 1 KB for each block.
constexpr int64_t alone_bytes(int64_t shared_limit) {
  return (shared_limit + 1024) / 2 - 1024 + 128;
}

/// More than a third of it: only one such block finds room beside one of down.
constexpr int64_t spread_apart_bytes(int64_t shared_limit) {
  return (shared_limit + 1024) / 3 - 1024 + 128;
}
/// One row's q, k, v: so much that two find no room beside a block of down, which has few bytes,
/// and little enough for one of attention. o: so much that two find none beside one of these, and
/// little enough for one of gate and up.
constexpr int64_t row_apart_bytes(bool is_o, int64_t shared_limit) {
  const int64_t all = shared_limit + 1024, qkv = all * 37 / 100 / 128 * 128;
  return (is_o ? (all - qkv) / 2 / 128 * 128 + 128 : qkv) - 1024 - quantize_shared_bytes;
}

/// Of a ring that bulk copies fill, at most. Multiplications of long rows, down's, come in turns
/// with those of short ones: blocks of both find room on a multiprocessor.
constexpr int64_t max_ring_bytes(int64_t k) {
  return (k > short_row_k ? 72 : 120) * 1024;
}
static_assert(max_ring_bytes(1) / decode_stage_bytes(3) <= block_warps);
/// The same of teams, whose registers have row_teams tiles more: gate and up's nine are all there
/// before the input, and a block of down finds room. With groups in a layer, whose sums and scales
/// take more, one tile less.
constexpr int64_t max_team_ring_bytes(bool grouped_layer) {
  return (grouped_layer ? 120 : 144) * 1024;
}
/// Of that on its way: enough to keep the memory busy, and little enough that it answers others
/// soon (docs/performance/cuda.md). One row is multiplied faster.
inline constexpr int64_t max_in_flight_bytes = 48 * 1024, row_in_flight_bytes = 72 * 1024;

/// The same while a kernel that normalizes and quantizes its own input has yet to wait for it: its
/// weights are in no hurry then, and what the kernels before still read is.
inline constexpr int64_t early_in_flight_bytes = 24 * 1024;

/// Whether teams of warps have the tiles of one row in turns: where each has two at least, of as
/// many chunks as its warps have.
constexpr bool can_work_in_teams(bool fused, int64_t tiles, int64_t k, int planes) {
  return fused && tiles >= 2 * row_teams && ceil_div(num_chunks(k), team_warps) == team_chunks &&
         planes == 1;
}

/// Whether a block of one row with groups has one tile, of which its warps have all in registers,
/// two groups each at most.
inline constexpr int max_tile_chunks = 4;
constexpr bool can_hold_tile(bool fused, int64_t tiles, int64_t k, int planes, bool grouped) {
  return fused && grouped && tiles == 1 && planes == 1 &&
         num_chunks(k) <= block_warps * max_tile_chunks;
}
/// Chunks of a warp: 2 to max_tile_chunks.
constexpr int tile_chunks(int64_t k) {
  const auto chunks = static_cast<int>(ceil_div(num_chunks(k), block_warps));
  return chunks < 2 ? 2 : chunks;
}
static_assert(column_of_chunk(max_tile_chunks - 1, 0) < 2 && column_of_chunk(3 - 1, 1) < 2);

/// The same of slices of a row that needs no norm and is not exchanged while it is rotated: where
/// each has one at most, of which registers and shared memory have all chunks.
constexpr bool can_slice_for_teams(const DecodeInput& input, int64_t tiles, int64_t k, int planes) {
  const int64_t chunks = slice_chunks(k, input.slices_of),
                last = num_chunks(k) - (row_slices - 1) * chunks;
  return input.fused && tiles <= row_teams && planes == 1 &&
         slice_stage_chunks(last, row_teams - 1) > 0 &&
         input.slices_of * chunk_k <= exchanged_hadamard &&
         chunks > (min_slice_warp_chunks - 1) * team_warps &&
         chunks <= (min_slice_warp_chunks + 1) * team_warps;
}

/// The same with groups, of which each is in one slice. What the last block of a tile collects has
/// the place of its weights.
constexpr bool can_slice_groups(const DecodeInput& input, int64_t tiles, int64_t k, int planes) {
  const int64_t chunks = slice_chunks(k, input.slices_of),
                last = num_chunks(k) - (row_slices - 1) * chunks;
  return input.fused && tiles <= row_teams && planes == 1 && k % group_size == 0 &&
         input.slices_of % 2 == 0 && input.slices_of * chunk_k <= exchanged_hadamard &&
         grouped_stage_chunks(last) > 0 && chunks <= 2 * grouped_warp_chunks * team_warps &&
         grouped_stage_chunks(chunks) * chunk_bytes >= num_groups(k) * sliced_group_bytes;
}

/// Whether pairs of warps of a block have tiles of their own, each a stage, and wait for none of
/// the others: where there are many.
constexpr bool can_work_apart(bool fused, int64_t tiles, int64_t k, int planes, bool grouped) {
  return !fused && tiles >= block_warps && num_chunks(k) <= 3 * block_warps && planes == 1 &&
         !grouped;
}
static_assert(max_ring_bytes(1) / (decode_stage_bytes(3) + stage_barrier_bytes) >= block_warps / 2);

/// Fills in what brings the weights of `tiles` tiles a block, of k values in rings for rows of
/// `row_k`. hurried: the input is waited for with few stages on their way.
constexpr void plan_ring(DecodePlan& plan, int64_t tiles, int64_t k, int64_t row_k, int planes,
                         bool grouped, bool hurried, int architecture, bool large) {
  plan.unit_chunks = grouped || warp_chunks(k, 2) < warp_chunks(k, 3) ? 2 : 3;
  if (architecture >= 90) {
    plan.ahead = can_work_apart(hurried, tiles, k, planes, grouped) ? tile_a_pair : by_bulk_copies;
    if (plan.ahead == tile_a_pair) plan.unit_chunks = 3;
    const int64_t stage = decode_stage_bytes(plan.unit_chunks);
    const int64_t of_tile = ceil_div(num_chunks(k), block_warps * plan.unit_chunks);
    const int64_t all = tiles * of_tile, most = max_ring_bytes(row_k) / stage;
    const int64_t stages = all < most ? all : most;
    plan.in_flight =
        static_cast<int>((hurried ? row_in_flight_bytes : max_in_flight_bytes) / stage);
    if (plan.in_flight > stages) plan.in_flight = static_cast<int>(stages);
    plan.early = hurried ? static_cast<int>(early_in_flight_bytes / stage) : plan.in_flight;
    plan.ring_bytes = static_cast<int>(stages * (stage + stage_barrier_bytes));
    // A tile's last stage may be filled again before the tile's sums are multiplied by scales:
    // those of a turn of one row wait for its last tile, and the turn before may not have ended.
    const int64_t held = ceil_div(stages, of_tile) + (hurried ? 2 * row_turn : 1);
    plan.constant_tiles = static_cast<int>(held < tiles ? held : tiles);
    return;
  }
  plan.ahead = architecture < 80 ? in_registers : large ? 12 / plan.unit_chunks : 2;
  plan.constant_tiles = constant_tiles(k, plan.unit_chunks * plan.ahead);
  if (plan.ahead == in_registers) return;
  const int64_t units = tiles * (warp_chunks(k, plan.unit_chunks) / plan.unit_chunks);
  plan.ring_bytes = static_cast<int>((units < plan.ahead ? units : plan.ahead) *
                                     decode_stage_bytes(plan.unit_chunks));
}

/// Units of a tile of which a warp has the activations in registers, where it quantizes them.
inline constexpr int max_peaked_units = 2;
constexpr bool has_few_units(int64_t k, int unit_chunks) {
  return warp_chunks(k, unit_chunks) <= max_peaked_units * unit_chunks;
}

/// Whether clusters, of `resident` blocks together, have each a tile for each of their blocks at
/// most, of a row that they quantize, of rows that their warps quantize or of more than 8 rows.
/// (Up to 8 that are quantized, whole rows are as fast.)
constexpr bool can_slice(int columns, int64_t n_tiles, int64_t k, int planes, bool grouped,
                         const DecodeInput& input, int64_t resident) {
  if (input.slices_of == 0 || k <= short_row_k || resident < row_slices) return false;
  const int64_t chunks = slice_chunks(k, input.slices_of);
  if (grouped) return can_slice_groups(input, ceil_div(n_tiles, resident / row_slices), k, planes);
  return (input.fused    ? chunks * chunk_k <= max_slice_k
          : input.peaked ? has_few_units(chunks * chunk_k, 3)
                         : columns > 1) &&
         (row_slices - 1) * chunks < num_chunks(k) &&
         ceil_div(n_tiles, resident / row_slices) <= row_slices;
}

/// Blocks of a multiplication on each multiprocessor. On sm_75 shared memory and registers have
/// room for three where a block has few rows: as many as leave the busiest multiprocessor the
/// least.
constexpr int64_t resident_blocks(int64_t n_tiles, bool few_registers, int architecture,
                                  int64_t multiprocessors) {
  const auto busiest = [&](int64_t blocks) {
    return blocks * ceil_div(n_tiles, blocks * multiprocessors);
  };
  return architecture < 80 && few_registers && busiest(3) < busiest(2) ? 3 : 2;
}

/// Blocks, or clusters that have slices, that share out the tiles.
constexpr int64_t num_sharers(const DecodePlan& plan, int64_t n_tiles, int64_t resident,
                              const DecodeInput& input) {
  const int64_t most = resident / plan.slices;
  // Attention's blocks find no registers beside those that have many rows: one finds a
  // multiprocessor.
  if (input.attended && plan.columns > 1 && n_tiles <= most && 2 * n_tiles > most)
    return ceil_div(n_tiles, 2);
  // Clusters of blocks that fill a multiprocessor do not find room on all of them.
  if (plan.slices > 1 && plan.columns > 1) return ceil_div(n_tiles, row_slices);
  return n_tiles < most ? n_tiles : most;
}

/// A plan for teams, `tiles` of which a block has at most. More on its way could end a stage's
/// phase before the last one (TeamFeed).
constexpr DecodePlan plan_teams(int64_t n_tiles, int64_t tiles, int64_t k, bool grouped,
                                bool before_met_peaks, int64_t shared_limit) {
  const int64_t stage = num_chunks(k) * chunk_bytes,
                most = max_team_ring_bytes(grouped && tiles <= min_alone_tiles) / stage;
  const int64_t stages = tiles < most ? tiles : most, spare = stages - row_teams,
                in_flight = row_in_flight_bytes / stage;
  DecodePlan plan{};
  plan.slices = plan.columns = 1;
  plan.unit_chunks = team_chunks;
  plan.ahead = by_teams;
  plan.in_flight = static_cast<int>(in_flight < spare ? in_flight : spare) * team_pieces;
  plan.early = early_team_pieces(before_met_peaks);
  plan.blocks = static_cast<int>(ceil_div(n_tiles, tiles));
  plan.staged = true;
  plan.ring_bytes = static_cast<int>(team_ring_bytes(stages, stage));
  plan.constant_tiles = static_cast<int>(tiles);
  plan.shared_bytes = plan.ring_bytes + team_sum_bytes(grouped) + team_row_bytes +
                      team_row_scale_bytes(grouped) + tiles * team_constant_bytes(k, grouped);
  if (n_tiles > min_alone_tiles * plan.blocks && plan.shared_bytes < alone_bytes(shared_limit))
    plan.shared_bytes = alone_bytes(shared_limit);
  return plan;
}

/// The rest of a plan for slices of so many chunks.
constexpr void plan_slices_for_teams(DecodePlan& plan, int64_t chunks) {
  int64_t in_memory = 0;
  for (int team = 0; team < row_teams; ++team) in_memory += slice_stage_chunks(chunks, team);
  plan.unit_chunks = static_cast<int>(ceil_div(chunks, team_warps));
  plan.ahead = by_teams;
  plan.in_flight = row_teams;
  // All blocks begin early enough, and gate and up's last tiles come first.
  plan.early = 1;
  plan.staged = true;
  plan.ring_bytes = static_cast<int>(in_memory * chunk_bytes);
  plan.shared_bytes =
      plan.ring_bytes + row_teams * team_warps * 128 + plan.unit_chunks * team_warps * chunk_k + 16;
}

/// The same where warps hold the block's only tile: the row's exchange while it is rotated and then
/// the sums and scales of groups, the row, and its scales.
constexpr void plan_held_tile(DecodePlan& plan, int64_t k, int64_t apart_bytes) {
  plan.unit_chunks = tile_chunks(k);
  plan.ahead = tile_a_block;
  plan.staged = true;
  const int64_t row = block_warps * plan.unit_chunks * chunk_k;
  plan.shared_bytes = exchange_bytes(block_threads) + row + row / group_size * 4;
  if (plan.shared_bytes < apart_bytes) plan.shared_bytes = apart_bytes;
}

/// The same of slices with groups.
constexpr void plan_grouped_slices(DecodePlan& plan, int64_t chunks) {
  plan.unit_chunks = grouped_warp_chunks;
  plan.ahead = by_teams;
  plan.in_flight = row_teams;
  plan.early = 1;
  plan.staged = true;
  plan.ring_bytes = static_cast<int>(row_teams * grouped_stage_chunks(chunks) * chunk_bytes);
  plan.shared_bytes = plan.ring_bytes + grouped_row_bytes + grouped_row_scale_bytes +
                      row_teams * tile_scale_bytes(chunks * chunk_k, true);
}

/// rows times planes: at most max_decode_rows. Weights do not depend on the kernels before, so what
/// is on its way while those still run costs no time: from sm_80 on much of it, in one block a
/// multiprocessor, so that blocks of the next kernels find room beside it. sm_75 copies through
/// registers: little at a time, in more blocks.
constexpr DecodePlan plan_decode(int64_t rows, int planes, int64_t n_tiles, int64_t k, bool grouped,
                                 const DecodeInput& input, int architecture,
                                 int64_t multiprocessors, int64_t shared_limit) {
  DecodePlan plan{};
  const int64_t all_rows = rows * planes;
  plan.columns = all_rows <= 8 ? 1 : all_rows <= 16 ? 2 : 4;
  const bool large = architecture >= 80 && shared_limit >= 160 * 1024;
  const bool few_registers = plan.columns == 1 && !(input.fused && k > short_row_k);
  const int64_t resident =
      multiprocessors *
      (large ? 1 : resident_blocks(n_tiles, few_registers, architecture, multiprocessors));
  const bool sliced =
      architecture >= 90 && can_slice(plan.columns, n_tiles, k, planes, grouped, input, resident);
  plan.slices = sliced ? row_slices : 1;
  const int64_t block_k = sliced ? slice_chunks(k, input.slices_of) * chunk_k : k;
  const int64_t sharers = num_sharers(plan, n_tiles, resident, input);
  const int64_t tiles = ceil_div(n_tiles, sharers);
  plan.blocks = static_cast<int>((sliced ? ceil_div(n_tiles, tiles) : sharers) * plan.slices);
  if (sliced && grouped) {
    plan_grouped_slices(plan, num_chunks(block_k));
    return plan;
  }
  if (sliced && can_slice_for_teams(input, tiles, k, planes)) {
    plan_slices_for_teams(plan, num_chunks(block_k));
    return plan;
  }
  if (large && architecture >= 90 && can_work_in_teams(input.fused, tiles, k, planes)) {
    const DecodePlan teams =
        plan_teams(n_tiles, tiles, k, grouped, input.before_met_peaks, shared_limit);
    if (teams.shared_bytes + quantize_shared_bytes <= shared_limit) return teams;
  }
  if (large && architecture >= 90 && can_hold_tile(input.fused, tiles, k, planes, grouped)) {
    plan_held_tile(plan, k, row_apart_bytes(!input.attended, shared_limit));
    return plan;
  }
  plan_ring(plan, tiles, block_k, k, planes, grouped, input.fused && !grouped, architecture, large);
  if (sliced) plan.constant_tiles = row_slices;
  plan.shared_bytes =
      plan.ring_bytes + decode_sum_bytes(plan.columns, plan.ahead) +
      plan.constant_tiles * (planes * tile_scale_bytes(k, grouped) + tile_bias_bytes) +
      (sliced ? slice_exchange_bytes(plan.columns, input.fused) : 0);
  const int64_t row_k =
      input.fused && architecture >= 90 ? row_bytes(block_k, plan.unit_chunks) : block_k;
  const int64_t staged = all_rows * (staged_stride(row_k) + 4 * (grouped ? num_groups(k) : 1));
  // sm_75 has 64 KB a multiprocessor, of which each of two blocks gets half where it can do with
  // it.
  const int64_t allowed =
      (architecture >= 80 ? shared_limit : (input.fused ? 64 : 32) * 1024) - quantize_shared_bytes;
  const bool reread = grouped || plan.ahead == tile_a_pair ||
                      (tiles > 1 && (plan.columns > max_columns_ahead ||
                                     num_chunks(block_k) > block_warps * plan.unit_chunks));
  plan.staged = (input.fused || reread) && !input.peaked && plan.shared_bytes + staged <= allowed;
  if (plan.staged)
    plan.shared_bytes += staged;
  else if (!grouped)
    plan.shared_bytes += 4 * all_rows;
  // Two of q, k, v's blocks on a multiprocessor leave attention's no registers; two of o's, gate
  // and up's.
  const bool apart =
      input.attended || (input.fused && !grouped && !sliced && architecture >= 90 && tiles == 1);
  const int64_t apart_bytes = input.fused && !grouped
                                  ? row_apart_bytes(!input.attended, shared_limit)
                                  : spread_apart_bytes(shared_limit);
  if (large && apart && plan.shared_bytes < apart_bytes) plan.shared_bytes = apart_bytes;
  // Two long streams on one multiprocessor leave another idle: the head took 95 us in place of 80.
  if (large && n_tiles > min_alone_tiles * plan.blocks &&
      plan.shared_bytes < alone_bytes(shared_limit))
    plan.shared_bytes = alone_bytes(shared_limit);
  return plan;
}

/// Of a multiprocessor's shared memory the share, in percent, that kernels want; what is left is
/// first-level cache. Before sm_80 weights come through that, and no block needs more than 64 KB:
/// two of them have room.
constexpr int shared_percent(int architecture, int64_t shared_limit) {
  constexpr int64_t needed = 2 * (64 + 1) * 1024;
  const int64_t all = shared_limit + 1024;
  return architecture >= 80 || needed >= all ? 100 : static_cast<int>(ceil_div(100 * needed, all));
}

/// The multiplication of one row that each block quantizes, before sm_80: weights come straight to
/// registers, a unit of each warp ahead. Of a long row without a norm (norms have one order, of
/// block_threads threads) a block of more warps has a whole tile in them.
inline constexpr int long_row_warps = 12, long_row_chunks = 12;
/// Chunks that a multiprocessor can have on its way to registers. Who asks for more waits where it
/// asks, and has its row the later (docs/performance/cuda.md).
inline constexpr int chunks_on_their_way = 48;
struct RowPlan {
  int warps;
  int unit_chunks;  ///< 2 or 3, or long_row_chunks
  int stages;       ///< row_stages()
  int blocks;
  bool at_once;   ///< all blocks' first units can be on their way together
  int row_bytes;  ///< of each plane in shared memory
  int64_t shared_bytes;
};
/// Sums of two turns; while there are none yet, rows are exchanged there.
constexpr int64_t row_sum_bytes(int warps) {
  return int64_t{2} * row_turn * warps * 32 * 4;
}
static_assert(row_sum_bytes(block_warps) >= exchange_bytes(block_threads) &&
              row_sum_bytes(long_row_warps) >= exchange_bytes(32 * long_row_warps));
constexpr RowPlan plan_row(int planes, int64_t n_tiles, int64_t k, bool normed,
                           int64_t multiprocessors) {
  RowPlan plan{};
  const bool whole =
      k > short_row_k && !normed && num_chunks(k) <= long_row_warps * long_row_chunks;
  plan.warps = whole ? long_row_warps : block_warps;
  plan.unit_chunks = whole ? long_row_chunks : warp_chunks(k, 2) < warp_chunks(k, 3) ? 2 : 3;
  plan.stages = static_cast<int>(row_stages(k, plan.unit_chunks, plan.warps));
  const int64_t resident =
      multiprocessors *
      (whole ? 1 : resident_blocks(n_tiles, k <= short_row_k, 75, multiprocessors));
  plan.blocks = static_cast<int>(n_tiles < resident ? n_tiles : resident);
  plan.at_once =
      plan.blocks * plan.warps * plan.unit_chunks <= chunks_on_their_way * multiprocessors;
  plan.row_bytes = static_cast<int>(staged_stride(row_bytes(k, plan.unit_chunks, plan.warps)));
  plan.shared_bytes = row_sum_bytes(plan.warps) + planes * (plan.row_bytes + int64_t{4});
  return plan;
}

/// Whether the warps of such a multiplication can quantize rows whose largest magnitudes are known
/// themselves: those of a long row's slices.
constexpr bool can_take_peaks(int64_t rows, int planes, int64_t n_tiles, int64_t k, bool grouped,
                              int architecture, int64_t multiprocessors, int64_t shared_limit) {
  if (architecture < 90 || rows > max_peak_rows || planes > 1 || grouped || k % chunk_k > 0)
    return false;
  return plan_decode(rows, planes, n_tiles, k, grouped, {false, 1, false, true}, architecture,
                     multiprocessors, shared_limit)
             .slices > 1;
}

/// Tiles of a prefill multiplication, and roughly how fast a multiprocessor is with them.
struct PrefillTile {
  int64_t channels, rows;
  double speed;
};
enum class PrefillSize : uint8_t { large, small };
constexpr PrefillTile prefill_tile(PrefillSize size) {
  return size == PrefillSize::large ? PrefillTile{128, 64, 1.0} : PrefillTile{64, 64, 0.72};
}
/// Steps of the ring through which a prefill multiplication loads its operands.
constexpr int prefill_stages(int architecture) {
  return architecture >= 80 ? 4 : 3;
}
constexpr int64_t prefill_stage_bytes(int64_t channels, int64_t rows) {
  return (channels + rows) * chunk_k;
}
static_assert(prefill_stages(75) * prefill_stage_bytes(128, 64) <= max_shared_bytes);
/// Blocks with large tiles that a multiprocessor's shared memory has room for: 64, 164 and 228 KB.
constexpr int prefill_residents(int architecture) {
  return architecture >= 90 ? 4 : architecture >= 80 ? 3 : 1;
}

struct PrefillPlan {
  PrefillSize size;
  int row_tiles, channel_tiles;
  int64_t shared_bytes;
};
/// Registers do not hold the sums, groups' values and results of large tiles of both.
constexpr bool has_large_tiles(bool grouped, int planes) {
  return !grouped || planes == 1;
}
/// The size with which the busiest multiprocessor is done first; a block that is alone there takes
/// 1.6 times its share.
constexpr PrefillPlan plan_prefill(int64_t rows, int64_t n_tiles, bool large_tiles,
                                   int architecture, int64_t multiprocessors,
                                   int64_t shared_limit) {
  PrefillPlan best{};
  double best_time = 0;
  for (const PrefillSize size : {PrefillSize::large, PrefillSize::small}) {
    if (size == PrefillSize::large && !large_tiles) continue;
    const PrefillTile tile = prefill_tile(size);
    const int64_t down = ceil_div(rows, tile.rows), across = ceil_div(n_tiles, tile.channels / 16);
    const int64_t resident = ceil_div(down * across, multiprocessors);
    const double time = (resident > 1 ? static_cast<double>(resident) : 1.6) *
                        static_cast<double>(tile.channels * tile.rows) / tile.speed;
    if (best_time > 0 && time >= best_time) continue;
    best_time = time;
    best = {
        size, static_cast<int>(down), static_cast<int>(across),
        spread_bytes(prefill_stages(architecture) * prefill_stage_bytes(tile.channels, tile.rows),
                     down * across, architecture, multiprocessors, shared_limit)};
  }
  return best;
}

/// Tiles of a prefill multiplication by warpgroups, of which each has 64 channels, and roughly how
/// fast a multiprocessor is with them.
enum class WarpgroupSize : uint8_t { large, medium, small, of_groups };
struct WarpgroupTile {
  int warpgroups, rows;
  int stages;     ///< of the ring: steps of tiled_k
  int residents;  ///< blocks of a multiprocessor, as far as registers go
  double speed;
};
constexpr WarpgroupTile warpgroup_tile(WarpgroupSize size) {
  switch (size) {
    case WarpgroupSize::large:
      return {2, 128, 3, 2, 1.0};
    case WarpgroupSize::medium:
      return {2, 96, 3, 2, 0.9};
    case WarpgroupSize::small:
      return {1, 64, 4, 4, 0.47};
    case WarpgroupSize::of_groups:
      break;
  }
  return {2, 64, 3, 2, 1.0};
}
/// The ring, its barriers and the rows' scales, behind an alignment of 1,024.
constexpr int64_t warpgroup_shared_bytes(const WarpgroupTile& tile, int64_t row_scales) {
  const int64_t stage = (64 * tile.warpgroups + tile.rows) * tiled_k;
  return 1024 + tile.stages * (stage + 2 * 8) + tile.rows * row_scales * 4;
}
static_assert(2 * (warpgroup_shared_bytes(warpgroup_tile(WarpgroupSize::large), 1) + 1024) <=
              228 * 1024);

/// The longest row whose scales fit beside them (sm_90).
inline constexpr int64_t max_tiled_k = 64 * 1024;
static_assert(warpgroup_shared_bytes(warpgroup_tile(WarpgroupSize::of_groups),
                                     num_groups(max_tiled_k)) <= 227 * 1024);

struct WarpgroupPlan {
  WarpgroupSize size;
  int row_tiles, channel_tiles;
  int64_t shared_bytes;
};
constexpr WarpgroupPlan plan_warpgroups(WarpgroupSize size, int64_t rows, int64_t n_tiles,
                                        int64_t row_scales, int64_t multiprocessors,
                                        int64_t shared_limit) {
  const WarpgroupTile tile = warpgroup_tile(size);
  const int64_t down = ceil_div(rows, tile.rows), across = ceil_div(n_tiles, 4 * tile.warpgroups);
  return {size, static_cast<int>(down), static_cast<int>(across),
          spread_bytes(warpgroup_shared_bytes(tile, row_scales), down * across, 90, multiprocessors,
                       shared_limit)};
}
/// The size with which the busiest multiprocessor is done first; its first and last block, half
/// alone, cost about as much as one more. row_scales: of a row of activations.
constexpr WarpgroupPlan plan_warpgroup_prefill(int64_t rows, int64_t n_tiles, bool grouped,
                                               int64_t row_scales, int64_t multiprocessors,
                                               int64_t shared_limit) {
  if (grouped)
    return plan_warpgroups(WarpgroupSize::of_groups, rows, n_tiles, row_scales, multiprocessors,
                           shared_limit);
  WarpgroupPlan best{};
  double best_time = 0;
  for (const auto size : {WarpgroupSize::large, WarpgroupSize::medium, WarpgroupSize::small}) {
    const WarpgroupTile tile = warpgroup_tile(size);
    const WarpgroupPlan plan =
        plan_warpgroups(size, rows, n_tiles, 1, multiprocessors, shared_limit);
    const int64_t resident =
        ceil_div(int64_t{plan.row_tiles} * plan.channel_tiles, multiprocessors);
    const double time =
        static_cast<double>((resident + 1) * tile.warpgroups * tile.rows) / tile.speed;
    if (best_time > 0 && time >= best_time) continue;
    best_time = time;
    best = plan;
  }
  return best;
}

/// Values of K that a warp multiplies at a time where weights are fp16; K is padded to it with
/// zeros.
inline constexpr int64_t half_chunk = 32;
/// Values from row to row of fp16 weights and of the activations that meet them.
constexpr int64_t half_stride(int64_t k) {
  return ceil_div(k, half_chunk) * half_chunk;
}
/// Tiles of 8 rows that a block multiplies with fp16 weights.
constexpr int f16_columns(int64_t rows) {
  return rows <= 8 ? 1 : rows <= 16 ? 2 : rows <= 32 ? 4 : 8;
}

// --- attention -------------------------------------------------------------------------------

inline constexpr int64_t max_head_dim = 128;
/// Query heads of one kv head.
inline constexpr int64_t max_head_group = 8;

/// Chunks of up to so many rows are attended row by row, split by positions: a row's result is then
/// the same bits alone and beside guesses of prompt lookup.
inline constexpr int64_t max_split_rows = 16;
/// Four warps, which bring one cache block at a time and score 16 of its positions each. A block of
/// threads has 1 or 4 such groups.
inline constexpr int split_group_threads = 128;
inline constexpr int warp_positions = 16;
/// Splits of a row, at most: more would cost more to merge than they save.
inline constexpr int64_t max_splits = 64;
/// Cache blocks of one split of a row that attends to so many positions.
constexpr int64_t split_blocks(int64_t positions, int groups) {
  const int64_t blocks = ceil_div(ceil_div(positions, kv_block), max_splits);
  return ceil_div(blocks, groups) * groups;
}
constexpr int64_t num_splits(int64_t positions, int groups) {
  return ceil_div(ceil_div(positions, kv_block), split_blocks(positions, groups));
}
/// Splits to launch for rows of up to so many positions: a power of two, so that few graphs do for
/// all lengths. Blocks behind a row's splits leave at once.
constexpr int64_t launched_splits(int64_t positions, int groups) {
  int64_t splits = 1;
  while (splits < max_splits && splits * groups * kv_block < positions) splits *= 2;
  return splits;
}
/// Splits that one block of threads merges. With more of them the results are merged in turn: a
/// block alone took 9 us for 63 (H200).
inline constexpr int64_t merged_splits = 8;
static_assert(max_splits <= merged_splits * merged_splits);
/// Partial results of a row and kv head, of which so many splits are launched.
constexpr int64_t split_results(int64_t splits) {
  return splits == 1 ? 0 : splits + ceil_div(splits, merged_splits);
}
/// Exact attention: query rows of a tile, as shared memory has room for their scores over a span.
constexpr int64_t exact_query_rows(int64_t shared_bytes) {
  return shared_bytes >= 96 * 1024 ? 32 : 16;
}
/// Of rows of up to so many positions: a power of two, as launched_splits().
constexpr int64_t launched_spans(int64_t positions) {
  int64_t spans = 1;
  while (spans * kv_span < positions) spans *= 2;
  return spans;
}
/// Words of a span's results of a query row: these, maximum and sum.
constexpr int64_t exact_partial(int64_t head_dim) {
  return head_dim + 2;
}
constexpr int64_t exact_row_words(int64_t kv_heads, int64_t head_dim, int64_t spans) {
  return kv_heads * spans * max_head_group * exact_partial(head_dim);
}

/// Tiles of eight dimensions, of which a warp adds up four.
inline constexpr int split_tiles = max_head_dim / 8;
/// Words of a partial result: for each two values these, maximum and sum, as the lanes have them.
inline constexpr int64_t split_part_words = split_tiles * 32 * 4;
/// What a word of partial results is before it is written, and again when it has been read: a NaN
/// that no operation gives.
inline constexpr uint32_t missing_word = 0xffffffffu;

/// What the warps of a block of split attention exchange.
template <int groups>
struct alignas(16) SplitExchange {
  static constexpr int warps = 4 * groups;
  uint32_t weights[warps][32][4];  ///< fragments: of a warp's positions
  float maxima[max_head_group][warps], sums[max_head_group][warps];
  float group_maxima[max_head_group][groups];
};
/// A group's results, of each tile two dimensions a lane: where its keys were.
struct SplitResults {
  float values[split_tiles][32][2];
};
/// Shared memory of a block of split attention.
template <int groups>
struct alignas(128) SplitShared {
  uint16_t keys[groups][max_head_dim][kv_block];  ///< swizzled, as values are
  uint16_t values[groups][kv_block][max_head_dim];
  uint32_t queries[max_head_dim / 16][32][4];  ///< fragments
  SplitExchange<groups> exchange;
  uint16_t own_key[max_head_dim], own_value[max_head_dim];
  std::byte* own_block;  ///< of the cache, where these go
};
/// The same over an int8 cache.
template <int groups>
struct alignas(128) SplitSharedS8 {
  uint32_t keys[groups][max_head_dim / 4][kv_block];
  uint32_t values[groups][kv_block / 4][max_head_dim];
  float scales[groups][2][2 * kv_block];  ///< of two cache blocks in turns: of keys, of values
  uint32_t queries[max_head_dim / 32][32][2];
  uint32_t own_words[2][32];  ///< the row's own key and value
  std::byte* own_block;       ///< of the cache, where these go
  alignas(16) float head_scales[max_head_group + 2];
  alignas(16) float rows[max_head_group + 1][max_head_dim];  ///< while heads are spread
  SplitExchange<groups> exchange;
  float largest[max_head_group][4 * groups];  ///< as exchange.maxima: of weights times scales
  float units[groups][max_head_group];        ///< of what a cache block's weights are multiples
};
static_assert(sizeof(SplitShared<1>) <= max_shared_bytes &&
              sizeof(SplitSharedS8<1>) < sizeof(SplitShared<1>) &&
              sizeof(SplitSharedS8<4>) < sizeof(SplitShared<4>));
/// As many as leave shared memory for a cache block each. Of sm_75's, keys and values could not be
/// on their way there.
constexpr int split_groups(int architecture, int64_t shared_limit) {
  return architecture >= 80 && int64_t{sizeof(SplitShared<4>)} <= shared_limit ? 4 : 1;
}

/// Whether a multiplication of one row of k values can be in one kernel with attention and others
/// (row_chain()): where kernels do not begin beside the one before.
constexpr bool can_chain(int64_t rows, int64_t k, int planes, bool grouped, int architecture) {
  return architecture < 80 && rows == 1 && k <= short_row_k && planes == 1 && !grouped;
}
/// Whether those of rows of both lengths can be in the same kernel.
constexpr bool can_chain_both(int64_t k, int64_t other_k) {
  return (warp_chunks(k, 2) < warp_chunks(k, 3)) ==
         (warp_chunks(other_k, 2) < warp_chunks(other_k, 3));
}
/// Of a multiprocessor, at most, and as far as registers go.
inline constexpr int chain_residents = 2;
/// All blocks have shared memory for a split. Those of a multiplication are as many as it has room
/// for.
constexpr RowPlan plan_chained(int64_t n_tiles, int64_t k, bool normed, int64_t multiprocessors,
                               int64_t shared_limit) {
  RowPlan plan = plan_row(1, n_tiles, k, normed, multiprocessors);
  constexpr int64_t of_split = sizeof(SplitShared<1>);
  static_assert(row_sum_bytes(block_warps) + 2 * short_row_k < of_split);
  plan.shared_bytes = of_split;
  const int64_t room = shared_limit / (plan.shared_bytes + quantize_shared_bytes + 1024);
  const int64_t most = multiprocessors * (room < chain_residents ? room : chain_residents);
  plan.blocks = static_cast<int>(n_tiles < most ? n_tiles : most);
  plan.at_once =
      plan.blocks * plan.warps * plan.unit_chunks <= chunks_on_their_way * multiprocessors;
  return plan;
}

/// Query rows (tokens x heads of a kv head) of a block of threads in prefill attention: 64 or 128.
/// Many rows share what is read, where there are enough of them for all multiprocessors. Warpgroups
/// have 64.
inline constexpr int64_t min_prefill_query_rows = 64;
constexpr int64_t prefill_query_rows(int64_t queries, int64_t kv_heads, int64_t multiprocessors,
                                     bool by_warpgroups) {
  return !by_warpgroups && ceil_div(queries, 128) * kv_heads > 2 * multiprocessors
             ? 128
             : min_prefill_query_rows;
}

}  // namespace octet::kernels::cuda
