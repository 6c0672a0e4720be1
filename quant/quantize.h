#pragma once
// Weights to int8, rounded to nearest: the schemes w8a8 (a scale an output channel) and w8a8-g128
// (a scale a group of 128 along K).
#include <cstdint>

namespace octet::quant {

/// The value of a bfloat16, the upper half of an fp32.
float bfloat16_value(uint16_t bits);
/// The smallest bfloat16 >= x, for finite x >= 0.
uint16_t bfloat16_up(float x);

/// scale[r] = max |w[r][:]| / 127;  q[r][i] = rint(w[r][i] / scale[r]) in [-127, 127], round half
/// to even; a row whose scale is 0 gives zeros.
/// Shapes: w, q [rows, k] row-major; scale [rows].
/// Errors: InvalidFile if a weight is not finite; the message names its row, counted from
/// first_row, and its column.
void quantize_rows(const float* w, int64_t rows, int64_t k, int8_t* q, float* scale,
                   int64_t first_row = 0);

/// The same by groups of 128 (the last may be shorter). scale [rows, num_groups(k)] is bfloat16,
/// rounded up, so that no quotient exceeds 127.
void quantize_rows_grouped(const float* w, int64_t rows, int64_t k, int8_t* q, uint16_t* scale,
                           int64_t first_row = 0);

}  // namespace octet::quant
