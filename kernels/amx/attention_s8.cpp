// Attention over an int8 cache on tiles: 16 query rows by 16 positions or dimensions. Cached keys
// and values are B tiles as they stand in memory. The sums are exact, so that a row's result is the
// same bits with vpdpbusd, which takes fewer rows: those would leave most of a tile empty.
#include "kernels/avx512vnni/attention_s8.h"
#include "kernels/amx/tiles.h"

namespace octet::kernels {
namespace {

class TileCache : public Cache {
  using V = simd::Vector<Arch>;
  static_assert(V::size == side && kv_block == step_k);
  /// Tiles of positions in a block.
  static constexpr int columns = kv_block / side;

  /// The sums of 16 rows, `tiles` tiles side by side.
  template <int tiles>
  struct Sums {
    static constexpr int64_t stride = tiles * side * sizeof(int32_t);
    alignas(64) int32_t value[side][tiles * side];

    Int32x16 at(int r, int tile) const {
      return (Int32x16)_mm512_load_si512(&value[r][tile * side]);
    }
  };

  /// Of the queries of 16 rows.
  struct Scales {
    float row[side];
    int32_t offset[side];
  };

  /// sums = products of the queries with a block's keys, which have 128 added.
  static void multiply_keys(const Attention& a, const void* block, Sums<columns>& sums) {
    const Factor* queries = queries_of(a);
    const auto* keys = static_cast<const Cached*>(block);
    constexpr int64_t stride = kv_block * tile_k;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t d = 0; d < a.head_dim; d += step_k) {
      const Cached* const from = keys + d * kv_block;
      _tile_loadd(4, queries + d, a.head_dim);
      _tile_loadd(5, from, stride);
      _tile_dpbsud(0, 4, 5);
      _tile_loadd(6, from + 1 * side * tile_k, stride);
      _tile_dpbsud(1, 4, 6);
      _tile_loadd(7, from + 2 * side * tile_k, stride);
      _tile_dpbsud(2, 4, 7);
      _tile_loadd(5, from + 3 * side * tile_k, stride);
      _tile_dpbsud(3, 4, 5);
    }
    _tile_stored(0, &sums.value[0][0 * side], sums.stride);
    _tile_stored(1, &sums.value[0][1 * side], sums.stride);
    _tile_stored(2, &sums.value[0][2 * side], sums.stride);
    _tile_stored(3, &sums.value[0][3 * side], sums.stride);
    written();
  }

  static void store_scores(const Attention& a, const simd::Span& span, int64_t block,
                           const Sums<columns>& sums, const Scales& of) {
    const float* key_scales = scales(span.keys[block], a);
    Batch key_scale[columns];
    for (int i = 0; i < columns; ++i) key_scale[i] = V::load(key_scales + i * side);
    for (int r = 0; r < side; ++r)
#pragma GCC unroll 4
      for (int i = 0; i < columns; ++i)
        V::store(a.scratch + r * kv_span + block * kv_block + i * side,
                 Keys::floats(sums.at(r, i), of.offset[r]) * (key_scale[i] * Batch(of.row[r])));
  }

  /// Asks for as much of later blocks as a block has. Beside keys and the softmax that is enough.
  static void keep_pace(const Attention& a, simd::Ahead& ahead) {
    for (int64_t i = 0; i < block_bytes(a.head_dim) / 256; ++i) ahead.keep_pace<256>(i);
  }

 public:
  template <int rows>
  static void score(const Attention& a, int64_t row, const simd::Span& span, simd::Ahead& ahead) {
    static_assert(rows == side);
    Scales of;
    for (int r = 0; r < side; ++r) {
      Factor* query = queries_of(a) + r * a.head_dim;
      const float* q = a.q + (row + r) * a.q_stride;
      of.row[r] = quantize_query(q, a.head_dim, query, of.offset[r]) * a.scale;
      of.offset[r] *= Products::key_offset;
    }
    written();
    // A block's sums become scores while the next block is multiplied.
    Sums<columns> sums[2];
    multiply_keys(a, span.keys[0], sums[0]);
    for (int64_t block = 0; block < span.blocks(); ++block) {
      keep_pace(a, ahead);
      if (block + 1 < span.blocks()) multiply_keys(a, span.keys[block + 1], sums[(block + 1) % 2]);
      store_scores(a, span, block, sums[block % 2], of);
    }
  }

  template <int rows>
  static void add_values(const Attention& a, int64_t row, const simd::Span& span,
                         const simd::Factors* factors, simd::Ahead&) {
    static_assert(rows == side);
    constexpr int64_t most = kv_span / kv_block;
    float scale[most][side];
    for (int64_t block = 0; block < span.blocks(); ++block)
      for (int r = 0; r < side; ++r) {
        const int64_t at = r * kv_span + block * kv_block;
        scale[block][r] =
            quantize_weights(a.scratch + at, scales(span.values[block], a), weights_of(a) + at);
      }
    written();
    Sums<1> sums[most];
    for (int64_t d = 0; d < a.head_dim; d += side) {
      for (int64_t block = 0; block < span.blocks(); ++block)
        multiply_values(a, span, block, d, sums[block]);
      Batch out[side][1];
#pragma GCC unroll 16
      for (int r = 0; r < side; ++r) {
        out[r][0] = Batch(0.0f);
        for (int64_t block = 0; block < span.blocks(); ++block)
          out[r][0] =
              V::fma(Values::floats(sums[block].at(r, 0), 0), Batch(scale[block][r]), out[r][0]);
      }
      simd::merge_outputs<Arch>(out, factors, a.partial + row * attention_partial(a.head_dim) + d,
                                a.head_dim, side);
    }
  }

 private:
  /// sums = products of the weights of a block with 16 dimensions of its values. Those of positions
  /// that no row sees have weights of 0.
  static void multiply_values(const Attention& a, const simd::Span& span, int64_t block, int64_t d,
                              Sums<1>& sums) {
    _tile_zero(0);
    _tile_loadd(4, weights_of(a) + block * kv_block, kv_span);
    _tile_loadd(5, static_cast<const Cached*>(span.values[block]) + tile_k * d,
                tile_k * a.head_dim);
    _tile_dpbusd(0, 4, 5);
    _tile_stored(0, &sums.value[0][0], sums.stride);
    written();
  }
};

}  // namespace

[[gnu::flatten]] void attention_s8_16x64_amx(const Attention& a) {
  if (a.rows < side || a.head_dim % step_k != 0) return attention_s8_6x64_avx512vnni(a);
  const Tiles tiles;
  simd::each_span(a, [&](int64_t first) {
    int64_t row = 0;
    for (; row + side <= a.rows; row += side)
      simd::attend_tile<Arch, TileCache, side>(a, row, first);
    simd::attend_span<Arch, Cache>(a, row, first);
  });
}

}  // namespace octet::kernels
