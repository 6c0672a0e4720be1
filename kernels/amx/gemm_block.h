#pragma once
// The loops of the AMX int8 matrix multiplications. A block is up to 32 rows x 32 outputs, as 2 x 2
// tiles of 16 x 16 int32. A packed tile's 16 chunks (1 KB) are a B tile as they stand in memory,
// and packed activations are A tiles. tdpbusd takes 16 cycles for 16 x 16 x 64 products (Intel 64
// Optimization Reference Manual, chapter 20), and each loaded tile serves two of them: 64 bytes a
// cycle, more than the second-level cache gives. So K is cut into slices whose weights stay in the
// first level while many rows pass, which come from the second, past the first.
//
// Nothing asks for lines ahead: a core has 16 buffers for lines that the first level lacks, which
// requests to memory would hold while tiles wait for the second level.
#include "kernels/amx/tiles.h"
#include "kernels/avx512vnni/gemm_block.h"

namespace octet::kernels {
namespace {

inline constexpr int64_t block_side = 32;  // rows and columns of a block
static_assert(step_k == activation_k && block_side == activation_rows);

/// Of a slice, the weights of a block: 24 KB, half of the first level, for one of two threads.
inline constexpr int64_t slice_k = 768;
/// A panel: rows and outputs whose sums wait for the next slice, 64 KB.
inline constexpr int64_t panel_blocks = 16;
inline constexpr int64_t panel_rows = 512;
inline constexpr int64_t most_panel_tiles = 4;

/// The int32 sums of a block.
struct Sums {
  alignas(64) int32_t value[block_side][block_side];
};

/// The operands of a block, from some value of K on.
struct Operands {
  const int8_t* a;      ///< [K / 64][32][64], of which the first 16 or all 32 rows count
  const int8_t* w;      ///< one or two tiles
  int64_t tile_stride;  ///< from one tile of 16 outputs to the next
};

/// Tiles 0 to 3 are the sums, 4 and 5 the rows, 6 and 7 the outputs.
template <int row_tiles, int col_tiles>
[[gnu::always_inline]] inline void add_step(const int8_t* a, const int8_t* w0, const int8_t* w1) {
  _tile_stream_loadd(4, a, step_k);
  _tile_loadd(6, w0, 64);
  _tile_dpbusd(0, 4, 6);
  if constexpr (col_tiles == 2) {
    _tile_loadd(7, w1, 64);
    _tile_dpbusd(1, 4, 7);
  }
  if constexpr (row_tiles == 2) {
    _tile_stream_loadd(5, a + side * step_k, step_k);
    _tile_dpbusd(2, 5, 6);
    if constexpr (col_tiles == 2) _tile_dpbusd(3, 5, 7);
  }
}

/// The last step where 64 does not divide K: from copies filled up with zeros.
template <int row_tiles, int col_tiles>
void add_tail(const Operands& x, int64_t begin, int64_t rest) {
  alignas(64) int8_t a[block_side * step_k] = {};
  alignas(64) int8_t w[2][side * step_k] = {};
  for (int64_t r = 0; r < row_tiles * side; ++r)
    __builtin_memcpy(a + r * step_k, x.a + begin * block_side + r * step_k,
                     static_cast<size_t>(rest));
  for (int t = 0; t < col_tiles; ++t)
    __builtin_memcpy(w[t], x.w + t * x.tile_stride + begin * tile_n,
                     static_cast<size_t>(rest * tile_n));
  written();
  add_step<row_tiles, col_tiles>(a, w[0], w[1]);
}

/// What follows the product of a block, Work()(row) for its rows, spread over the steps of the next
/// product: the vector units would idle in the one and the tiles in the other.
template <class Work>
class Later {
 public:
  ~Later() { finish(); }
  void finish() { advance(end_); }
  void start(const Work& work, int64_t rows) {
    finish();
    work_ = work, next_ = 0, end_ = rows;
  }
  [[gnu::always_inline]] void advance(int64_t rows) {
    const int64_t end = end_ - next_ < rows ? end_ : next_ + rows;
    for (; next_ < end; ++next_) work_(next_);
  }

 private:
  Work work_{};
  int64_t next_ = 0, end_ = 0;
};

/// sums (=, +=) products of `k` values of the rows, as unsigned bytes, and the outputs.
template <int row_tiles, int col_tiles, int later_rows, class Work>
void dot(const Operands& x, int64_t k, bool first, Later<Work>& later, Sums& sums) {
  constexpr int64_t stride = block_side * sizeof(int32_t);
  int32_t(&sum)[block_side][block_side] = sums.value;
  if (first) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, &sum[0][0], stride);
    if constexpr (col_tiles == 2) _tile_loadd(1, &sum[0][side], stride);
    if constexpr (row_tiles == 2) _tile_loadd(2, &sum[side][0], stride);
    if constexpr (row_tiles == 2 && col_tiles == 2) _tile_loadd(3, &sum[side][side], stride);
  }
  const int64_t whole = k / step_k * step_k;
  for (int64_t i = 0; i < whole; i += step_k) {
    add_step<row_tiles, col_tiles>(x.a + i * block_side, x.w + i * tile_n,
                                   x.w + x.tile_stride + i * tile_n);
    later.advance(later_rows);
  }
  if (whole < k) add_tail<row_tiles, col_tiles>(x, whole, k - whole);
  _tile_stored(0, &sum[0][0], stride);
  if constexpr (col_tiles == 2) _tile_stored(1, &sum[0][side], stride);
  if constexpr (row_tiles == 2) _tile_stored(2, &sum[side][0], stride);
  if constexpr (row_tiles == 2 && col_tiles == 2) _tile_stored(3, &sum[side][side], stride);
}

