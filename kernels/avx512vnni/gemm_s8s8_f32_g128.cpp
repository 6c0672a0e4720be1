#include "kernels/avx512vnni/gemm_block.h"
#include "kernels/avx512vnni/group_scales.h"
#include "kernels/table.h"

namespace octet::kernels {
namespace {

/// Where the weights' sums of a group come from. Few rows wait for the memory, and sums are 1.5 %
/// of what it brings: adding up the weights in hand takes 5 % less of a layer's time with 1 and 6
/// rows, 2 % with 2 and 4. More rows lose by that.
enum class Sums : uint8_t { load, add };

/// Asks for the next tiles' sums and scales of a group, where they come from memory: they are read
/// where no prefetching by the processor follows (1 row: 2 % of a layer, 4 % of the head; asking
/// once for the two groups of a cache line gained half of that).
template <Sums sums, int tiles>
[[gnu::always_inline]] inline void bring_scales(const GemmS8Grouped& g,
                                                const Columns<tiles>& columns, int64_t group) {
#pragma GCC unroll 4
  for (int t = 0; t < tiles; ++t) {
    const int64_t at = ((columns.tile[t] + tiles) * num_groups(g.k) + group) * tile_n;
    if constexpr (sums == Sums::load)
      _mm_prefetch(reinterpret_cast<const char*>(g.w_sum + at), _MM_HINT_T1);
    _mm_prefetch(reinterpret_cast<const char*>(g.w_scale + at), _MM_HINT_T1);
  }
}

/// acc = the products of a group.
template <Sums sums, int rows, int tiles>
[[gnu::always_inline]] inline void multiply_group(const GemmS8Grouped& g, int64_t row,
                                                  const Columns<tiles>& columns, int64_t group,
                                                  int64_t chunks, Ahead ahead,
                                                  Int32x16 (&acc)[rows][tiles]) {
  const Cursor<rows, tiles> at(g, row, columns, group * group_size);
  Int32x16 start[tiles]{};
  if (ahead.stream) bring_scales<sums>(g, columns, group);
  if constexpr (sums == Sums::load) {
    const int64_t groups = num_groups(g.k);
#pragma GCC unroll 4
    for (int t = 0; t < tiles; ++t)
      start[t] = correction(load_sums(g.w_sum + (columns.tile[t] * groups + group) * tile_n));
    dot(at, chunks, ahead, start, acc);
  } else {
    Int32x16 sum[rows + 1][tiles];
    dot(at, chunks, ahead, start, sum);
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
      for (int t = 0; t < tiles; ++t) acc[r][t] = sum[r][t] - sum[rows][t];
  }
}

/// From here on weights come from the cache, and blocks of 6 x 32 win: their accumulators and the
/// groups' sums are all registers. Those of 12 x 32 store and load the sums, and a store costs
/// 0.4 vpdpbusd (Zen 4; 64 rows: 354 against 334 GOP/s, 32: 314 against 317).
constexpr int64_t many_rows = 3 * block_rows + 1;

template <Sums sums, int rows, int tiles>
void block(const GemmS8Grouped& g, int64_t row, int64_t tile, Ahead ahead) {
  const int64_t k = padded_k(g.k), groups = num_groups(g.k);
  const Columns<tiles> columns(g.n, tile);
  __m512 value[rows][tiles];
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int t = 0; t < tiles; ++t) value[r][t] = _mm512_setzero_ps();
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t begin = group * group_size;
    const int64_t size = k - begin < group_size ? k - begin : group_size;
    Int32x16 acc[rows][tiles];
    multiply_group<sums>(g, row, columns, group, size / tile_k, ahead, acc);
    // The first groups ask for the next columns' weights, a line a chunk.
    const int64_t lines = ahead.lines < size / tile_k ? ahead.lines : size / tile_k;
    ahead.from += 64 * lines;
    ahead.lines -= lines;
#pragma GCC unroll 4
    for (int t = 0; t < tiles; ++t) {
      const __m512 w_scale = load_bfloat16(g.w_scale + (columns.tile[t] * groups + group) * tile_n);
#pragma GCC unroll 12
      for (int r = 0; r < rows; ++r) {
        const __m512 scale =
            _mm512_mul_ps(_mm512_set1_ps(g.a_scale[(row + r) * groups + group]), w_scale);
        value[r][t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps((__m512i)acc[r][t]), scale, value[r][t]);
      }
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int t = 0; t < tiles; ++t)
      store(g, row + r, columns.tile[t] * tile_n, columns.mask[t], value[r][t]);
}

/// block() as the loops over blocks call it.
template <Sums sums>
auto one_block(const GemmS8Grouped& g) {
  return [&g](auto shape, int64_t row, int64_t tile, Ahead ahead) {
    block<sums, shape.rows, shape.tiles>(g, row, tile, ahead);
  };
}

}  // namespace

void gemm_s8s8_f32_g128_12x32_avx512vnni(const GemmS8Grouped& g) {
  const int64_t tiles = padded_n(g.n) / tile_n;
  if (g.m <= few_rows) return for_few_rows(g, one_block<Sums::add>(g));
  const auto loading = one_block<Sums::load>(g);
  if (g.m < many_rows) return for_each_block<block_rows, block_tiles>(g, 0, tiles, loading);
  for_each_block<few_rows, block_tiles>(g, 0, tiles, loading);
}

}  // namespace octet::kernels
