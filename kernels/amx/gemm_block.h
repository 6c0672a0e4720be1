#pragma once
// The inner loop of the AMX int8 matrix multiplications: up to 32 rows x 32 outputs, as 2 x 2
// tiles of 16 x 16 int32. A packed tile's 16 chunks (1 KB) are a B tile as they stand in memory.
// tdpbusd takes 16 cycles for 16 x 16 x 64 products (Intel 64 Optimization Reference Manual,
// chapter 20), and each loaded tile serves two of them.
#include "kernels/avx512vnni/gemm_block.h"

namespace octet::kernels {
namespace {

inline constexpr int side = 16;            // rows of a tile, columns of int32 in it
inline constexpr int64_t step_k = 64;      // bytes of K in a tile
inline constexpr int64_t block_side = 32;  // rows and columns of a block

/// Says to the compiler that memory is read after this: GCC 12's tile intrinsics do not name what
/// they read, so that it could leave out the writes of what only they use.
inline void written() {
  asm volatile("" : : : "memory");
}

/// What ldtilecfg reads: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1,
/// 18.2. All eight tiles are whole.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

/// Holds the tiles while it lives.
struct Tiles {
  Tiles() {
    const TileConfig config;
    written();
    _tile_loadconfig(&config);
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

/// The int32 sums of a block.
struct Sums {
  alignas(64) int32_t value[block_side][block_side];
};

/// The operands of a block: 16 or 32 rows of a, one or two tiles of w.
struct Operands {
  const int8_t* a;
  int64_t lda;
  const int8_t* w;
  int64_t tile_stride;  ///< from one tile of 16 outputs to the next
};

/// Tiles 0 to 3 are the sums, 4 and 5 the rows, 6 and 7 the outputs.
template <int row_tiles, int col_tiles>
[[gnu::always_inline]] inline void add_step(const int8_t* a, int64_t lda, const int8_t* w0,
                                            const int8_t* w1) {
  _tile_loadd(4, a, lda);
  _tile_loadd(6, w0, 64);
  _tile_dpbusd(0, 4, 6);
  if constexpr (col_tiles == 2) {
    _tile_loadd(7, w1, 64);
    _tile_dpbusd(1, 4, 7);
  }
  if constexpr (row_tiles == 2) {
    _tile_loadd(5, a + side * lda, lda);
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
    __builtin_memcpy(a + r * step_k, x.a + r * x.lda + begin, static_cast<size_t>(rest));
  for (int t = 0; t < col_tiles; ++t)
    __builtin_memcpy(w[t], x.w + t * x.tile_stride + begin * tile_n,
                     static_cast<size_t>(rest * tile_n));
  written();
  add_step<row_tiles, col_tiles>(a, step_k, w[0], w[1]);
}

/// sums = products of the first k (padded) values of the rows, as unsigned bytes, and the outputs.
template <int row_tiles, int col_tiles>
void dot(const Operands& x, int64_t k, Ahead ahead, Sums& sums) {
  _tile_zero(0);
  if constexpr (col_tiles == 2) _tile_zero(1);
  if constexpr (row_tiles == 2) _tile_zero(2);
  if constexpr (row_tiles == 2 && col_tiles == 2) _tile_zero(3);
  const int64_t whole = k / step_k * step_k, steps = k / step_k;
  const int64_t lines_a_step = steps ? (ahead.lines + steps - 1) / steps : 0;
  for (int64_t i = 0; i < whole; i += step_k) {
    for (int64_t line = 0; line < lines_a_step; ++line, ahead.from += 64)
      _mm_prefetch(reinterpret_cast<const char*>(ahead.from), _MM_HINT_T1);
    add_step<row_tiles, col_tiles>(x.a + i, x.lda, x.w + i * tile_n,
                                   x.w + x.tile_stride + i * tile_n);
  }
  if (whole < k) add_tail<row_tiles, col_tiles>(x, whole, k - whole);
  constexpr int64_t stride = block_side * sizeof(int32_t);
  _tile_stored(0, &sums.value[0][0], stride);
  if constexpr (col_tiles == 2) _tile_stored(1, &sums.value[0][side], stride);
  if constexpr (row_tiles == 2) _tile_stored(2, &sums.value[side][0], stride);
  if constexpr (row_tiles == 2 && col_tiles == 2) _tile_stored(3, &sums.value[side][side], stride);
}

inline void dot(int row_tiles, int col_tiles, const Operands& x, int64_t k, Ahead ahead,
                Sums& sums) {
  if (row_tiles == 2)
    return col_tiles == 2 ? dot<2, 2>(x, k, ahead, sums) : dot<2, 1>(x, k, ahead, sums);
  return col_tiles == 2 ? dot<1, 2>(x, k, ahead, sums) : dot<1, 1>(x, k, ahead, sums);
}

/// A block of c: row_tiles * 16 rows from `row`, of which those from `first` on are stored, and
/// the columns of one or two tiles.
struct Block {
  int64_t row, first, tile;
  int row_tiles, col_tiles;
  Ahead ahead;

  int64_t end() const { return row + row_tiles * side; }
  template <class Gemm>
  Operands operands(const Gemm& g, int64_t begin) const {
    const int64_t tile_bytes = padded_k(g.k) * tile_n;
    return {g.a + row * g.lda + begin, g.lda, g.w + tile * tile_bytes + begin * tile_n, tile_bytes};
  }
  template <class Gemm>
  __mmask16 mask(const Gemm& g, int t) const {
    const int64_t left = g.n - (tile + t) * tile_n;
    return static_cast<__mmask16>((1u << (left > tile_n ? tile_n : left)) - 1);
  }
};

/// Calls block(Block) for all of c, m >= 16. The last rows are computed with as many rows before
/// them as fill the tiles. The activations of the resident rows stay in the second-level cache
/// while all weights pass.
template <class Gemm, class F>
void for_each_tile_block(const Gemm& g, const F& block) {
  constexpr int64_t cache = 1024 * 1024;
  const int64_t fit = cache / (g.k + 1) / block_side * block_side;
  const int64_t resident = fit > block_side ? fit : block_side;
  const int64_t tiles = padded_n(g.n) / tile_n;
  for (int64_t begin = 0; begin < g.m; begin += resident) {
    const int64_t end = g.m - begin < resident ? g.m : begin + resident;
    const int64_t row_blocks = (end - begin + block_side - 1) / block_side;
    for (int64_t tile = 0; tile < tiles; tile += 2) {
      Ahead ahead = begin == 0 ? ahead_of(g, tile + 2, 2, row_blocks) : Ahead{};
      for (int64_t row = begin; row < end;) {
        const int row_tiles = end - row > side && g.m >= block_side ? 2 : 1;
        const int64_t height = row_tiles * side;
        const int64_t start = row + height <= g.m ? row : g.m - height;
        block(Block{start, row, tile, row_tiles, tiles - tile > 1 ? 2 : 1, ahead});
        ahead.from += 64 * ahead.lines;
        row = start + height;
      }
    }
  }
}

}  // namespace
}  // namespace octet::kernels