/// A block of c: up to 32 rows from `row`, one or two tiles of outputs from `tile`.
struct Block {
  int64_t row, rows, tile;
  int col_tiles;

  template <class Gemm>
  __mmask16 mask(const Gemm& g, int t) const {
    const int64_t left = g.n - (tile + t) * tile_n;
    return static_cast<__mmask16>((1u << (left > tile_n ? tile_n : left)) - 1);
  }
};

/// The same over values [begin, begin + k) of the rows and outputs of a block. `later_rows` rows of
/// later work are done each step.
template <int later_rows, class Gemm, class Work>
void dot(const Gemm& g, const Block& b, int64_t begin, int64_t k, Later<Work>& later, bool first,
         Sums& sums) {
  const int64_t tile_bytes = padded_k(g.k) * tile_n;
  const Operands x{g.a + b.row * activation_stride(g.k) + begin * block_side,
                   g.w + b.tile * tile_bytes + begin * tile_n, tile_bytes};
  if (b.rows > side)
    return b.col_tiles == 2 ? dot<2, 2, later_rows>(x, k, first, later, sums)
                            : dot<2, 1, later_rows>(x, k, first, later, sums);
  return b.col_tiles == 2 ? dot<1, 2, later_rows>(x, k, first, later, sums)
                          : dot<1, 1, later_rows>(x, k, first, later, sums);
}

/// Calls block(Block, index) for the blocks of a panel of c: up to panel_rows rows and `tiles`
/// tiles from those given on; index < panel_blocks.
template <class Gemm, class F>
void for_each_of_panel(const Gemm& g, int64_t row, int64_t tile, int64_t tiles, const F& block) {
  const int64_t all = padded_n(g.n) / tile_n;
  const int64_t end_row = g.m - row < panel_rows ? g.m : row + panel_rows;
  const int64_t end_tile = all - tile < tiles ? all : tile + tiles;
  int64_t index = 0;
  for (int64_t t = tile; t < end_tile; t += 2)
    for (int64_t r = row; r < end_row; r += block_side)
      block(Block{r, end_row - r < block_side ? end_row - r : block_side, t,
                  end_tile - t > 1 ? 2 : 1},
            index++);
}

/// For all of c, panel by panel: add(Block, index, begin, k) for each slice [begin, begin + k) of K
/// and each block of the panel.
template <class Gemm, class Add>
void for_each_panel(const Gemm& g, const Add& add) {
  const int64_t k = padded_k(g.k);
  const int64_t tiles = g.m > panel_blocks / 2 * block_side ? 2 : most_panel_tiles;
  for (int64_t row = 0; row < g.m; row += panel_rows)
    for (int64_t tile = 0; tile * tile_n < g.n; tile += tiles) {
      int64_t begin = 0;
      do {
        const int64_t size = k - begin < slice_k ? k - begin : slice_k;
        for_each_of_panel(g, row, tile, tiles, [&](const Block& block, int64_t index) {
          add(block, index, begin, size);
        });
        begin += slice_k;
      } while (begin < k);
    }
}

/// The products over all of K where that has one scale. StoreRow::store_row(g, row, col, mask, sum)
/// takes the exact sums of a row and tile.
template <class Gemm, class StoreRow>
void multiply(const Gemm& g) {
  struct Work {
    const Gemm* g;
    Block b;
    const Sums* sums;
    [[gnu::always_inline]] void operator()(int64_t r) const {
      for (int t = 0; t < b.col_tiles; ++t) {
        const int64_t col = (b.tile + t) * tile_n;
        const __m512i start = (__m512i)correction(_mm512_loadu_si512(g->w_sum + col));
        const __m512i sum = _mm512_add_epi32(start, _mm512_load_si512(&sums->value[r][t * side]));
        StoreRow::store_row(*g, b.row + r, col, b.mask(*g, t), sum);
      }
    }
  };
  constexpr int later_rows = (block_side + slice_k / step_k - 1) / (slice_k / step_k);
  const Tiles tiles;
  Sums sums[panel_blocks];
  Later<Work> later;
  const Sums* stored_later = nullptr;
  const int64_t k = padded_k(g.k);
  for_each_panel(g, [&](const Block& b, int64_t index, int64_t begin, int64_t size) {
    Sums& sum = sums[index];
    if (&sum == stored_later) later.finish();
    dot<later_rows>(g, b, begin, size, later, begin == 0, sum);
    if (begin + size < k) return;
    later.start(Work{&g, b, &sum}, b.rows);
    stored_later = &sum;
  });
}

}  // namespace
}  // namespace octet::kernels
