#include "quant/quantize.h"

#include <algorithm>
#include <bit>

#include "kernels/types.h"
#include "lib/core/error.h"

namespace octet::quant {
namespace {

/// Half to even, |x| < 2^22. At 1.5 * 2^23 the spacing of fp32 is 1, so that the addition rounds
/// and leaves the integer in the low mantissa bits. (Every x86-64 can do four of these at once,
/// which is not true of rint.)
int32_t round_half_even(float x) {
  constexpr float shift = 12582912.0f;
  return std::bit_cast<int32_t>(x + shift) - std::bit_cast<int32_t>(shift);
}

/// The bits of max |w|: for magnitudes the order of the bits is the order of the values, with
/// infinities and NaN above all.
int32_t absmax_bits(const float* w, int64_t count) {
  int32_t maximum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int32_t magnitude = std::bit_cast<int32_t>(w[i]) & 0x7fffffff;
    maximum = magnitude > maximum ? magnitude : maximum;
  }
  return maximum;
}

/// max |w|. row and column say where w starts, for the message.
float absmax(const float* w, int64_t count, int64_t row, int64_t column) {
  constexpr int32_t infinity = 0x7f800000;
  const int32_t bits = absmax_bits(w, count);
  if (bits >= infinity) [[unlikely]] {
    int64_t i = 0;
    while (absmax_bits(w + i, 1) < infinity) ++i;
    fail(ErrorCode::InvalidFile, "row ", row, ", column ", column + i, ": weight ", w[i],
         " is not finite");
  }
  return std::bit_cast<float>(bits);
}

void quantize(const float* w, int64_t count, float scale, int8_t* q) {
  if (scale == 0) {
    std::fill(q, q + count, int8_t{0});
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    // A scale so small that it is subnormal may be too coarse to keep the quotient within 127.
    const float quotient = std::min(std::max(w[i] / scale, -127.0f), 127.0f);
    q[i] = static_cast<int8_t>(round_half_even(quotient));
  }
}

}  // namespace

uint16_t bfloat16_up(float x) {
  return static_cast<uint16_t>((std::bit_cast<uint32_t>(x) + 0xffff) >> 16);
}

float bfloat16_value(uint16_t bits) {
  return std::bit_cast<float>(uint32_t{bits} << 16);
}

void quantize_rows(const float* w, int64_t rows, int64_t k, int8_t* q, float* scale,
                   int64_t first_row) {
  for (int64_t row = 0; row < rows; ++row) {
    scale[row] = absmax(w + row * k, k, first_row + row, 0) / 127.0f;
    quantize(w + row * k, k, scale[row], q + row * k);
  }
}

void quantize_rows_grouped(const float* w, int64_t rows, int64_t k, int8_t* q, uint16_t* scale,
                           int64_t first_row) {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t begin = 0; begin < k; begin += kernels::group_size) {
      const int64_t count = std::min(kernels::group_size, k - begin);
      const int64_t at = row * k + begin;
      *scale = bfloat16_up(absmax(w + at, count, first_row + row, begin) / 127.0f);
      quantize(w + at, count, bfloat16_value(*scale), q + at);
      ++scale;
    }
}

}  // namespace octet::quant
