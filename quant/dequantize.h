#pragma once
// Rows of packed int8 matrices as fp32.
#include <cstdint>

namespace octet::quant {

/// out[i] = scale * q[row][i], i < k: a row of a w8a8 matrix. packed: the whole matrix; scale: the
/// row's. q: scratch, [k].
void dequantize_row(const int8_t* packed, int64_t k, int64_t row, float scale, int8_t* q,
                    float* out);

/// The same for w8a8-g128; scale: of the whole matrix, bfloat16 [n / 16][num_groups(k)][16].
void dequantize_row_grouped(const int8_t* packed, int64_t k, int64_t row, const uint16_t* scale,
                            int8_t* q, float* out);

}  // namespace octet::quant
