#pragma once
// The packed layouts of int8 weights and activations (kernels/types.h), made from row-major rows,
// and weights read back.
//
// A matrix may be packed in blocks of rows: a block that starts at a row r0, a multiple of 16,
// goes to packed + packed_bytes(r0, k), and its sums and scales to offset r0 (times the number of
// groups). Each function pads the last tile of its block with zeros.
#include <cstdint>

#include "kernels/types.h"

namespace octet::quant {

/// Size of a packed matrix [n, k].
constexpr int64_t packed_bytes(int64_t n, int64_t k) {
  return kernels::padded_n(n) * kernels::padded_k(k);
}

/// Packs q [rows, k], row-major. packed: packed_bytes(rows, k) bytes.
void pack_rows(const int8_t* q, int64_t rows, int64_t k, int8_t* packed);

/// Packs one row of activations, q [k], into its place among those in ActivationLayout::tiles.
void pack_activations(const int8_t* q, int64_t k, int64_t row, int8_t* packed);

/// Reads one row back. packed: the whole matrix, of rows of k values; q: [k].
void unpack_row(const int8_t* packed, int64_t k, int64_t row, int8_t* q);

/// GemmS8::w_sum: sum[r] = sum over k of q[r][k]. sum: [padded_n(rows)]. k <= kernels::max_k.
void sum_rows(const int8_t* q, int64_t rows, int64_t k, int32_t* sum);

/// GemmS8Grouped::w_sum: the same by groups of 128, as [padded_n(rows) / 16][num_groups(k)][16].
void sum_groups(const int8_t* q, int64_t rows, int64_t k, int16_t* sum);

/// GemmS8Grouped::w_scale: row-major [rows][groups] to [padded_n(rows) / 16][groups][16].
void pack_group_scales(const uint16_t* scale, int64_t rows, int64_t groups, uint16_t* packed);

}  // namespace octet::quant
