#pragma once
// The order in which the int8 matrix multiplications of every instruction set go through their
// blocks. All of it has internal linkage: each instruction set compiles its own copy.
#include <cstdint>

#include "kernels/types.h"

namespace octet::kernels {
namespace {

/// A number of rows as a type, so that a block's accumulators are registers.
template <int rows>
struct Rows {
  static constexpr int value = rows;
};

template <int most, class Block>
void call_with_rows(int64_t rows, const Block& block, int64_t row, int64_t tile) {
  if (rows == most) return block(Rows<most>{}, row, tile);
  if constexpr (most > 1) call_with_rows<most - 1>(rows, block, row, tile);
}

/// Calls block(Rows<R>, row, tile) for each block of R <= most_rows rows and `tiles` tiles of c.
/// The activations of `resident` rows stay in the second-level cache while all weights pass, and
/// the weights of one block of columns stay in the first or second level while those rows pass.
template <int most_rows, int tiles, class Block>
void for_each_block(int64_t m, int64_t n, int64_t k, const Block& block) {
  constexpr int64_t cache = 256 * 1024;
  const int64_t fit = cache / (k + 1) / most_rows * most_rows;
  const int64_t resident = fit > most_rows ? fit : most_rows;
  for (int64_t begin = 0; begin < m; begin += resident) {
    const int64_t end = m - begin < resident ? m : begin + resident;
    for (int64_t tile = 0; tile * tile_n < n; tile += tiles)
      for (int64_t row = begin, rows = 0; row < end; row += rows) {
        // 13 rows are 7 and 6, not 12 and 1.
        const int64_t blocks = (end - row + most_rows - 1) / most_rows;
        rows = (end - row + blocks - 1) / blocks;
        call_with_rows<most_rows>(rows, block, row, tile);
      }
  }
}

}  // namespace
}  // namespace octet::kernels
