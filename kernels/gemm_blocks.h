#pragma once
// The order in which the int8 matrix multiplications of every instruction set go through their
// blocks. All of it has internal linkage: each instruction set compiles its own copy.
#include <cstdint>

#include "kernels/types.h"

namespace octet::kernels {
namespace {

/// The rows and tiles of a block as a type, so that its accumulators are registers.
template <int row_count, int tile_count>
struct BlockShape {
  static constexpr int rows = row_count, tiles = tile_count;
};

/// The weights after a block's own, at `from`, of which it brings `lines` cache lines into the
/// cache.
struct Ahead {
  const int8_t* from = nullptr;
  int64_t lines = 0;
  /// No other block uses this one's weights, which so come straight from memory: it asks for all of
  /// them, and then for those at `from`, some way ahead of where it is.
  bool stream = false;
};

template <int most, int tiles, class Block>
void call_with_rows(int64_t rows, const Block& block, int64_t row, int64_t tile, Ahead ahead) {
  if (rows == most) return block(BlockShape<most, tiles>{}, row, tile, ahead);
  if constexpr (most > 1) call_with_rows<most - 1, tiles>(rows, block, row, tile, ahead);
}

/// The weights after a block of `tiles` tiles: the next columns', or what the caller multiplies
/// with next. The blocks of `row_blocks` blocks of rows share the lines out.
template <class Gemm>
Ahead ahead_of(const Gemm& g, int64_t next_tile, int64_t tiles, int64_t row_blocks) {
  const int64_t tile_bytes = tile_n * padded_k(g.k);
  const bool inside = next_tile * tile_n < g.n;
  const int8_t* from = inside ? g.w + next_tile * tile_bytes : g.next;
  if (!from) return {};
  return {from, (tiles * tile_bytes / 64 + row_blocks - 1) / row_blocks};
}

/// Calls block(BlockShape<R, tiles>, row, tile, Ahead) for each block of R <= most_rows rows and
/// `tiles` tiles of c, in tiles [first, end). The activations of `resident` rows stay in the
/// second-level cache while all weights pass, and the weights of one block of columns stay in the
/// first or second level while those rows pass. Meanwhile each block asks for its share of the next
/// columns' weights.
template <int most_rows, int tiles, class Gemm, class Block>
void for_each_block(const Gemm& g, int64_t first, int64_t end_tile, const Block& block) {
  constexpr int64_t cache = 256 * 1024;
  const int64_t fit = cache / (g.k + 1) / most_rows * most_rows;
  const int64_t resident = fit > most_rows ? fit : most_rows;
  for (int64_t begin = 0; begin < g.m; begin += resident) {
    const int64_t end = g.m - begin < resident ? g.m : begin + resident;
    const int64_t row_blocks = (end - begin + most_rows - 1) / most_rows;
    for (int64_t tile = first; tile < end_tile; tile += tiles) {
      Ahead ahead;
      if (begin == 0) ahead = ahead_of(g, tile + tiles, tiles, row_blocks);  // once
      if (row_blocks == 1) ahead.lines = 0, ahead.stream = true;
      for (int64_t row = begin, rows = 0; row < end; row += rows) {
        // 13 rows are 7 and 6, not 12 and 1.
        const int64_t blocks = (end - row + most_rows - 1) / most_rows;
        rows = (end - row + blocks - 1) / blocks;
        call_with_rows<most_rows, tiles>(rows, block, row, tile, ahead);
        ahead.from += 64 * ahead.lines;
      }
    }
  }
}

}  // namespace
}  // namespace octet::kernels
