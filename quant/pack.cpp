#include "quant/pack.h"

#include <algorithm>
#include <cstring>

namespace octet::quant {
namespace {

using kernels::group_size;
using kernels::num_groups;
using kernels::padded_k;
using kernels::padded_n;
using kernels::tile_k;
using kernels::tile_n;

constexpr int64_t block_bytes = tile_n * tile_k;

int32_t sum(const int8_t* q, int64_t k) {
  int32_t total = 0;
  for (int64_t i = 0; i < k; ++i) total += q[i];
  return total;
}

/// One row into its 4-byte column of every block of a tile.
void pack_row(const int8_t* q, int64_t k, int8_t* column) {
  const int64_t whole = k / tile_k;
  for (int64_t c = 0; c < whole; ++c) std::memcpy(column + c * block_bytes, q + c * tile_k, tile_k);
  if (whole * tile_k == k) return;
  int8_t last[tile_k] = {};
  std::copy(q + whole * tile_k, q + k, last);
  std::memcpy(column + whole * block_bytes, last, tile_k);
}

}  // namespace

void pack_rows(const int8_t* q, int64_t rows, int64_t k, int8_t* packed) {
  // Strips of K that keep one tile's blocks in the first-level cache while 16 rows pass over them.
  constexpr int64_t strip = 256;
  for (int64_t tile = 0; tile * tile_n < rows; ++tile) {
    int8_t* out = packed + tile * tile_n * padded_k(k);
    const int64_t used = std::min(tile_n, rows - tile * tile_n);
    if (used < tile_n) std::memset(out, 0, tile_n * padded_k(k));
    for (int64_t begin = 0; begin < k; begin += strip)
      for (int64_t r = 0; r < used; ++r)
        pack_row(q + (tile * tile_n + r) * k + begin, std::min(strip, k - begin),
                 out + begin * tile_n + r * tile_k);
  }
}

void pack_activations(const int8_t* q, int64_t k, int64_t row, int8_t* packed) {
  using kernels::activation_k, kernels::activation_rows;
  int8_t* out = packed + row / activation_rows * activation_rows * kernels::activation_stride(k) +
                row % activation_rows * activation_k;
  const int64_t whole = k / activation_k * activation_k;
  for (int64_t begin = 0; begin < whole; begin += activation_k)
    std::memcpy(out + begin * activation_rows, q + begin, activation_k);  // a constant: one store
  std::copy(q + whole, q + k, out + whole * activation_rows);
}

void unpack_row(const int8_t* packed, int64_t k, int64_t row, int8_t* q) {
  const int8_t* column = packed + row / tile_n * tile_n * padded_k(k) + row % tile_n * tile_k;
  for (int64_t begin = 0; begin < k; begin += tile_k)
    std::memcpy(q + begin, column + begin * tile_n, std::min(tile_k, k - begin));
}

void sum_rows(const int8_t* q, int64_t rows, int64_t k, int32_t* out) {
  for (int64_t row = 0; row < rows; ++row) out[row] = sum(q + row * k, k);
  std::fill(out + rows, out + padded_n(rows), 0);
}

void sum_groups(const int8_t* q, int64_t rows, int64_t k, int16_t* out) {
  const int64_t groups = num_groups(k);
  for (int64_t row = 0; row < padded_n(rows); ++row)
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t begin = group * group_size;
      const int32_t value =
          row < rows ? sum(q + row * k + begin, std::min(group_size, k - begin)) : 0;
      out[(row / tile_n * groups + group) * tile_n + row % tile_n] = static_cast<int16_t>(value);
    }
}

void pack_group_scales(const uint16_t* scale, int64_t rows, int64_t groups, uint16_t* packed) {
  for (int64_t row = 0; row < padded_n(rows); ++row)
    for (int64_t group = 0; group < groups; ++group)
      packed[(row / tile_n * groups + group) * tile_n + row % tile_n] =
          row < rows ? scale[row * groups + group] : uint16_t{0};
}

}  // namespace octet::quant
